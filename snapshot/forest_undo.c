/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "forest_undo.h"

#include <errno.h>

#include "array.h"
#include "delete.h"
#include "forest.h"
#include "position.h"
#include "util.h"

/* The records that are restored from a copy rather than read again. */
struct forest_undo {
	uint64_t began; /* sequence number */
	struct forest_meta meta;
	struct inode root;
	/* Numbers of the states whose heads were frozen. */
	uint64_t *frozen;
	size_t frozen_len, frozen_room;
};

int forest_undo_begin(struct forest *forest)
{
	struct forest_undo *undo;
	int r;

	if (forest->readonly)
		return -EROFS;
	undo = calloc(1, sizeof(*undo));
	if (!undo)
		return -ENOMEM;
	r = forest_put(forest);
	if (!r)
		r = table_undo_begin(forest->store);
	if (r < 0) {
		free(undo);
		return r;
	}
	undo->began = store_next_seq(forest->store);
	undo->meta = forest->meta;
	undo->root = forest->root;
	forest->undo = undo;
	return 0;
}

int records_begin(struct forest *forest, bool *ret_begun)
{
	int r = forest->undo ? 0 : table_undo_begin(forest->store);

	if (!r)
		*ret_begun = !forest->undo;
	return r;
}

void records_end(struct forest *forest, bool begun, int err)
{
	if (begun)
		table_undo_end(forest->store, err < 0);
}

bool forest_undo_made(const struct forest *forest, uint64_t version)
{
	return forest->undo && version > forest->undo->began;
}

int forest_undo_froze(struct forest *forest, const struct state *state)
{
	struct forest_undo *undo = forest->undo;
	uint64_t *added;

	if (!undo)
		return 0;
	added = array_add(&undo->frozen, &undo->frozen_len, &undo->frozen_room);
	if (!added)
		return -ENOMEM;
	*added = state->number;
	return 0;
}

/* Drop a version that was made since the beginning. */
static void version_discard(struct version *v)
{
	/* A new tree has one node of its own; other heads share all theirs. */
	if (v->tree.root && !v->parent) {
		v->tree.on_root = NULL;
		tree_drop(&v->tree, v->tree.root);
	}
	cache_remove(&v->forest->versions, &v->cached);
	free(v);
}

/*
 * Read the version again from its record, which is in memory or was read
 * before.  States and holds may point to it.
 */
static void version_reload(struct version *v)
{
	struct record record;
	uint8_t key[8];
	int r;

	be64_put(key, v->id);
	r = table_get(v->forest->store, TABLE_VERSION, key, sizeof(key),
	              &record);
	if (r == -ENOENT) {
		version_discard(v);
		return;
	}
	if (!r)
		r = version_decode(record.value, record.len, v);
	if (r < 0) {
		log_error("cannot undo a change: %s; the store on disk is "
		          "intact",
		          strerror(-r));
		abort(); /* going on would damage it */
	}
	v->changed = false; /* determined again when it is needed */
	cache_unmark(&v->forest->versions, &v->cached);
}

static void undo_run(struct forest *forest)
{
	struct cached *e;

	/*
	 * Structs that changed since the beginning are still marked as dirty:
	 * removing the marks takes the lock.  Release states first, because
	 * they point to versions.
	 */
	while ((e = forest->states.dirty)) {
		struct state *s = container_of(e, struct state, cached);

		state_point(s, NULL);
		state_free_later(forest, s);
	}
	while ((e = forest->versions.dirty))
		version_reload(container_of(e, struct version, cached));
	positions_release(forest);
	forest->meta = forest->undo->meta;
	forest->meta_dirty = false;
	forest->root = forest->undo->root;
}

void forest_undo_end(struct forest *forest, bool undo)
{
	table_undo_end(forest->store, undo);
	if (undo)
		undo_run(forest);
	free(forest->undo->frozen);
	free(steal(&forest->undo));
}

/* Freeze the heads again that the undone changes had frozen. */
static int refreeze(struct forest *forest, const uint64_t *numbers, size_t len)
{
	struct state_hold hold = {0};
	struct state *state;
	int r = 0;

	for (size_t i = 0; !r && i < len; i++) {
		r = state_get(forest, numbers[i], &state);
		/* The undone changes had made the state. */
		if (r == -ESTALE) {
			r = 0;
			continue;
		}
		if (!r)
			r = state_hold(state, &hold);
		if (!r)
			hold_release(forest, &hold);
	}
	return r;
}

int forest_undo_frozen(struct forest *forest)
{
	uint64_t *frozen = steal(&forest->undo->frozen);
	size_t len = forest->undo->frozen_len;
	int r;

	forest_undo_end(forest, true);
	r = refreeze(forest, frozen, len);
	free(frozen);
	return r;
}
