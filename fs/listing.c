/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading the directories whose entries are states.
 *
 * A state's cookie is its number, which does not change when the state is
 * renamed and is not reused before the state is deleted.  States are kept in
 * the order of their names, so a reader that starts from the beginning first
 * collects the numbers and sorts them: this is a listing.  A reader that
 * continues from a cookie uses the same listing, or a newer one that another
 * reader has made.
 */
#include "listing.h"

#include <errno.h>

#include "array.h"
#include "inode.h"
#include "previous.h"
#include "root_symlink.h"
#include "state_dir.h"

/*
 * Most entries read in one hold of the lock.  PREVIOUS_PIECE: of a .snap below
 * a root, which costs a look-up in the tree of each snapshot.
 */
enum { ENTRIES_PIECE = 256, PREVIOUS_PIECE = 64 };
/*
 * Most states in the kept listings together; listings used within
 * listing_keep_ns stay in any case.
 */
static const size_t listed_max = 1 << 20;
static const int64_t listing_keep_ns = INT64_C(10) * 1000000000;
/* Marks the inode number of a symlink among the numbers of states. */
#define NUMBER_SYMLINK (UINT64_C(1) << 40)

/* The states of one directory in the order of their numbers. */
struct listing {
	struct listing *next; /* used less recently */
	uint64_t fork;        /* 0: the root directory's */
	int64_t used;         /* mono_ns() of the last use */
	unsigned refs;
	size_t count;
	uint64_t numbers[];
};

/* ---- Kept listings ------------------------------------------------------ */

static void listing_unref(struct listing *listing)
{
	if (listing && --listing->refs == 0)
		free(listing);
}

/* Remove the fork's listing from the kept ones.  NULL: there is none. */
static struct listing *listing_take(struct fs *fs, uint64_t fork)
{
	struct listing **at = &fs->listings, *found;

	while (*at && (*at)->fork != fork)
		at = &(*at)->next;
	found = *at;
	if (found)
		*at = found->next;
	return found;
}

/* Keep the listing as the most recently used one, and drop old ones. */
static void listing_keep(struct fs *fs, struct listing *listing)
{
	struct listing **at = &fs->listings, *l;
	size_t sum = 0;

	listing->used = mono_ns();
	listing->next = fs->listings;
	fs->listings = listing;
	while ((l = *at)) {
		sum += l->count;
		if (sum <= listed_max ||
		    listing->used - l->used < listing_keep_ns) {
			at = &l->next;
			continue;
		}
		*at = l->next;
		sum -= l->count;
		listing_unref(l);
	}
}

void listings_release(struct fs *fs)
{
	while (fs->listings)
		listing_unref(listing_take(fs, fs->listings->fork));
}

/* ---- Making listings ---------------------------------------------------- */

/* A position in the collection of the numbers. */
struct listing_walk {
	struct state_walk states;
	bool symlinks; /* states are done, symlinks come next */
	uint64_t symlink;
};

static int walk_symlinks(struct fs *fs, struct listing_walk *walk,
                         uint64_t ret_numbers[STATE_WALK_PIECE],
                         size_t *ret_count)
{
	int err = 0;
	size_t n;

	for (n = 0; !err && n < STATE_WALK_PIECE; n++) {
		err = symlink_next(fs->forest, walk->symlink, &walk->symlink);
		if (!err)
			ret_numbers[n] = NUMBER_SYMLINK | walk->symlink;
	}
	*ret_count = err ? n - 1 : n;
	return err == -ENOENT ? 0 : err ? err : -EAGAIN;
}

static int walk_on(struct fs *fs, struct listing_walk *walk,
                   uint64_t ret_numbers[STATE_WALK_PIECE], size_t *ret_count)
{
	int err;

	if (walk->symlinks)
		return walk_symlinks(fs, walk, ret_numbers, ret_count);
	err = state_walk(fs->forest, &walk->states, ret_numbers, ret_count);
	walk->symlinks = !err && !walk->states.fork;
	return walk->symlinks ? -EAGAIN : err;
}

/* Add the next numbers to the listing.  -EAGAIN: there are more. */
static int listing_extend(struct fs *fs, struct listing_walk *walk,
                          struct listing **listing, size_t *room)
{
	struct listing *l = *listing;
	size_t found = 0;
	int err;

	if (*room - l->count < STATE_WALK_PIECE) {
		size_t more = 2 * *room + STATE_WALK_PIECE;

		l = realloc(l, sizeof(*l) + more * sizeof(*l->numbers));
		if (!l)
			return -ENOMEM;
		*listing = l;
		*room = more;
	}
	err = walk_on(fs, walk, l->numbers + l->count, &found);
	l->count += found;
	return err;
}

/*
 * Collect and sort the numbers.  The lock is held, but released meanwhile.  The
 * caller owns *ret_listing.
 */
static int listing_make(struct fs *fs, uint64_t fork,
                        struct listing **ret_listing)
{
	struct listing_walk walk = {.states = {.fork = fork}};
	struct listing *l = calloc(1, sizeof(*l));
	size_t room = 0;
	int err = l ? -EAGAIN : -ENOMEM;

