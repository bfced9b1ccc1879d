/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Changes of whole deadlists within one commit.  Inside store/ only. */
#ifndef COPPICE_LIST_OP_H
#define COPPICE_LIST_OP_H

#include <lmdb.h>

#include "store.h"

struct accounting;
struct txg;

/* See list_merge(), list_drop() and list_sweep(). */
struct list_op {
	bool is_merge;
	struct list_sweep *sweep; /* or NULL; with its arrays in one piece */
	const uint64_t *numbers;  /* of the sweep */
	size_t numbers_len;
	struct list_merge merge;
	uint64_t list;    /* to be dropped */
	uint64_t entries; /* of that list, about */
};

/* Make the changes that the group has, in their order. */
int list_commit_ops(struct store *store, MDB_txn *txn, const struct txg *txg,
                    struct accounting *accounting);

/* Free what the operation has allocated. */
void list_op_release(struct list_op *op);

#endif
