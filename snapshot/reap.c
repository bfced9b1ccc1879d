/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Giving back the blocks of leaf versions, and their kill lists.
 *
 * A version without refs and kids can be reached by nobody, and
 * nothing changes that: a child needs a state that names the version, or a
 * child that is unchanged.  So its tree may be freed over many holds of the
 * lock.  How far it came is in the task's record.
 */
#include "gc.h"
#include "util.h"

#include <errno.h>

enum { PIECE_LISTS = 64 };

/* ---- Reaping ------------------------------------------------------------ */

static void reap_item(void *arg, const struct item *item)
{
	struct tree *tree = arg;
	uint64_t chunk = item_chunk(item);

	/* What it shares with its ancestors is theirs. */
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

/* Its tree is gone: so is the version. */
static int reap_finish(struct forest *forest, struct version *v,
                       struct version *parent)
{
	uint64_t id = v->id;
	int r = 0;

	if (parent)
		r = gc_note(parent, parent->refs, parent->kids - 1);
	if (!r)
		r = task_put(forest, TASK_DROP, v->tree.list, NULL, 0);
	if (!r && v->tree.list != id)
		r = task_put(forest, TASK_DROP, id, NULL, 0);
	if (!r)
		r = task_del(forest, TASK_REAP, id);
	if (!r)
		r = version_remove(v);
	if (r < 0)
		return r;
	if (parent) {
		parent->kids--;
		parent->kids_xor ^= id;
		version_mark(parent);
	}
	return 0;
}

int reap_step(struct forest *forest, const struct task *task)
{
	struct version *v, *parent = NULL;
	struct key from;
	int r = version_find(forest, task->id, &v);

	if (r == -ENOENT || (!r && (v->refs || v->kids)))
		return task_del(forest, TASK_REAP, task->id);
	if (!r)
		r = reap_from(task, &from);
	if (!r && v->parent)
		r = version_load(forest, v->parent, &parent);
	if (r < 0)
		return r;
	if (v->tree.root) {
		version_mark(v);
		v->tree.on_root = NULL;
		r = tree_reap(&v->tree, &from, forest->gc.limit, reap_item,
		              &v->tree);
		forest->gc.freed += forest->gc.limit;
		if (r == -EAGAIN)
			return reap_pause(forest, v->id, &from);
		if (r < 0)
			return r;
		v->tree.root = 0;
	}
	return reap_finish(forest, v, parent);
}

/* ---- Dropping lists ----------------------------------------------------- */

/*
 * Lists that are empty, with an account of nothing, are not in the store at
 * all.  *ret_list: one that is, or 0 when there is none or it is enough.
 */
static int drop_empty(struct forest *forest, uint64_t *ret_list)
{
	*ret_list = 0;
	for (int i = 0; i < PIECE_LISTS; i++) {
		struct list_info info;
		struct task task;
		int r = task_first(forest, &task);

		if (r < 0 || task.kind != TASK_DROP)
			return r == -ENOENT ? 0 : r;
		r = list_info(forest->store, task.id, &info);
		if (r < 0)
			return r;
		if (info.entries || info.bytes || info.own_bytes) {
			*ret_list = task.id;
			return 0;
		}
		r = task_del(forest, TASK_DROP, task.id);
		if (r < 0)
			return r;
	}
	return 0;
}

int drop_run(struct forest *forest)
{
	struct list_job job = {.kind = LIST_DROP};
	int r;

	/* What the last ones reaped still added must be seen. */
	r = store_sync(forest->store);
	if (r < 0)
		return r;
	store_lock(forest->store);
	r = drop_empty(forest, &job.list);
	store_unlock(forest->store);
	if (r < 0 || !job.list)
		return r;
	r = job_run(forest, &job);
	if (r < 0)
		return r;
	store_lock(forest->store);
	r = task_del(forest, TASK_DROP, job.list);
	store_unlock(forest->store);
	return r;
}
