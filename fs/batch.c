/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Batches: the forks that a batch changes, and the one step that does it. */
#include "batch.h"

#include <errno.h>
#include <stdlib.h>

#include "array.h"
#include "batch_tree.h"
#include "state_change.h"

enum { ATTEMPTS = 6 }; /* before the lock is held throughout */

struct batch {
	struct fs *fs;
	const struct fs_batch *what;
	struct fs_batch_failure *failure;
	struct batch_target *targets;
	size_t len, room;
	uint64_t txg; /* transaction group of the step */
};

/* ---- The operations of each fork ---------------------------------------- */

static struct batch_target *target_find(struct batch *b,
                                        const struct batch_op *op)
{
	struct batch_target *t;

	for (size_t i = 0; i < b->len; i++)
		if (b->targets[i].number == op->number)
			return &b->targets[i];
	t = array_add(&b->targets, &b->len, &b->room);
	if (!t)
		return NULL;
	t->fs = b->fs;
	t->number = op->number;
	t->generation = op->generation;
	t->cred = b->what->cred;
	return t;
}

static int op_add(struct batch_target *t, const struct batch_op *op)
{
	struct batch_op *added = array_add(&t->ops, &t->ops_len, &t->ops_room);

	if (!added)
		return -ENOMEM;
	*added = *op;
	return 0;
}

/* Decode all operations.  A MODE applies to all targets after it. */
static int batch_read(struct batch *b)
{
	struct batch_op op, mode = {.kind = 0};
	struct batch_target *t = NULL;
	struct batch_reader reader;
	int r = batch_reader_init(&reader, b->what->data, b->what->len);

	if (r < 0)
		return r;
	while ((r = batch_reader_next(&reader, &op)) > 0) {
		int err = 0;

		if (op.kind == BATCH_STATE) {
			t = target_find(b, &op);
			if (!t)
				return -ENOMEM;
			if (t->generation != op.generation)
				return -ESTALE;
			if (mode.kind)
				err = op_add(t, &mode);
		} else {
			if (op.kind == BATCH_MODE)
				mode = op;
			else if (!t)
				return -EPROTO;
			if (t)
				err = op_add(t, &op);
		}
		if (err)
			return err;
	}
	return r;
}

/* ---- Building ----------------------------------------------------------- */

static int target_begin(struct batch_target *t, const struct fs_batch *what)
{
	struct state *fork;
	int err = state_get(t->fs->forest, t->number, &fork);

	if (!err && state_generation(fork) != t->generation)
		err = -ESTALE;
	if (!err && fork->flags & STATE_READONLY)
		err = -EROFS;
	if (!err && what->changed)
		err = state_hold(fork, &t->before);
	if (!err)
		err = side_begin(fork, &t->side);
	t->uid = t->cred->uid;
	t->gid = t->cred->gid;
	t->file_mode = 0644;
	t->dir_mode = 0755;
	t->now = time_now();
	t->tree = NULL;
	t->orphans = false;
	return err ? err : batch_piece(t);
}

static int change_one(struct batch_target *t, const struct batch_op *op)
{
	int err;

	while ((err = batch_change(t, op)) == -EAGAIN) {
		err = batch_fetch(t);
		if (err)
			return err;
	}
	return err ? err : batch_pause(t);
}

/* Apply all operations of a fork; successive puts are applied together. */
static int target_build(struct batch_target *t, const struct fs_batch *what,
                        const struct batch_op **ret_failed)
{
	int stored, err = target_begin(t, what);

	for (size_t i = 0, next; !err && i < t->ops_len; i = next) {
		next = i + 1;
		if (t->ops[i].kind != BATCH_PUT) {
			err = change_one(t, &t->ops[i]);
			if (err)
				*ret_failed = &t->ops[i];
			continue;
		}
		while (next < t->ops_len && t->ops[next].kind == BATCH_PUT)
			next++;
		err = batch_put(t, &t->ops[i], next - i, ret_failed);
	}
	stored = t->tree ? batch_dirs_store(t) : 0;
	return err ? err : stored;
}

static int batch_build(struct batch *b, bool exclusive)
{
	int err = 0;

	/* Reserve first: the building must not release the lock then. */
	if (exclusive && b->what->snapshot)
		err = forest_reserve_numbers(b->fs->forest, b->len);
	for (size_t i = 0; !err && i < b->len; i++) {
		struct batch_target *t = &b->targets[i];
		const struct batch_op *failed = NULL;

		t->exclusive = exclusive;
		err = target_build(t, b->what, &failed);
		if (!err)
			continue;
		b->failure->fork = t->number;
		if (failed && failed->path) {
			b->failure->path = failed->path;
			b->failure->path_len = failed->path_len;
		}
	}
	return err;
}

