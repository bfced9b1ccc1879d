/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Changes of states: the only place in fs/ that makes, renames and deletes
 * them, for mkdir, rmdir and rename as well as for the verbs of the command.
 */
#include "state_change.h"

#include <errno.h>
#include <stdio.h>

#include "inode.h"

void root_touch(struct fs *fs)
{
	struct inode inode;

	if (forest_root_inode(fs->forest, &inode))
		return;
	inode.mtime = inode.ctime = time_now();
	forest_set_root_inode(fs->forest, &inode);
}

/* Update the times of the root directory; .snap does not store any. */
static void list_touch(struct fs *fs, uint64_t fork)
{
	if (!fork)
		root_touch(fs);
}

/* Return the root inode of a new tree, as mkdir(2) in the root makes it. */
static int new_root(struct fs *fs, mode_t mode, const struct fs_cred *cred,
                    struct inode *ret_inode)
{
	struct timestamp now = time_now();
	struct inode root = {
	        .mode = S_IFDIR | (mode & 07777 & ~cred->umask),
	        .nlink = 2,
	        .uid = cred->uid,
	        .gid = cred->gid,
	        .atime = now,
	        .mtime = now,
	        .ctime = now,
	        .btime = now,
	};
	struct inode above;
	int err = forest_root_inode(fs->forest, &above);

	if (err)
		return err;
	if (above.mode & S_ISGID) {
		root.gid = above.gid;
		root.mode |= S_ISGID;
	}
	*ret_inode = root;
	return 0;
}

int fs_state_fork(struct fs *fs, struct state *source, const char *name,
                  mode_t mode, const struct fs_cred *cred,
                  struct state **ret_state)
{
	struct inode root;
	int err = source ? 0 : state_source(fs->forest, name, &source);

	if (!err && source)
		err = state_fork(fs->forest, source, name, ret_state);
	else if (!err && !(err = new_root(fs, mode, cred, &root)))
		err = state_create(fs->forest, name, &root, ret_state);
	if (err)
		return err;
	fs_adopt(fs, *ret_state);
	/* Ignore an error (no memory): the state has no creator then. */
	property_set_creator(*ret_state, cred->uid);
	root_touch(fs);
	return 0;
}

int fs_state_snapshot(struct fs *fs, struct state *fork, const char *name,
                      const struct fs_cred *cred, struct state **ret_state)
{
	int err = state_snapshot(fs->forest, fork, name, ret_state);

	if (!err)
		property_set_creator(*ret_state, cred->uid);
	return err;
}

int fs_state_rename(struct fs *fs, struct state *state, const char *name)
{
	bool same = !strcmp(state->name, name);
	int err = state_rename(fs->forest, state, name);

	if (!err && !same)
		list_touch(fs, state->fork);
	return err;
}

/* Rename `a` to an unused name first, then `b`, then `a` again. */
int fs_state_exchange(struct fs *fs, struct state *a, struct state *b)
{
	char a_name[NAME_LEN_MAX + 1], b_name[NAME_LEN_MAX + 1], free_name[64];
	int err;

	strcpy(a_name, a->name);
	strcpy(b_name, b->name);
	snprintf(free_name, sizeof(free_name), "exchange@%llu",
	         (unsigned long long)store_next_seq(fs->store));
	err = state_rename(fs->forest, a, free_name);
	if (err)
		return err;
	err = state_rename(fs->forest, b, a_name);
	if (!err)
		err = state_rename(fs->forest, a, b_name);
	if (err) {
		state_rename(fs->forest, b, b_name);
		state_rename(fs->forest, a, a_name);
		return err;
	}
	list_touch(fs, a->fork);
	return 0;
}

int fs_state_delete(struct fs *fs, struct state *state, bool recursive)
{
	uint64_t fork = state->fork;
	int err;

	if (!forest_trash_time(fs->forest))
		return fs_state_destroy(fs, state, recursive);
	err = state_trash(fs->forest, state, recursive);
	if (!err)
		list_touch(fs, fork);
	return err;
}

int fs_state_destroy(struct fs *fs, struct state *state, bool recursive)
{
	uint64_t fork = state->fork;
	int err;

	if (state->flags & STATE_TRASHED)
		return state_purge(fs->forest, state);
	err = state_delete(fs->forest, state, recursive);
	if (!err)
		list_touch(fs, fork);
	return err;
}

int fs_state_undelete(struct fs *fs, struct state *state, const char *name)
{
	int err = state_undelete(fs->forest, state, name);

	if (err)
		return err;
	/* Clean up unlinked files that are no longer open. */
	fs_adopt(fs, state);
	list_touch(fs, state->fork);
	return 0;
}
