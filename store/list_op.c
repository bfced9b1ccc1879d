/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Changes of whole deadlists within one commit.  No record of their progress is
 * needed: a commit makes all of a change or nothing.
 */
#include "list_op.h"

#include <errno.h>

#include "array.h"
#include "commit.h"
#include "engine.h"
#include "list.h"
#include "reservation.h"

static void op_add(struct store *store, const struct list_op *op,
                   uint64_t entries)
{
	struct txg *txg = store->open_txg;

	if (array_grow(&txg->ops, txg->ops_len, &txg->ops_capacity))
		txg_out_of_memory();
	txg->ops[txg->ops_len++] = *op;
	txg->ops_entries += entries;
	txg_touch(store, sizeof(*op));
}

int list_estimate(struct store *store, uint64_t list, uint64_t *ret_entries)
{
	struct list_info info;
	int r = list_info(store, list, &info);
	int64_t entries;

	if (r < 0)
		return r;
	entries = (int64_t)info.entries;
	entries += pending_entries(store->open_txg, list);
	if (store->syncing_txg)
		entries += pending_entries(store->syncing_txg, list);
	*ret_entries = (uint64_t)MAX(entries, 0);
	return 0;
}

void list_drop(struct store *store, uint64_t list, uint64_t entries)
{
	const struct list_op op = {.list = list, .entries = entries};

	op_add(store, &op, entries);
}

void list_merge(struct store *store, const struct list_merge *merge)
{
	const struct list_op op = {.is_merge = true, .merge = *merge};

	if (merge->old_list)
		pending_move(store->open_txg, merge->from, merge->to,
		             (int64_t)merge->moved);
	op_add(store, &op, merge->entries);
}

int list_sweep(struct store *store, const struct list_sweep *sweep,
               const uint64_t *numbers, size_t count)
{
	size_t bytes = (sweep->lists_len + count) * sizeof(uint64_t);
	struct list_sweep *copy = malloc(sizeof(*copy) + bytes);
	struct list_op op = {.sweep = copy, .numbers_len = count};
	uint64_t *lists = (uint64_t *)(copy + 1);

	if (!copy)
		return -ENOMEM;
	*copy = *sweep;
	memcpy(lists, sweep->lists, sweep->lists_len * sizeof(*lists));
	copy->lists = lists;
	op.numbers = lists + sweep->lists_len;
	memcpy(lists + sweep->lists_len, numbers, count * sizeof(*numbers));
	op_add(store, &op, count * sweep->lists_len);
	return 0;
}

void list_op_release(struct list_op *op)
{
	free(op->sweep);
}

/* Do all of a job, however long. */
static int job_commit(struct store *store, MDB_txn *txn, struct list_job job,
                      struct accounting *accounting)
{
	job.budget = UINT32_MAX;
	return list_commit_job(store, txn, &job, accounting);
}

static int merge_commit(struct store *store, MDB_txn *txn,
                        const struct list_merge *merge,
                        struct accounting *accounting)
{
	int r = accounting_transfer(store, txn, accounting, merge->from_owner,
	                            merge->owner);

	if (r < 0 || !merge->old_list)
		return r;
	r = job_commit(store, txn,
	               (struct list_job){.kind = LIST_FREE_ABOVE,
	                                 .list = merge->old_list,
	                                 .other = merge->owner,
	                                 .above = merge->above},
	               accounting);
	if (r == 0)
		r = job_commit(store, txn,
		               (struct list_job){.kind = LIST_MOVE,
		                                 .list = merge->from,
		                                 .other = merge->to},
		               accounting);
	return r;
}

int list_commit_ops(struct store *store, MDB_txn *txn, const struct txg *txg,
                    struct accounting *accounting)
{
	for (size_t i = 0; i < txg->ops_len; i++) {
		const struct list_op *op = &txg->ops[i];
		int r;

		if (op->sweep)
			r = list_commit_sweep(store, txn, op->sweep,
			                      op->numbers, op->numbers_len,
			                      accounting);
		else if (op->is_merge)
			r = merge_commit(store, txn, &op->merge, accounting);
		else
			r = job_commit(store, txn,
			               (struct list_job){.kind = LIST_DROP,
			                                 .list = op->list},
			               accounting);
		/*
		 * A damaged list must not keep the other changes from being
		 * committed.
		 */
		if (r == -EUCLEAN)
			log_error(
			        "deadlist %llu is damaged: its blocks "
			        "stay in use",
			        (unsigned long long)(op->sweep ? op->sweep->list
			                             : op->is_merge
			                                     ? op->merge
			                                               .old_list
			                                     : op->list));
		else if (r < 0)
			return r;
	}
	return 0;
}
