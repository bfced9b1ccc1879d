/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Trees that are prepared for a step that changes several states at once. */
#include "prepared.h"

#include <errno.h>

#include "fs_struct.h"
#include "join_tree.h"
#include "restore_tree.h"

/* ---- Versions ----------------------------------------------------------- */

/* Return the id of a state's tree: see struct fs_tree_ids. */
static int tree_id(struct state *state, struct fs_tree_ids *ids,
                   uint64_t *ret_id)
{
	struct forest *forest = state->forest;
	struct state_hold hold = {0};
	int err = state_hold(state, &hold);

	if (err)
		return err;
	*ret_id = hold_version(&hold);
	/* A new version has an empty tree: other states share existing ones. */
	if (forest_undo_made(forest, *ret_id)) {
		*ret_id = 0;
		err = inode_load(hold_tree(&hold), INO_ROOT, &ids->root);
	}
	hold_release(forest, &hold);
	return err;
}

int fs_tree_ids(struct state *into, struct state *from,
                struct fs_tree_ids *ret_ids)
{
	struct fs_tree_ids ids = {0};
	int err = into->flags & STATE_READONLY ? -EROFS : 0;

	if (!err)
		err = tree_id(into, &ids, &ids.into);
	if (!err)
		err = tree_id(from, &ids, &ids.from);
	if (!err)
		*ret_ids = ids;
	return err;
}

/* Hold a version; for id 0, make an empty tree and hold it. */
static int id_hold(struct fs *fs, const struct fs_tree_ids *ids, uint64_t id,
                   struct state_hold *ret_hold)
{
	struct state_side side = {0};
	int err;

	if (id)
		return version_hold_id(fs->forest, id, ret_hold);
	err = side_create(fs->forest, &ids->root, &side);
	if (!err)
		side_freeze(&side);
	hold_move(fs->forest, &side.hold, ret_hold);
	return err;
}

int joined_hold(struct fs *fs, struct fs_joined *joined,
                const struct fs_tree_ids *ids)
{
	int err = id_hold(fs, ids, ids->into, &joined->now.before);

	if (!err)
		err = id_hold(fs, ids, ids->from, &joined->theirs);
	for (unsigned i = 0; !err && i < ids->base_count; i++) {
		err = version_hold_id(fs->forest, ids->bases[i],
		                      &joined->bases[i]);
		joined->base_count += !err;
	}
	return err;
}

void joined_clear(struct fs *fs, struct fs_joined *joined)
{
	plan_destroy(joined->plan);
	hold_release(fs->forest, &joined->now.before);
	side_end(fs->forest, &joined->now.side);
	hold_release(fs->forest, &joined->theirs);
	for (unsigned i = 0; i < joined->base_count; i++)
		hold_release(fs->forest, &joined->bases[i]);
	*joined = (struct fs_joined){0};
}

bool fs_prepared_fits(const struct fs_prepared *prepared,
                      const struct fs_tree_ids *ids)
{
	return prepared->ready && prepared->ids.into == ids->into &&
	       prepared->ids.from == ids->from;
}

void fs_prepared_want(struct fs_prepared *prepared,
                      const struct fs_tree_ids *ids, uint64_t fork)
{
	prepared->ids = *ids;
	prepared->fork = fork;
	prepared->ready = false;
	prepared->wanted = true;
}

int fs_prepared_hold(struct fs *fs, struct fs_prepared *prepared)
{
	joined_clear(fs, &prepared->trees);
	memcpy(prepared->trees.suffix, prepared->suffix,
	       sizeof(prepared->suffix));
	prepared->wanted = prepared->forward = false;
	return joined_hold(fs, &prepared->trees, &prepared->ids);
}

/* ---- Building ----------------------------------------------------------- */

int prepared_begin(struct fs_prepared *prepared)
{
	struct fs_restored *now = &prepared->trees.now;

	return side_begin_at(&now->before, &now->side);
}

void prepared_end(struct fs_prepared *prepared)
{
	if (!prepared->forward)
		side_freeze(&prepared->trees.now.side);
	prepared->ready = true;
}

int fs_prepare_restore(struct fs *fs, struct fs_prepared *prepared,
                       const char *path, const char *into)
{
	const struct fs_restore what = {.path = path, .into = into};
	struct restore r = {.fs = fs,
	                    .what = &what,
	                    .now = &prepared->trees.now,
	                    .from = hold_tree(&prepared->trees.theirs)};
	int err = store_throttle(fs->store, true);

	if (err)
		return err;
	store_lock(fs->store);
	err = prepared_begin(prepared);
	if (!err)
		err = restore_piece(&r);
	if (!err)
		err = restore_build(&r);
	if (!err)
		prepared_end(prepared);
	store_unlock(fs->store);
	restore_release(&r);
	return err;
}

/* ---- Switching ---------------------------------------------------------- */

void fork_switched(struct fs *fs, struct state *fork)
{
	fs->moves[fork->number % ARRAY_SIZE(fs->moves)]++;
	fs_adopt(fs, fork);
}

int fs_prepared_switch(struct fs *fs, struct fs_prepared *prepared,
                       struct state *fork, struct fs_restored *ret_restored)
{
	const struct fs_joined *trees = &prepared->trees;
	struct fs_restored *now = ret_restored;
	int err = 0;

	*now = (struct fs_restored){0};
	if (prepared->forward && joined_open_missing(fs, trees, fork->number)) {
		prepared->ready = false;
		prepared->wanted = true;
		return -EAGAIN;
	}
	err = state_hold(fork, &now->before);
	if (!err)
		err = side_begin_at(prepared->forward ? &trees->theirs
		                                      : &trees->now.side.hold,
		                    &now->side);
	if (!err)
		err = side_check_quota(&now->side, fork);
	if (!err)
		err = side_switch(&now->side, fork);
	if (!err)
		fork_switched(fs, fork);
	return err;
}

void fs_prepared_release(struct fs *fs, struct fs_prepared *prepared)
{
	store_lock(fs->store);
	joined_clear(fs, &prepared->trees);
	store_unlock(fs->store);
	*prepared = (struct fs_prepared){0};
}
