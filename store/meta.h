/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two meta pages that data.mdb begins with.  Each holds the roots of the
 * tree of one transaction, and a transaction is committed by writing its meta
 * page over that of the transaction before the last.  The older of the two can
 * always be returned to: the pages of its tree are not reused before another
 * transaction has been committed.  Inside store/ only.
 */
#ifndef COPPICE_META_H
#define COPPICE_META_H

#include <stdbool.h>
#include <stdint.h>

#include "page.h"

enum { METAS = 2, META_HEAD = PAGE_HEADER + META_LEN };

struct meta {
	const char *fault; /* NULL, or why it cannot be used */
	uint64_t txn;      /* its transaction */
	uint64_t last;     /* number of the last page in use */
	uint8_t bytes[META_HEAD];
};

/*
 * Read both.  0: as far as they can be told good or bad, they are; or an error
 * of reading.  A page that the file is too short for has a fault.
 */
int metas_read(int fd, struct meta ret_metas[METAS]);

/* Return the good one with the highest transaction; NULL: both are bad. */
const struct meta *metas_newest(const struct meta metas[METAS]);

/*
 * Write back the older one of what was read before, so that the newer one is
 * the newest again.  Not durable before the file is synced.
 */
int metas_restore(int fd, const struct meta metas[METAS]);

#endif
