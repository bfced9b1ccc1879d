/* SPDX-License-Identifier: LGPL-2.1-or-later */
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
	bool readable;     /* LMDB takes it for a meta page */
	bool foreign;      /* it may belong to another program */
	uint64_t txn;      /* its transaction */
	uint64_t last;     /* number of the last page in use */
	uint8_t bytes[META_HEAD];
};

/*
 * Read both pages and look for faults.  A page that lies beyond the end of the
 * file has a fault.  Errors: those of reading.
 */
int metas_read(int fd, struct meta ret_metas[METAS]);

/* Write both into an empty file, for an environment without pages. */
int metas_create(int fd, uint64_t map_size);

/* Return the good one with the highest transaction; NULL: both are bad. */
const struct meta *metas_newest(const struct meta metas[METAS]);

/*
 * Return true if the file, whose meta pages are both bad, has nothing of a
 * database like ours.
 */
bool metas_foreign(int fd, const struct meta metas[METAS]);

/*
 * Put the content of the good meta page in the place of the bad one, as that
 * of an older transaction.  Durable on return.
 */
int metas_mend(int fd);

/*
 * Write both into another file, so that it opens as of the transaction of this
 * meta page, and as of no other.  Not durable before the file is synced.
 */
int metas_copy(int fd, const struct meta *meta);

/*
 * Write back the older one of what was read before, so that the newer one is
 * the newest again.  Not durable before the file is synced.
 */
int metas_restore(int fd, const struct meta metas[METAS]);

#endif
