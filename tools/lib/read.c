/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Reading files and attributes. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "handle.h"
#include "util.h"

enum { MANY_PIECE = 64 }; /* reads in one hold of the lock */

enum coppice_type mode_type(uint32_t mode)
{
	return S_ISREG(mode)   ? COPPICE_FILE
	       : S_ISDIR(mode) ? COPPICE_DIRECTORY
	       : S_ISLNK(mode) ? COPPICE_SYMLINK
	                       : COPPICE_OTHER;
}

/* Read what is in memory.  Lock held.  -EAGAIN: see tree_read(). */
static int get_try(struct coppice_state *state, struct tree *tree,
                   const char *path, struct tree_read *read)
{
	uint8_t type;
	int err = state_path(state, tree, path, &read->ino, &type);

	return err ? err : tree_read(tree, read);
}

/*
 * Read one piece.  `tree` is held, or NULL: the present one of the state.
 */
static int get_piece(struct coppice_state *state, struct tree *tree,
                     const char *path, struct tree_read *read)
{
	struct store *store = state->store->store;
	int err;

	do {
		struct tree *now = tree;

		store_lock(store);
		err = now ? 0 : state_tree_now(state, &now);
		if (!err)
			err = get_try(state, now, path, read);
		store_unlock(store);
	} while (err == -EAGAIN && !(err = tree_read_load(store, read)));
	tree_read_release(read);
	return err;
}

static ssize_t get_all(struct coppice_state *state, struct tree *tree,
                       const char *path, uint64_t offset, void *buffer,
                       size_t size)
{
	struct tree_read read;
	size_t done = 0;
	int err;

	read.missing = read.loaded = 0;
	read.misses = 0;
	do {
		read.offset = offset + done;
		read.buffer = (uint8_t *)buffer + done;
		read.size = size - done;
		err = get_piece(state, tree, path, &read);
		if (err)
			return err;
		done += read.done;
	} while (done < size && !read.end);
	return (ssize_t)done;
}

ssize_t coppice_get(struct coppice_state *state, const char *path,
                    uint64_t offset, void *buffer, size_t size)
{
	ssize_t r = store_check(state->store);

	if (r)
		return r;
	if (size > SSIZE_MAX || offset > INT64_MAX)
		return fail_text(-EINVAL, "the range is not possible");
	r = get_all(state, NULL, path, offset, buffer, size);
	return r < 0 ? fail_path((int)r, "read", state, path, strlen(path)) : r;
}

/*
 * Do the next reads that need nothing from the disk.  Return how many; the one
 * behind them is left to get_all().
 */
static size_t many_piece(struct coppice_state *state, struct tree *tree,
                         struct coppice_get *gets, size_t count)
{
	struct tree_read read;
	size_t i;
	int err = 0;

	read.missing = read.loaded = 0;
	read.misses = 0;
	store_lock(state->store->store);
	if (!tree && state_tree_now(state, &tree))
		count = 0;
	for (i = 0; i < MIN(count, (size_t)MANY_PIECE); i++) {
		read.offset = gets[i].offset;
		read.buffer = gets[i].buffer;
		read.size = gets[i].size;
		err = get_try(state, tree, gets[i].path, &read);
		if (err == -EAGAIN ||
		    (!err && !read.end && read.done < gets[i].size))
			break;
		gets[i].result = err ? err : (ssize_t)read.done;
	}
	store_unlock(state->store->store);
	return i;
}

int coppice_get_many(struct coppice_state *state, struct coppice_get *gets,
                     size_t count)
{
	struct coppice *store = state->store;
	struct state_hold hold = {0};
	int err = store_check(store);

	if (err)
		return err;
	store_lock(store->store);
	err = state_hold_now(state, &hold);
	store_unlock(store->store);
	for (size_t i = 0; !err && i < count;) {
		struct tree *tree = hold.version ? hold_tree(&hold) : NULL;

		i += many_piece(state, tree, gets + i, count - i);
		if (i < count) {
			gets[i].result = get_all(state, tree, gets[i].path,
			                         gets[i].offset, gets[i].buffer,
			                         gets[i].size);
			i++;
		}
	}
	store_lock(store->store);
	hold_release(store->forest, &hold);
	store_unlock(store->store);
	return err ? fail_text(err, "cannot read a state: %s",
	                       error_reason(err))
	           : 0;
}

int coppice_stat(struct coppice_state *state, const char *path,
                 struct coppice_stat *ret_stat)
{
	struct store *store = state->store->store;
	struct coppice_stat stat = {0};
	struct inode inode;
	struct tree *tree;
	uint8_t type;
	int err = store_check(state->store);

	if (err)
		return err;
	store_lock(store);
	err = state_tree_now(state, &tree);
	if (!err)
		err = state_path(state, tree, path, &stat.number, &type);
	if (!err)
		err = tree_inode(tree, stat.number, &inode);
	store_unlock(store);
	if (err)
		return fail_path(err, "look up", state, path, strlen(path));
	stat.type = mode_type(inode.mode);
	stat.mode = inode.mode;
	stat.uid = inode.uid;
	stat.gid = inode.gid;
	stat.links = inode.nlink;
	stat.bytes = inode.size;
	stat.modified = timestamp_ns(inode.mtime);
	stat.changed = timestamp_ns(inode.ctime);
	stat.born = timestamp_ns(inode.btime);
	return STRUCT_RETURN(ret_stat, stat);
}