	while (err == -EAGAIN) {
		err = listing_extend(fs, &walk, &l, &room);
		if (err && err != -EAGAIN)
			break;
		store_unlock(fs->store);
		if (!err)
			array_sort(l->numbers, l->count, number_compare);
		else if (store_yield(fs->store))
			err = -EINTR;
		store_lock(fs->store);
	}
	if (err) {
		free(l);
		return err;
	}
	l->fork = fork;
	l->refs = 1;
	*ret_listing = l;
	return 0;
}

/* Return the kept listing of the fork, or a new one, with a reference. */
static int listing_get(struct fs *fs, uint64_t fork, bool fresh,
                       struct listing **ret_listing)
{
	struct listing *listing = fresh ? NULL : listing_take(fs, fork);
	int err;

	if (!listing) {
		err = listing_make(fs, fork, &listing);
		if (err)
			return err;
		listing_unref(listing_take(fs, fork));
	}
	listing_keep(fs, listing);
	listing->refs++;
	*ret_listing = listing;
	return 0;
}

static size_t listing_after(const struct listing *listing, uint64_t number)
{
	return array_lower_bound(listing->numbers, listing->count, number + 1);
}

/* Read . and .. of the directory.  Return 1 if fn ended the reading. */
static int read_dots(struct fs *fs, node_t node, off_t off, fs_readdir_fn *fn,
                     void *arg)
{
	bool root = node_kind(node) == NODE_KIND_ROOT;
	node_t parent = node_kind(node) == NODE_KIND_PREVIOUS
	                        ? node & ~NODE_VIRTUAL
	                : root ? node
	                       : NODE(NODE_STATE(node), INO_ROOT);
	struct fs_entry entry = {.node = node};
	int err = state_dir_getattr(fs, node, &entry.st);

	if (err)
		return err;
	if (off < COOKIE_SELF && fn(arg, ".", &entry, COOKIE_SELF))
		return 1;
	entry.node = entry.st.st_ino = parent;
	return off < COOKIE_PARENT && fn(arg, "..", &entry, COOKIE_PARENT);
}

/*
 * Read the entry of a state; with `ino`, that of the symlink to it in the .snap
 * of the directory `ino`.
 */
static int read_state(struct fs *fs, uint64_t fork, uint64_t ino,
                      uint64_t number, bool plus, fs_readdir_fn *fn, void *arg)
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
	if (!err && ino)
		err = previous_link(fs, state, ino, plus, &entry);
	else if (!err && plus)
		err = state_dir_entry(fs, state, &entry);
	/* Leave out only this symlink if its target is too long. */
	if (ino && (err == -ENOENT || err == -ENAMETOOLONG))
		return 0;
	if (err)
		return err == -ESTALE ? 0 : err;
	return fn(arg, state->name, &entry, (off_t)(COOKIE_FIRST + number)) ? 1
	                                                                    : 0;
}

static int read_symlink(struct fs *fs, uint64_t number, fs_readdir_fn *fn,
                        void *arg)
{
	struct fs_entry entry;
	struct symlink link;
	int err = symlink_get(fs->forest, number & ~NUMBER_SYMLINK, &link);

	/* Leave out only this symlink if it is damaged, which was logged. */
	if (err)
		return err == -ESTALE || err == -EUCLEAN ? 0 : err;
	entry = root_symlink_entry(fs, &link);
	return fn(arg, link.name, &entry, (off_t)(COOKIE_FIRST + number)) ? 1
	                                                                  : 0;
}

/* Read entries from the listing.  -EAGAIN: there are more, after *off. */
static int read_states(struct fs *fs, const struct listing *listing,
                       uint64_t ino, off_t *off, bool plus, fs_readdir_fn *fn,
                       void *arg)
{
	uint64_t after =
	        *off > COOKIE_FIRST ? (uint64_t)*off - COOKIE_FIRST : 0;
	size_t i = listing_after(listing, after);
	size_t piece = ino ? PREVIOUS_PIECE : ENTRIES_PIECE;
	size_t stop = MIN(listing->count, i + piece);
	int err = 0;

	for (; !err && i < stop; i++) {
		uint64_t number = listing->numbers[i];

		*off = (off_t)(COOKIE_FIRST + number);
		err = number & NUMBER_SYMLINK
		              ? read_symlink(fs, number, fn, arg)
		              : read_state(fs, listing->fork, ino, number, plus,
		                           fn, arg);
	}
	return err || stop == listing->count ? err : -EAGAIN;
}

int state_dir_readdir(struct fs *fs, node_t node, off_t *off, bool plus,
                      fs_readdir_fn *fn, void *arg)
{
	bool root = node_kind(node) == NODE_KIND_ROOT;
	uint64_t fork = root ? 0 : NODE_STATE(node), ino = 0;
	struct listing *listing;
	struct state *state;
	int err = 0;

	if (node_is_link(node))
		return -ENOTDIR;
	if (node_kind(node) == NODE_KIND_PREVIOUS) {
		ino = NODE_INO(node);
		err = state_get(fs->forest, fork, &state);
		if (!err && state->fork)
			err = -ENOTDIR;
	}
	if (err)
		return err;
	if (*off < COOKIE_PARENT)
		err = read_dots(fs, node, *off, fn, arg);
	if (!err)
		err = listing_get(fs, fork, *off < COOKIE_FIRST, &listing);
	if (err)
		return err == 1 ? 0 : err;
	err = read_states(fs, listing, ino, off, plus, fn, arg);
	listing_unref(listing);
	return err == 1 ? 0 : err;
}
