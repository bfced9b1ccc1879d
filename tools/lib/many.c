/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Many reads at once, of one instant of a state. */
#include <errno.h>

#include "handle.h"
#include "util.h"

enum { PIECE = WARM_MOST }; /* reads in one hold of the lock */

struct many {
	struct coppice_get *gets;
	size_t count, done;
	struct tree_read read;
};

/*
 * Find the files of the reads, and bring the parts of the tree that are read
 * next into the processor's caches.  errs: the error of each look-up, or 0.
 */
static int many_find(struct coppice_state *state, struct tree *tree,
                     const struct coppice_get *gets, size_t count,
                     uint64_t inos[PIECE], int errs[PIECE])
{
	struct key keys[PIECE] = {0};
	uint8_t type;

	if (count > 1) {
		for (size_t i = 0; i < count; i++)
			keys[i] = state_path_key(state, tree, gets[i].path);
		tree_warm(tree, keys, count);
	}
	for (size_t i = 0; i < count; i++) {
		inos[i] = 0;
		errs[i] = range_possible(&gets[i])
		                  ? state_path(state, tree, gets[i].path,
		                               &inos[i], &type)
		                  : -EINVAL;
		if (errs[i] == -EAGAIN)
			return errs[i];
		keys[i] = (struct key){inos[i], ITEM_INODE, 0};
	}
	if (count > 1)
		tree_warm(tree, keys, count);
	return 0;
}

/* Do the next reads, as far as they fit a piece. */
static int many_look(struct coppice_state *state, struct tree *tree, void *arg)
{
	struct many *many = arg;
	struct tree_read *read = &many->read;
	size_t count = MIN(many->count, (size_t)PIECE);
	uint64_t inos[PIECE];
	int errs[PIECE];
	int err = many_find(state, tree, many->gets, count, inos, errs);

	if (err)
		return err;
	read->missing = 0;
	read->later = count > 1;
	for (many->done = 0; many->done < count; many->done++) {
		struct coppice_get *get = &many->gets[many->done];
		size_t missing = read->missing;

		read->ino = inos[many->done];
		read->offset = get->offset;
		read->buffer = get->buffer;
		read->size = get->size;
		err = errs[many->done];
		if (!err)
			err = tree_read(tree, read);
		if (err == -EAGAIN)
			return err;
		if (!err && !read->end && read->done < get->size) {
			read->missing = missing;
			break;
		}
		get->result = err ? err : (ssize_t)read->done;
	}
	if (read->later)
		tree_read_copy(tree->store, read);
	return 0;
}

/* Do all reads in pieces, of a tree that is held if it can be. */
static int many_read(struct coppice_state *state, struct tree *tree,
                     struct coppice_get *gets, size_t count)
{
	struct many many;

	for (size_t i = 0; i < count; i++) {
		int err;

		many.gets = gets + i;
		many.count = count - i;
		err = state_look(state, tree, many_look, &many);
		if (err)
			return err;
		if (tree_read_fill(state->store->store, &many.read))
			for (size_t j = 0; j < many.done; j++)
				many.gets[j].result =
				        get_one(state, tree, &many.gets[j]);
		i += many.done;
		if (i < count)
			gets[i].result = get_one(state, tree, &gets[i]);
	}
	return 0;
}

int coppice_get_many(struct coppice_state *state, struct coppice_get *gets,
                     size_t count)
{
	struct many many = {.gets = gets, .count = count};
	struct coppice *store = state->store;
	struct state_hold hold = {0};
	int err = store_check(store);

	if (err)
		return err;
	/* One piece needs no hold. */
	if (count <= PIECE) {
		err = state_look(state, NULL, many_look, &many);
		if (!err && many.done == count &&
		    !tree_read_fill(store->store, &many.read))
			return 0;
	}
	store_lock(store->store);
	if (!err)
		err = state_hold_now(state, &hold);
	store_unlock(store->store);
	if (!err)
		err = many_read(state, hold.version ? hold_tree(&hold) : NULL,
		                gets, count);
	store_lock(store->store);
	hold_release(store->forest, &hold);
	store_unlock(store->store);
	return err ? fail_text(err, "cannot read a state: %s",
	                       error_reason(err))
	           : 0;
}