/* ---- The one step ------------------------------------------------------- */

/* Check that the step can fail only for lack of memory. */
static int target_check(struct batch_target *t, const char *snapshot)
{
	struct state *fork, *other;
	int err = state_get(t->fs->forest, t->number, &fork);

	if (!err && state_generation(fork) != t->generation)
		err = -ESTALE;
	if (err)
		return err;
	if (!side_is_current(&t->side, fork))
		return -EAGAIN;
	if (!snapshot)
		return 0;
	err = name_check_snapshot(snapshot);
	if (!err)
		err = state_find(t->fs->forest, fork->number, snapshot, &other);
	return err == -ENOENT ? 0 : err ? err : -EEXIST;
}

static int target_switch(struct batch_target *t)
{
	struct fs *fs = t->fs;
	struct state *fork;
	int err = state_get(fs->forest, t->number, &fork);

	if (!err)
		err = side_switch(&t->side, fork);
	if (err)
		return err;
	fs->moves[fork->number % ARRAY_SIZE(fs->moves)]++;
	if (t->orphans)
		fs_adopt(fs, fork);
	return 0;
}

static int target_snapshot(struct batch *b, struct batch_target *t)
{
	struct state *fork, *snapshot;
	int err = state_get(t->fs->forest, t->number, &fork);

	return err ? err
	           : fs_state_snapshot(t->fs, fork, b->what->snapshot,
	                               b->what->cred, &snapshot);
}

static int batch_switch(struct batch *b)
{
	size_t count = b->what->snapshot ? b->len : 0;
	/* The lock may be released, unless batch_build() has reserved them. */
	int err = forest_reserve_numbers(b->fs->forest, count);

	for (size_t i = 0; !err && i < b->len; i++) {
		err = target_check(&b->targets[i], b->what->snapshot);
		if (err)
			b->failure->fork = b->targets[i].number;
	}
	for (size_t i = 0; !err && i < b->len; i++)
		err = target_switch(&b->targets[i]);
	for (size_t i = 0; !err && b->what->snapshot && i < b->len; i++)
		err = target_snapshot(b, &b->targets[i]);
	b->txg = store_txg(b->fs->store);
	return err;
}

/* Release the memory, holds and side heads of one attempt.  Lock held. */
static void attempt_end(struct batch *b)
{
	for (size_t i = 0; i < b->len; i++) {
		struct batch_target *t = &b->targets[i];

		batch_dirs_release(t);
		want_release(&t->want);
		hold_release(b->fs->forest, &t->before);
		side_end(b->fs->forest, &t->side);
		t->before = (struct state_hold){0};
		t->side = (struct state_side){0};
	}
}

/* Report the changes, from the trees that are still held. */
static void batch_announce(const struct batch *b)
{
	for (size_t i = 0; b->what->changed && i < b->len; i++) {
		const struct batch_target *t = &b->targets[i];

		b->what->changed(b->what->arg, t->number, hold_tree(&t->before),
		                 hold_tree(&t->side.hold));
	}
}

static int batch_run(struct batch *b)
{
	struct store *store = b->fs->store;
	int err = -EAGAIN;

	for (int attempt = 1; err == -EAGAIN; attempt++) {
		*b->failure = (struct fs_batch_failure){0};
		err = store_throttle(store, true);
		if (err)
			break;
		store_lock(store);
		err = batch_build(b, attempt >= ATTEMPTS);
		if (!err)
			err = batch_switch(b);
		if (!err && b->what->changed) {
			store_unlock(store);
			batch_announce(b);
			store_lock(store);
		}
		attempt_end(b);
		store_unlock(store);
	}
	return err;
}

int fs_batch_apply(struct fs *fs, const struct fs_batch *batch,
                   uint64_t *ret_txg, struct fs_batch_failure *ret_failure)
{
	struct batch b = {.fs = fs, .what = batch, .failure = ret_failure};
	int err;

	*ret_failure = (struct fs_batch_failure){0};
	err = batch_read(&b);
	if (!err)
		err = batch_run(&b);
	for (size_t i = 0; i < b.len; i++)
		free(b.targets[i].ops);
	free(b.targets);
	if (!err)
		*ret_txg = b.txg;
	return err;
}
