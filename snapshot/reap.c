/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Free the blocks of leaf versions, and their deadlists.
 *
 * A version without refs and children is unreachable, and stays so: a new child
 * would need a state that names the version, or an unchanged child.  So its
 * tree can be freed over many holds of the lock.  The task's record holds the
 * position of the walk.
 */
#include "reap.h"
#include "forest.h"
#include "util.h"

#include <errno.h>

enum { PIECE_LISTS = 64 };

/* ---- Reaping ------------------------------------------------------------ */

static void reap_item(void *arg, const struct item *item)
{
	struct tree *tree = arg;
	uint64_t chunk = item_chunk(item);

	/* Blocks at or below the base belong to ancestors. */
	if (chunk > tree->base)
		tree_drop(tree, chunk);
}

static int reap_from(const struct task *task, struct key *ret_from)
{
	struct reader r = reader_init(task->record.value, task->record.len);
	struct key from = {0};

	if (reader_left(&r)) {
		from.ino = get_varint(&r);
		from.kind = get_u8(&r);
		from.off = get_u64(&r);
	}
	if (!reader_done(&r))
		return -EUCLEAN;
	*ret_from = from;
	return 0;
}

int reap_begun(struct forest *forest, const struct version *v, bool *ret_begun)
{
	struct record record;
	int r = task_get(forest, TASK_REAP, v->id, &record);

	if (r < 0 && r != -ENOENT)
		return r;
	*ret_begun = !v->tree.root || (!r && record.len);
	return 0;
}

static int reap_pause(struct forest *forest, uint64_t id,
                      const struct key *from)
{
	uint8_t value[19];
	struct writer w = writer_init(value, sizeof(value));

	put_varint(&w, from->ino);
	put_u8(&w, from->kind);
	put_u64(&w, from->off);
	return task_put(forest, TASK_REAP, id, value, writer_len(&w));
}

/*
 * Free a list without an owner, with the next commit or, if it is long, by a
 * task.  -EAGAIN: try again after the next commit.
 */
static int list_discard(struct forest *forest, uint64_t list)
{
	uint64_t entries;
	int r = list_estimate(forest->store, list, &entries);

	if (!r)
		r = list_op_check(forest->store, entries, forest->gc.alone);
	if (r == -E2BIG)
		return task_put(forest, TASK_DROP, list, NULL, 0);
	if (!r)
		list_drop(forest->store, list, entries);
	return r;
}

/* Delete a version whose tree has been freed. */
static int reap_finish(struct forest *forest, struct version *v,
                       struct version *parent)
{
	uint64_t id = v->id;
	int r = 0;

	if (parent)
		r = gc_note(parent, parent->refs, parent->children - 1);
	if (!r)
		r = list_discard(forest, v->tree.list);
	if (!r && v->tree.list != id)
		r = list_discard(forest, id);
	if (!r)
		r = task_del(forest, TASK_REAP, id);
	if (!r)
		r = version_remove(v);
	if (r < 0)
		return r;
	if (parent) {
		parent->children--;
		parent->children_xor ^= id;
		parent->reaping = 0;
		version_mark(parent);
	}
	return 0;
}

/*
 * Let only one child of a hollow version be reaped at a time.  The last child
 * is then whole, and the version is merged into it: a hollow version cannot be
 * reaped itself.  -EBUSY: the task *ret_other comes first; -EAGAIN: the merge
 * does.
 */
static int reap_alone(struct version *v, struct version *parent,
                      struct task *ret_other)
{
	struct forest *forest = v->forest;
	int r;

	if (!parent || !parent->hollow || parent->reaping == v->id)
		return 0;
	if (parent->reaping) {
		ret_other->id = parent->reaping;
		r = task_get(forest, TASK_REAP, ret_other->id,
		             &ret_other->record);
		/* Without a task, that child was damaged and given up. */
		if (r != -ENOENT)
			return r ? r : -EBUSY;
	}
	if (parent->children == 1 && !parent->refs) {
		r = task_put(forest, TASK_MERGE, parent->id, NULL, 0);
		return r ? r : -EAGAIN;
	}
	parent->reaping = v->id;
	version_mark(parent);
	return 0;
}

/*
 * Begin to reap a version, unless that has begun.  -EBUSY: the task *ret_other
 * comes first; -EAGAIN: a merge does; -ESRCH: another process reads the
 * version.
 */
static int reap_begin(struct version *v, struct version *parent,
                      const struct task *task, struct task *ret_other)
{
	bool begun = !v->tree.root || task->record.len;
	int r = begun ? 0 : gc_claim(v);

	if (r < 0)
		return r == -EBUSY ? -ESRCH : r;
	r = reap_alone(v, parent, ret_other);
	if (r < 0 && !begun)
		store_unclaim(v->forest->store);
	return r;
}

int reap_step(struct forest *forest, const struct task *task)
{
	struct version *v, *parent = NULL;
	struct task other = {.kind = TASK_REAP};
	struct key from;
	int r = version_find(forest, task->id, &v);

	if (r == -ENOENT || (!r && (v->refs || v->children)))
		return task_del(forest, TASK_REAP, task->id);
	if (!r)
		r = reap_from(task, &from);
	if (!r && v->parent)
		r = version_load(forest, v->parent, &parent);
	if (!r)
		r = reap_begin(v, parent, task, &other);
	if (r == -EBUSY)
		return reap_step(forest, &other);
	if (r < 0)
		return r == -ESRCH ? 0 : r;
	if (v->tree.root) {
		version_mark(v);
		v->tree.on_root = NULL;
		r = tree_reap(&v->tree, &from, forest->gc.limit, reap_item,
		              &v->tree);
		if (r == -EAGAIN)
			return reap_pause(forest, v->id, &from);
		if (r < 0)
			return r;
		v->tree.root = 0;
	}
	return reap_finish(forest, v, parent);
}

/* ---- Dropping lists ----------------------------------------------------- */

/* Collect the lists of TASK_DROP records, from the first on. */
static int drop_collect(struct forest *forest, const struct task *first,
                        struct list_job jobs[PIECE_LISTS], int *ret_count)
{
	struct record record = first->record;
	int n = 0;
	int r = 0;

	while (!r && record.key_len == TASK_KEY_LEN &&
	       record.key[0] == TASK_DROP) {
		jobs[n] = (struct list_job){.kind = LIST_DROP,
		                            .list = be64_get(record.key + 1)};
		if (n)
			jobs[n - 1].next = &jobs[n];
		if (++n == PIECE_LISTS)
			break;
		r = table_next(forest->store, TABLE_TASK, record.key,
		               record.key_len, &record);
	}
	*ret_count = n;
	return r == -ENOENT ? 0 : r;
}

int drop_run(struct forest *forest, const struct task *first)
{
	struct list_job jobs[PIECE_LISTS];
	int r, n;

	store_lock(forest->store);
	r = drop_collect(forest, first, jobs, &n);
	store_unlock(forest->store);
	if (!r && n)
		r = job_run(forest, jobs);
	if (r < 0)
		return r;
	store_lock(forest->store);
	for (int i = 0; !r && i < n; i++)
		r = task_del(forest, TASK_DROP, jobs[i].list);
	store_unlock(forest->store);
	return r;
}
