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
	const char *fault; /* reason why it cannot be used, or NULL */
	bool readable;     /* LMDB would accept it as a meta page */
	bool foreign;      /* it may belong to another program */
	uint64_t txn;      /* its transaction */
	uint64_t last;     /* number of the last page in use */
	uint8_t bytes[META_HEAD];
};

/*
 * Read both pages and look for faults.  A page beyond the end of the file has a
 * fault.  Return an error only if the read fails.
 */
int metas_read(int fd, struct meta ret_metas[METAS]);

/* Write both into an empty file, for an environment without pages. */
int metas_create(int fd, uint64_t map_size);

/* Return the good one with the highest transaction; NULL: both are bad. */
const struct meta *metas_newest(const struct meta metas[METAS]);

/*
 * Return true if the file, whose meta pages are both bad, does not look like a
 * damaged data.mdb: it has another format, or none of LMDB's pages.
 */
bool metas_foreign(int fd, const struct meta metas[METAS]);

/*
 * Overwrite the bad meta page with the content of the good one, as that of an
 * older transaction.  Durable on return.  -EUCLEAN: both are bad.
 */
int metas_mend(int fd);

/*
 * Write both into another file, so that it opens as of the transaction of this
 * meta page, and as of no other.  Not durable before the file is synced.
 */
int metas_copy(int fd, const struct meta *meta);

/*
 * Write back the older of the pages that were read before a failed commit, so
 * that the newer one is the newest again.  Not durable before the file is
 * synced.
 */
int metas_restore(int fd, const struct meta metas[METAS]);

#endif
