/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The .snap of directories below a fork's root.
 *
 * Its entries are the fork's snapshots that have a directory with the same
 * inode number, so they follow renames.  A symlink leads up to the fork's root
 * and from there into the snapshot: its target depends on the depth of the
 * directory, and changes when the directory is moved.
 */
#include "previous.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "dirent_item.h"

/* Load a directory.  -ENOENT: there is none with this number and a name. */
static int dir_check(struct tree *tree, uint64_t ino, struct inode *ret_inode)
{
	struct inode inode;
	int err = inode_load(tree, ino, &inode);

	if (!err && (!S_ISDIR(inode.mode) || !inode.nlink))
		err = -ENOENT;
	if (!err)
		*ret_inode = inode;
	return err;
}

int previous_entry(const struct vnode *dir, struct fs_entry *ret_entry)
{
	struct fs_entry entry = {
	        .node = NODE_VIRTUAL | vnode_node(dir),
	        .uncacheable = true,
	};
	int err;

	if (dir->ino == INO_ROOT || dir->state->fork || !dir->inode.nlink)
		return -ENOENT;
	entry_stamp(dir->fs, &entry);
	err = previous_getattr(dir->fs, entry.node, &entry.st);
	if (!err)
		*ret_entry = entry;
	return err;
}

/* Return the number of components of a directory's path; the root's is 0. */
static int depth_of(struct tree *tree, uint64_t ino, unsigned *ret_depth)
{
	unsigned depth = 0;
	int err;

	for (; ino != INO_ROOT; depth++) {
		if (depth > PATH_MAX / 3)
			return -ENAMETOOLONG;
		err = dir_parent(tree, ino, &ino);
		if (err)
			return err;
	}
	*ret_depth = depth;
	return 0;
}

/* Write the target of the symlink to the directory `ino` of a snapshot. */
static int link_target(struct fs *fs, struct state *snapshot, uint64_t ino,
                       char *ret_target)
{
	char path[TREE_PATH_SIZE];
	struct state *fork;
	unsigned depth = 0;
	size_t len = 0;
	int err = state_get(fs->forest, snapshot->fork, &fork);

	if (!err)
		err = depth_of(state_tree(fork), ino, &depth);
	if (!err)
		err = tree_path_of(state_tree(snapshot), ino, NULL, 0, path);
	if (err)
		return err;
	/* The symlink is one level deeper, in the directory's .snap. */
	if (3 * (depth + 1) + strlen(path) + strlen(snapshot->name) +
	            sizeof(SNAPDIR_NAME "/") >
	    PATH_MAX)
		return -ENAMETOOLONG;
	for (unsigned i = 0; i <= depth; i++, len += 3)
		memcpy(ret_target + len, "../", 3);
	sprintf(ret_target + len, SNAPDIR_NAME "/%s%s", snapshot->name, path);
	return 0;
}

static int link_getattr(struct fs *fs, struct state *snapshot, uint64_t ino,
                        struct stat *ret_st)
{
	struct inode dir, inode = {.mode = S_IFLNK | 0777, .nlink = 1};
	char target[PATH_MAX];
	int err = dir_check(state_tree(snapshot), ino, &dir);

	if (!err)
		err = link_target(fs, snapshot, ino, target);
	if (err)
		return err;
	inode.uid = dir.uid;
	inode.gid = dir.gid;
	inode.size = strlen(target);
	inode.atime = inode.mtime = inode.ctime =
	        timestamp_of(snapshot->created);
	*ret_st = inode_stat(fs, NODE_VIRTUAL | NODE(snapshot->number, ino),
	                     &inode);
	return 0;
}

int previous_getattr(struct fs *fs, node_t node, struct stat *ret_st)
{
	uint64_t ino = NODE_INO(node);
	struct inode dir, inode;
	struct state *state;
	int err = state_get(fs->forest, NODE_STATE(node), &state);

	if (err)
		return err;
	if (state->fork) {
		err = link_getattr(fs, state, ino, ret_st);
		return err == -ENOENT ? -ESTALE : err;
	}
	err = dir_check(state_tree(state), ino, &dir);
	if (err)
		return err == -ENOENT ? -ESTALE : err;
	inode = (struct inode){
	        .mode = dir.mode & ~(uint32_t)0222,
	        .nlink = 2,
	        .uid = dir.uid,
	        .gid = dir.gid,
	};
	inode.atime = inode.mtime = inode.ctime =
	        timestamp_of(state_version_created(state));
	*ret_st = inode_stat(fs, node, &inode);
	return 0;
}

int previous_readlink(struct fs *fs, node_t node, char *ret_target)
{
	struct state *state;
	int err = state_get(fs->forest, NODE_STATE(node), &state);

	if (!err && !state->fork)
		return -EINVAL;
	if (!err)
		err = link_target(fs, state, NODE_INO(node), ret_target);
	return err == -ENOENT ? -ESTALE : err;
}

int previous_link(struct fs *fs, struct state *snapshot, uint64_t ino,
                  bool plus, struct fs_entry *ret_entry)
{
	node_t node = NODE_VIRTUAL | NODE(snapshot->number, ino);
	struct fs_entry entry = {
	        .node = node,
	        .st = {.st_ino = node, .st_mode = S_IFLNK},
	        .uncacheable = true,
	        .generation = state_generation(snapshot),
	};
	struct inode dir;
	int err = plus ? link_getattr(fs, snapshot, ino, &entry.st)
	               : dir_check(state_tree(snapshot), ino, &dir);

	if (!err)
		*ret_entry = entry;
	return err;
}

int previous_lookup(struct fs *fs, node_t parent, const char *name,
                    struct fs_entry *ret_entry)
{
	struct fs_entry entry = {.node = parent, .uncacheable = true};
	struct state *state, *snapshot;
	struct vnode dir;
	int err = state_get(fs->forest, NODE_STATE(parent), &state);

	if (!err && state->fork)
		err = -ENOTDIR;
	if (!err)
		err = vnode_load(fs, parent & ~NODE_VIRTUAL, &dir);
	if (err)
		return err;
	if (!strcmp(name, "..")) {
		*ret_entry = vnode_entry(&dir);
		return 0;
	}
	if (!strcmp(name, ".")) {
		entry_stamp(fs, &entry);
		err = previous_getattr(fs, parent, &entry.st);
		if (!err)
			*ret_entry = entry;
		return err;
	}
	err = state_find(fs->forest, state->number, name, &snapshot);
	return err ? err
	           : previous_link(fs, snapshot, dir.ino, true, ret_entry);
}
