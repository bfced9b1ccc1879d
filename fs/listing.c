/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading the directories whose entries are states.
 *
 * A state's cookie is its number, which stays when its name changes and is
 * never used again.  As the states are kept in the order of their names, a
 * reading from the start collects the numbers first; what goes on from a
 * cookie uses that list, or one that another reading has made since.
 */
#include "inode.h"

#include <errno.h>

enum {
	LISTINGS_KEPT = 8,
	WALK_PIECE = 1024, /* states looked at in one hold of the lock */
};

struct walk {
	uint64_t *numbers;
	size_t count, room;
	char after[NAME_LEN_MAX + 1];
};

/* -EAGAIN: there are more. */
static int walk_piece(struct fs *fs, uint64_t fork, struct walk *w)
{
	struct state *state;

	for (int i = 0; i < WALK_PIECE; i++) {
		int err = state_next(fs->forest, fork, w->after, &state);

		if (err)
			return err == -ENOENT ? 0 : err;
		if (w->count == w->room) {
			size_t room = w->room ? 2 * w->room : 64;
			uint64_t *numbers =
			        realloc(w->numbers, room * sizeof(*numbers));

			if (!numbers)
				return -ENOMEM;
			w->numbers = numbers;
			w->room = room;
		}
		w->numbers[w->count++] = state->number;
		memcpy(w->after, state->name, sizeof(w->after));
	}
	return -EAGAIN;
}

static int number_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Take the listing out of those that are kept; with none of `fork`, if
 * `oldest`, the last one. */
static struct listing *listing_take(struct fs *fs, uint64_t fork, bool oldest)
{
	struct listing **at = &fs->listings, *found;

	while (*at && (*at)->fork != fork && !(oldest && !(*at)->next))
		at = &(*at)->next;
	found = *at;
	if (found)
		*at = found->next;
	return found;
}

static void listing_keep(struct fs *fs, struct listing *listing)
{
	size_t count = 0;

	listing->next = fs->listings;
	fs->listings = listing;
	for (struct listing *l = fs->listings; l; l = l->next)
		count++;
	if (count > LISTINGS_KEPT)
		free(listing_take(fs, UINT64_MAX, true));
}

/* Lets go of the lock meanwhile. */
static int listing_make(struct fs *fs, uint64_t fork)
{
	struct walk walk = {0};
	struct listing *listing;
	size_t bytes;
	int err;

	while ((err = walk_piece(fs, fork, &walk)) == -EAGAIN) {
		store_unlock(fs->store);
		store_lock(fs->store);
	}
	bytes = walk.count * sizeof(*walk.numbers);
	listing = err ? NULL : malloc(sizeof(*listing) + bytes);
	if (!err && !listing)
		err = -ENOMEM;
	if (!err) {
		listing->fork = fork;
		listing->count = walk.count;
		if (bytes)
			memcpy(listing->numbers, walk.numbers, bytes);
		qsort(listing->numbers, listing->count,
		      sizeof(*listing->numbers), number_compare);
		free(listing_take(fs, fork, false));
		listing_keep(fs, listing);
	}
	free(walk.numbers);
	return err;
}

static size_t listing_after(const struct listing *listing, uint64_t number)
{
	size_t low = 0, high = listing->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (listing->numbers[mid] <= number)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* 1: fn said stop. */
static int read_dots(struct fs *fs, node_t node, off_t off, fs_readdir_fn *fn,
                     void *arg)
{
	bool root = node_kind(node) == NODE_KIND_ROOT;
	node_t parent = root ? node : NODE(NODE_STATE(node), INO_ROOT);
	struct fs_entry entry = {.node = node};
	int err = space_getattr(fs, node, &entry.st);

	if (err)
		return err;
	if (off < COOKIE_SELF && fn(arg, ".", &entry, COOKIE_SELF))
		return 1;
	entry.node = entry.st.st_ino = parent;
	return off < COOKIE_PARENT && fn(arg, "..", &entry, COOKIE_PARENT);
}

static int read_state(struct fs *fs, uint64_t fork, uint64_t number, bool plus,
                      fs_readdir_fn *fn, void *arg)
{
	node_t node = NODE(number, INO_ROOT);
	struct fs_entry entry = {
	        .node = node,
	        .st = {.st_ino = node, .st_mode = S_IFDIR},
	};
	struct state *state;
	int err = state_get(fs->forest, number, &state);

	if (!err && state->fork != fork)
		err = -ESTALE;
	if (!err && plus)
		err = space_entry(fs, state, &entry);
	if (err)
		return err == -ESTALE ? 0 : err;
	return fn(arg, state->name, &entry, (off_t)(COOKIE_FIRST + number)) ? 1
	                                                                    : 0;
}

int space_readdir(struct fs *fs, node_t node, off_t off, bool plus,
                  fs_readdir_fn *fn, void *arg)
{
	bool root = node_kind(node) == NODE_KIND_ROOT;
	uint64_t fork = root ? 0 : NODE_STATE(node);
	uint64_t after = off > COOKIE_FIRST ? (uint64_t)off - COOKIE_FIRST : 0;
	struct listing *listing;
	int err = 0;

	if (node_kind(node) == NODE_KIND_LINK)
		return -ENOTDIR;
	if (off < COOKIE_PARENT)
		err = read_dots(fs, node, off, fn, arg);
	if (err)
		return err == 1 ? 0 : err;
	listing = listing_take(fs, fork, false);
	if (listing)
		listing_keep(fs, listing);
	if (!listing || off < COOKIE_FIRST)
		err = listing_make(fs, fork);
	/* The newest is in front; the lock has been held since it got there. */
	listing = fs->listings;
	for (size_t i = err ? 0 : listing_after(listing, after);
	     !err && i < listing->count; i++)
		err = read_state(fs, fork, listing->numbers[i], plus, fn, arg);
	return err == 1 ? 0 : err;
}
