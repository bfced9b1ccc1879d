/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes of whole kill lists that are made by one commit.  No record of their
 * progress is needed: a commit makes all of a change or nothing.
 */
#include <errno.h>

#include "engine.h"

static void op_add(struct store *store, const struct list_op *op,
                   uint64_t entries)
{
	struct set *set = store->gathering;

	if (set->ops_len == set->ops_capacity) {
		size_t capacity =
		        set->ops_capacity ? 2 * set->ops_capacity : 16;
		struct list_op *ops =
		        realloc(set->ops, capacity * sizeof(*ops));

		if (!ops)
			set_out_of_memory();
		set->ops = ops;
		set->ops_capacity = capacity;
	}
	set->ops[set->ops_len++] = *op;
	set->ops_entries += entries;
	set_touch(store, sizeof(*op));
}

int list_estimate(struct store *store, uint64_t list, uint64_t *ret_entries)
{
	struct list_info info;
	int r = list_info(store, list, &info);
	int64_t entries;

	if (r < 0)
		return r;
	entries = (int64_t)info.entries;
	entries += pending_entries(store->gathering, list);
	if (store->frozen)
		entries += pending_entries(store->frozen, list);
	*ret_entries = (uint64_t)MAX(entries, 0);
	return 0;
}

void list_drop(struct store *store, uint64_t list, uint64_t entries)
{
	const struct list_op op = {.list = list};

	op_add(store, &op, entries);
}

void list_absorb(struct store *store, const struct list_absorb *absorb)
{
	const struct list_op op = {.is_absorb = true, .absorb = *absorb};

	if (absorb->old_list)
		pending_move(store->gathering, absorb->from, absorb->to,
		             (int64_t)absorb->moved);
	op_add(store, &op, absorb->entries);
}

/* Do all of a job, however long. */
static int job_commit(struct store *store, MDB_txn *txn, struct list_job job,
                      struct ledger *ledger)
{
	job.budget = UINT32_MAX;
	return list_commit_job(store, txn, &job, ledger);
}

static int absorb_commit(struct store *store, MDB_txn *txn,
                         const struct list_absorb *absorb,
                         struct ledger *ledger)
{
	int r = ledger_pass(store, txn, ledger, absorb->from_owner,
	                    absorb->owner);

	if (r < 0 || !absorb->old_list)
		return r;
	r = job_commit(store, txn,
	               (struct list_job){.kind = LIST_FREE_ABOVE,
	                                 .list = absorb->old_list,
	                                 .other = absorb->owner,
	                                 .above = absorb->above},
	               ledger);
	if (r == 0)
		r = job_commit(store, txn,
		               (struct list_job){.kind = LIST_MOVE,
		                                 .list = absorb->from,
		                                 .other = absorb->to},
		               ledger);
	return r;
}

int list_commit_ops(struct store *store, MDB_txn *txn, const struct set *set,
                    struct ledger *ledger)
{
	for (size_t i = 0; i < set->ops_len; i++) {
		const struct list_op *op = &set->ops[i];
		int r;

		if (op->is_absorb)
			r = absorb_commit(store, txn, &op->absorb, ledger);
		else
			r = job_commit(store, txn,
			               (struct list_job){.kind = LIST_DROP,
			                                 .list = op->list},
			               ledger);
		/* A damaged list must not keep the rest from the disk. */
		if (r == -EUCLEAN)
			log_error(
			        "kill list %llu is damaged: what it holds "
			        "stays in use",
			        (unsigned long long)(op->is_absorb
			                                     ? op->absorb
			                                               .old_list
			                                     : op->list));
		else if (r < 0)
			return r;
	}
	return 0;
}
