/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The committer's work on deadlists, in the order of write.c.  store_list.h
 * declares the other functions.  Inside store/ only.
 */
#ifndef COPPICE_LIST_H
#define COPPICE_LIST_H

#include "accounting.h"
#include "txg.h"

/* The stored size of a block. */
struct stored_size {
	uint64_t number, bytes;
};

/*
 * Write the group's additions to lists.  `sizes` has the known stored sizes, in
 * the order of their numbers; the other blocks are looked up.
 */
int list_commit(struct store *store, MDB_txn *txn, struct txg *txg,
                const struct stored_size *sizes, size_t sizes_len,
                struct accounting *accounting);
/* Carry out a sweep: see list_sweep(). */
int list_commit_sweep(struct store *store, MDB_txn *txn,
                      const struct list_sweep *sweep, const uint64_t *numbers,
                      size_t count, struct accounting *accounting);
/* Do one piece of the job, of about job->budget entries. */
int list_commit_job(struct store *store, MDB_txn *txn, struct list_job *job,
                    struct accounting *accounting);

#endif
