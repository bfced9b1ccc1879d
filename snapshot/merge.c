/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Merge inner versions with their only child.
 *
 * A frozen version V without refs and with one child C is deleted by giving C
 * its base, its parent, its space accounting and its deadlist, in one hold of
 * the lock.  The commit of the change merges short deadlists (list_merge()).
 * One commit can merge the lists of a whole chain of versions, in the order in
 * which the versions were merged.  A TIDY task merges longer deadlists
 * afterwards, one merge at a time:
 *
 * - Until the hold of the merge, V's conditions may fail again: if C is an
 *   unchanged head, a fork of it becomes a second child of V, and a snapshot of
 *   it is a reference to V.  The conditions are checked in the hold itself;
 *   after it V no longer exists.
 * - From then on C adds only blocks at or below V's base to its deadlist.  The
 *   blocks that V made belong to C alone and are freed directly.  So the
 *   entries of the lists above V's base only decrease: they are blocks of V
 *   that C dropped before, which no tree reaches.  TIDY frees them and
 *   subtracts them from the space accounting of C, which now includes V's.
 * - The longer of the two lists becomes C's deadlist and receives what C drops
 *   from then on; TIDY moves the entries of the other one to it.
 * - While TIDY runs, C may be changed, forked, frozen and deleted: none of that
 *   changes the old list, and all of it only adds to the new one.  Work that
 *   would remove the lists (reaping C, merging C into a child, merging C's new
 *   parent into C) is done by the same thread, after TIDY.
 * - TIDY can be repeated from its beginning after a crash at any point.
 */
#include "merge.h"
#include "forest.h"
#include "reap.h"
#include "util.h"

#include <errno.h>

/* ---- Merging ------------------------------------------------------------ */

/* The rest of a merge: the record of a TASK_TIDY. */
struct tidy {
	uint64_t old_list; /* the child's deadlist before the merge */
	uint64_t above;    /* its blocks above this number are freed */
	uint64_t owner;    /* and subtracted from this version's accounting */
	uint64_t from;     /* the list whose entries are moved */
	uint64_t to;       /* to this list */
};

static int tidy_put(struct forest *forest, uint64_t id, const struct tidy *tidy)
{
	uint8_t value[5 * 10];
	struct writer w = writer_init(value, sizeof(value));

	put_varint(&w, tidy->old_list);
	put_varint(&w, tidy->above);
	put_varint(&w, tidy->owner);
	put_varint(&w, tidy->from);
	put_varint(&w, tidy->to);
	return task_put(forest, TASK_TIDY, id, value, writer_len(&w));
}

static int tidy_get(const struct task *task, struct tidy *ret_tidy)
{
	struct reader r = reader_init(task->record.value, task->record.len);
	struct tidy tidy;

	tidy.old_list = get_varint(&r);
	tidy.above = get_varint(&r);
	tidy.owner = get_varint(&r);
	tidy.from = get_varint(&r);
	tidy.to = get_varint(&r);
	if (!reader_done(&r))
		return -EUCLEAN;
	*ret_tidy = tidy;
	return 0;
}

/* Choose the shorter list as the one to be moved. */
static int merge_plan(struct forest *forest, const struct version *v,
                      const struct version *child, struct list_merge *ret_merge)
{
	uint64_t mine, theirs;
	bool keep_mine;
	int r = list_estimate(forest->store, v->tree.list, &mine);

	if (!r)
		r = list_estimate(forest->store, child->tree.list, &theirs);
	if (r < 0)
		return r;
	keep_mine = mine > theirs;
	*ret_merge = (struct list_merge){
	        .from_owner = v->tree.owner,
	        .owner = child->tree.owner,
	        .old_list = child->tree.list,
	        .above = v->tree.base,
	        .from = keep_mine ? child->tree.list : v->tree.list,
	        .to = keep_mine ? v->tree.list : child->tree.list,
	        .moved = MIN(mine, theirs),
	        .entries = theirs + MIN(mine, theirs),
	};
	return 0;
}

