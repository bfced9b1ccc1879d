/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading files and attributes. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "handle.h"
#include "util.h"

enum {
	MISSES_MOST = 64,  /* chunks freed before they were read */
	CHANGES_MOST = 64, /* of a fork while it is read */
};

enum coppice_type mode_type(uint32_t mode)
{
	return S_ISREG(mode)   ? COPPICE_FILE
	       : S_ISDIR(mode) ? COPPICE_DIRECTORY
	       : S_ISLNK(mode) ? COPPICE_SYMLINK
	                       : COPPICE_OTHER;
}

/* A read of one piece of a file. */
struct piece {
	const char *path;
	struct tree_read read;
	uint64_t stamp; /* of the tree */
};

static int piece_look(struct coppice_state *state, struct tree *tree, void *arg)
{
	struct piece *piece = arg;
	uint8_t type;
	int err = state_path(state, tree, piece->path, &piece->read.ino, &type);

	piece->stamp = tree->stamp;
	/* Missing chunks of an earlier attempt may have been freed. */
	piece->read.missing = 0;
	return err ? err : tree_read(tree, &piece->read);
}

/* Read a piece of `tree`, or if that is NULL, of the state as it is now. */
static int piece_read(struct coppice_state *state, struct tree *tree,
                      struct piece *piece)
{
	struct store *store = state->store->store;
	int err;

	for (int i = 0; i < MISSES_MOST; i++) {
		err = state_look(state, tree, piece_look, piece);
		if (!err)
			err = tree_read_fill(store, &piece->read);
		/* A chunk was freed: the tree has another one by now. */
		if (err != -ENOENT || !piece->read.missing)
			return err;
	}
	return store_damaged(store, piece->read.parts[0].chunk,
	                     "a chunk that is missing");
}

/*
 * Read a range in pieces.  -EAGAIN: the state has changed between two of them.
 */
static ssize_t range_read(struct coppice_state *state, struct tree *tree,
                          const struct coppice_get *get)
{
	struct piece piece;
	uint64_t stamp = 0;
	size_t done = 0;

	/* Not cleared: most of it is the parts, which tree_read() sets. */
	piece.path = get->path;
	piece.read.later = false;
	do {
		int err;

		piece.read.offset = get->offset + done;
		piece.read.buffer = (uint8_t *)get->buffer + done;
		piece.read.size = get->size - done;
		err = piece_read(state, tree, &piece);
		if (err)
			return err;
		if (stamp && piece.stamp != stamp)
			return -EAGAIN;
		stamp = piece.stamp;
		done += piece.read.done;
	} while (done < get->size && !piece.read.end);
	return (ssize_t)done;
}

/* Do one read of the present state, all of one instant. */
static ssize_t get_now(struct coppice_state *state,
                       const struct coppice_get *get)
{
	struct coppice *store = state->store;
	ssize_t r = range_read(state, NULL, get);

	for (int i = 0; r == -EAGAIN && i < CHANGES_MOST; i++) {
		struct state_hold hold;

		store_lock(store->store);
		r = state_hold_now(state, &hold);
		store_unlock(store->store);
		if (r)
			return r;
		r = range_read(state, hold.version ? hold_tree(&hold) : NULL,
		               get);
		store_lock(store->store);
		hold_release(store->forest, &hold);
		store_unlock(store->store);
	}
	return r;
}

ssize_t get_one(struct coppice_state *state, struct tree *tree,
                const struct coppice_get *get)
{
	if (!range_possible(get))
		return -EINVAL;
	return tree ? range_read(state, tree, get) : get_now(state, get);
}

ssize_t coppice_get(struct coppice_state *state, const char *path,
                    uint64_t offset, void *buffer, size_t size)
{
	struct coppice_get get = {path, offset, buffer, size, 0};
	ssize_t r = store_check(state->store);

	if (r)
		return r;
	if (!range_possible(&get))
		return fail_text(-EINVAL, "the range is not possible");
	r = get_now(state, &get);
	if (r == -EAGAIN)
		return fail_text(-EAGAIN,
		                 "cannot read '%s' at one instant: the fork "
		                 "changes too often",
		                 path);
	return r < 0 ? fail_path((int)r, "read", state, path, strlen(path)) : r;
}

/* ---- Attributes --------------------------------------------------------- */

struct looked_up {
	const char *path;
	uint64_t ino;
	struct inode inode;
};

static int inode_look(struct coppice_state *state, struct tree *tree, void *arg)
{
	struct looked_up *found = arg;
	uint8_t type;
	int err = state_path(state, tree, found->path, &found->ino, &type);

	return err ? err : tree_inode(tree, found->ino, &found->inode);
}

int coppice_stat(struct coppice_state *state, const char *path,
                 struct coppice_stat *ret_stat)
{
	struct looked_up found = {.path = path};
	const struct inode *inode = &found.inode;
	struct coppice_stat stat = {0};
	int err = store_check(state->store);

	if (err)
		return err;
	err = state_look(state, NULL, inode_look, &found);
	if (err)
		return fail_path(err, "look up", state, path, strlen(path));
	stat.type = mode_type(inode->mode);
	stat.mode = inode->mode;
	stat.uid = inode->uid;
	stat.gid = inode->gid;
	stat.links = inode->nlink;
	stat.number = found.ino;
	stat.bytes = inode->size;
	stat.modified = timestamp_ns(inode->mtime);
	stat.changed = timestamp_ns(inode->ctime);
	stat.born = timestamp_ns(inode->btime);
	return STRUCT_RETURN(ret_stat, stat);
}
