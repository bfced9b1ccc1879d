/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The committer's work on deadlists.  commit.c has the order; store_list.h
 * declares the rest.  Inside store/ only.
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
 * Write the group's additions to lists.  The sizes that are known already, in
 * the order of their numbers, save looking up blocks.
 */
int list_commit(struct store *store, MDB_txn *txn, struct txg *txg,
                const struct stored_size *sizes, size_t sizes_len,
                struct accounting *accounting);
/* Do what list_sweep() asks for. */
int list_commit_sweep(struct store *store, MDB_txn *txn,
                      const struct list_sweep *sweep, const uint64_t *numbers,
                      size_t count, struct accounting *accounting);
/* Do one piece of the job. */
int list_commit_job(struct store *store, MDB_txn *txn, struct list_job *job,
                    struct accounting *accounting);

#endif