/*
 * Decide how the lists are merged: by the next commit, or, if they are long, by
 * a TIDY task; *merge is then reduced to the space accounting.  -EAGAIN: try
 * again after the next commit.
 */
static int merge_lists(struct forest *forest, const struct version *v,
                       struct list_merge *merge)
{
	struct tidy tidy = {
	        .old_list = merge->old_list,
	        .above = merge->above,
	        .owner = merge->owner,
	        .from = merge->from,
	        .to = merge->to,
	};
	int r = list_op_check(forest->store, merge->entries, forest->gc.alone);

	if (r != -E2BIG)
		return r;
	merge->old_list = 0;
	merge->entries = 0;
	return tidy_put(forest, v->id, &tidy);
}

/* Merge the version into its only child.  Cannot fail. */
static void merge_switch(struct forest *forest, struct version *v,
                         struct version *child, struct version *parent,
                         const struct list_merge *merge)
{
	list_merge(forest->store, merge);
	child->tree.base = v->tree.base;
	child->tree.list = merge->to;
	child->parent = v->parent;
	version_mark(child);
	if (parent) {
		parent->children_xor ^= v->id ^ child->id;
		version_mark(parent);
	}
}

/*
 * Return the only child.  -ESRCH: it is being reaped, and cannot be merged
 * into: the walk of its tree may have passed blocks that it shares with the
 * version, and these must stay the version's.  reap_finish() then adds the
 * version's next task.
 */
static int merge_child(struct forest *forest, const struct version *v,
                       struct version **ret_child)
{
	struct version *child;
	bool begun;
	int r = version_load(forest, v->children_xor, &child);

	if (!r && child->parent != v->id)
		r = -EUCLEAN;
	if (!r && !child->refs && !child->children) {
		r = reap_begun(forest, child, &begun);
		if (!r && begun)
			r = -ESRCH;
	}
	if (r < 0)
		return r;
	*ret_child = child;
	return 0;
}

int merge_step(struct forest *forest, const struct task *task)
{
	struct version *v, *child = NULL, *parent = NULL;
	struct list_merge merge;
	int r = version_find(forest, task->id, &v);

	if (r == -ENOENT || (!r && (v->refs || v->children != 1)))
		return task_del(forest, TASK_MERGE, task->id);
	if (!r)
		r = merge_child(forest, v, &child);
	if (r == -ESRCH)
		return task_del(forest, TASK_MERGE, task->id);
	if (!r && v->parent)
		r = version_load(forest, v->parent, &parent);
	if (!r)
		r = merge_plan(forest, v, child, &merge);
	if (!r)
		r = gc_claim(v);
	if (r < 0)
		return r == -EBUSY ? 0 : r;
	r = merge_lists(forest, v, &merge);
	if (!r)
		r = task_del(forest, TASK_MERGE, task->id);
	if (r < 0) {
		store_unclaim(forest->store);
		return r;
	}
	merge_switch(forest, v, child, parent, &merge);
	return version_remove(v);
}

int tidy_run(struct forest *forest, const struct task *task)
{
	struct list_info info = {0};
	struct list_job job;
	struct tidy tidy;
	int r = tidy_get(task, &tidy);

	if (r < 0)
		return r;
	job = (struct list_job){.kind = LIST_FREE_ABOVE,
	                        .list = tidy.old_list,
	                        .other = tidy.owner,
	                        .above = tidy.above};
	r = job_run(forest, &job);
	if (r < 0)
		return r;
	/*
	 * No entries are added to the moved list any more, so the info of the
	 * last commit is exact.
	 */
	store_lock(forest->store);
	r = list_info(forest->store, tidy.from, &info);
	store_unlock(forest->store);
	job = (struct list_job){
	        .kind = LIST_MOVE, .list = tidy.from, .other = tidy.to};
	if (!r && info.entries)
		r = job_run(forest, &job);
	if (r < 0)
		return r;
	store_lock(forest->store);
	r = task_del(forest, TASK_TIDY, task->id);
	store_unlock(forest->store);
	return r;
}
