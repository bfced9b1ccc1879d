/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The directories above the trees: the root directory, whose entries are the
 * forks, each fork's .snap, whose entries are its snapshots, and the symlinks
 * in the root directory for names with a '~'.
 */
#include "state_dir.h"

#include <errno.h>
#include <stdio.h>

#include "dirent_item.h"
#include "inode.h"
#include "previous.h"
#include "root_symlink.h"
#include "state_change.h"

/* Return the fork whose states the directory lists; 0: the root directory. */
static uint64_t state_dir_fork(node_t node)
{
	return node_kind(node) == NODE_KIND_ROOT ? 0 : NODE_STATE(node);
}

/* Return the fork of a .snap.  -ESTALE: the fork is gone, or has no .snap. */
static int snapdir_fork(struct fs *fs, node_t node, struct state **ret_state)
{
	int err = state_get(fs->forest, NODE_STATE(node), ret_state);

	return err ? err : (*ret_state)->fork ? -ESTALE : 0;
}

static int state_root(struct fs *fs, struct state *state, struct vnode *ret)
{
	return vnode_load(fs, NODE(state->number, INO_ROOT), ret);
}

int state_dir_entry(struct fs *fs, struct state *state,
                    struct fs_entry *ret_entry)
{
	struct vnode v;
	int err = state_root(fs, state, &v);

	if (!err)
		*ret_entry = vnode_entry(&v);
	return err;
}

/* ---- Attributes --------------------------------------------------------- */

static int root_getattr(struct fs *fs, struct stat *ret_st)
{
	struct inode inode;
	int err = forest_root_inode(fs->forest, &inode);

	if (err)
		return err;
	inode.mode = S_IFDIR | (inode.mode & 07777);
	/*
	 * Subdirectories are not counted.  Programs that use the link count for
	 * their number recognize a 1 as 'unknown'.
	 */
	inode.nlink = 1;
	*ret_st = inode_stat(fs, NODE_ROOT, &inode);
	return 0;
}

static int snapdir_getattr(struct fs *fs, node_t node, struct stat *ret_st)
{
	struct state *state;
	struct inode inode;
	struct vnode v;
	int err = snapdir_fork(fs, node, &state);

	if (!err)
		err = state_root(fs, state, &v);
	if (err)
		return err;
	inode = (struct inode){
	        .mode = v.inode.mode,
	        .nlink = (uint32_t)MIN(2 + state->snapshots, LINKS_MAX),
	        .uid = v.inode.uid,
	        .gid = v.inode.gid,
	        .size = state->snapshots,
	};
	inode.atime = inode.mtime = inode.ctime =
	        timestamp_of(state_version_created(state));
	*ret_st = inode_stat(fs, node, &inode);
	return 0;
}

static int link_target(struct fs *fs, node_t node, struct state **ret_state,
                       char *ret_target)
{
	struct state *state, *fork;
	int err =
	        state_get(fs->forest, NODE_INO(node) & (INO_LINK - 1), &state);

	if (err)
		return err;
	if (state->fork) {
		err = state_get(fs->forest, state->fork, &fork);
		if (err)
			return err;
		sprintf(ret_target, "%s/" SNAPDIR_NAME "/%s", fork->name,
		        state->name);
	} else {
		strcpy(ret_target, state->name);
	}
	*ret_state = state;
	return 0;
}

static int link_getattr(struct fs *fs, node_t node, struct stat *ret_st)
{
	char target[2 * NAME_LEN_MAX + sizeof("/" SNAPDIR_NAME "/")];
	struct state *state;
	struct inode inode;
	struct vnode v;
	int err = link_target(fs, node, &state, target);

	if (!err)
		err = state_root(fs, state, &v);
	if (err)
		return err;
	inode = (struct inode){
	        .mode = S_IFLNK | 0777,
	        .nlink = 1,
	        .uid = v.inode.uid,
	        .gid = v.inode.gid,
	        .size = strlen(target),
	};
	inode.atime = inode.mtime = inode.ctime = timestamp_of(state->created);
	*ret_st = inode_stat(fs, node, &inode);
	return 0;
}

int state_dir_getattr(struct fs *fs, node_t node, struct stat *ret_st)
{
	switch (node_kind(node)) {
	case NODE_KIND_ROOT:
		return root_getattr(fs, ret_st);
	case NODE_KIND_SNAPDIR:
		return snapdir_getattr(fs, node, ret_st);
	case NODE_KIND_LINK:
		return link_getattr(fs, node, ret_st);
	case NODE_KIND_SYMLINK:
		return root_symlink_getattr(fs, node, ret_st);
	case NODE_KIND_PREVIOUS:
		return previous_getattr(fs, node, ret_st);
	case NODE_KIND_INODE:
		break;
	}
	return -EPERM;
}

int state_dir_setattr(struct fs *fs, node_t node, unsigned set,
                      const struct stat *to)
{
	struct inode inode;
	int err;

	if (node_kind(node) == NODE_KIND_SYMLINK)
		return root_symlink_setattr(fs, node, set, to);
	if (node_kind(node) != NODE_KIND_ROOT)
		return -EPERM;
	if (set & FS_SET_SIZE)
		return -EISDIR;
	err = forest_root_inode(fs->forest, &inode);
	if (err)
		return err;
	inode_set(&inode, set, to);
	return forest_set_root_inode(fs->forest, &inode);
}

int state_dir_readlink(struct fs *fs, node_t node, char *ret_target)
{
	struct symlink link;
	struct state *state;
	int err;

	if (node_kind(node) == NODE_KIND_SYMLINK) {
		err = symlink_get(fs->forest, NODE_INO(node), &link);
		if (!err)
			strcpy(ret_target, link.target);
		return err;
	}
	if (node_kind(node) == NODE_KIND_PREVIOUS)
		return previous_readlink(fs, node, ret_target);
	if (node_kind(node) != NODE_KIND_LINK)
		return -EINVAL;
	return link_target(fs, node, &state, ret_target);
}

/* ---- Look-up ------------------------------------------------------------ */

static int lookup_dots(struct fs *fs, node_t parent, const char *name,
                       struct fs_entry *ret_entry)
{
	struct fs_entry entry = {.node = parent};
	struct state *state;
	int err;

	if (name[1] && node_kind(parent) == NODE_KIND_SNAPDIR) {
		err = snapdir_fork(fs, parent, &state);
		return err ? err : state_dir_entry(fs, state, ret_entry);
	}
	entry_stamp(fs, &entry);
	err = state_dir_getattr(fs, entry.node, &entry.st);
	if (!err)
		*ret_entry = entry;
	return err;
}

/* Look up the symlink for a name such as main~monday or main~1. */
static int lookup_link(struct fs *fs, const char *name,
                       struct fs_entry *ret_entry)
{
	struct fs_entry entry = {.uncacheable = true};
	struct state *state;
	int err = state_resolve(fs->forest, name, &state);

	if (err)
		return err == -EINVAL ? -ENOENT : err;
	if (!state->fork)
		return -ENOENT;
	entry.node = NODE(0, INO_LINK + state->number);
	entry_stamp(fs, &entry);
	err = state_dir_getattr(fs, entry.node, &entry.st);
	if (!err)
		*ret_entry = entry;
	return err;
}

int state_dir_lookup(struct fs *fs, node_t parent, const char *name,
                     struct fs_entry *ret_entry)
{
	bool root = node_kind(parent) == NODE_KIND_ROOT;
	struct symlink link;
	struct state *state;
	int err;

	if (node_kind(parent) == NODE_KIND_PREVIOUS)
		return previous_lookup(fs, parent, name, ret_entry);
	if (node_is_link(parent))
		return -ENOTDIR;
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return lookup_dots(fs, parent, name, ret_entry);
	if (!root) {
		err = snapdir_fork(fs, parent, &state);
		if (err)
			return err;
	}
	err = state_find(fs->forest, state_dir_fork(parent), name, &state);
	if (!err)
		return state_dir_entry(fs, state, ret_entry);
	if (err != -ENOENT || !root)
		return err;
	err = symlink_find(fs->forest, name, &link);
	if (!err)
		*ret_entry = root_symlink_entry(fs, &link);
	if (err == -ENOENT && strchr(name, '~'))
		err = lookup_link(fs, name, ret_entry);
	return err;
}

/* ---- Making and deleting ------------------------------------------------ */

static int mkdir_locked(struct fs *fs, node_t parent, const char *name,
                        mode_t mode, const struct fs_cred *cred,
                        struct fs_entry *ret_entry)
{
	struct state *source, *state;
	int err;

	if (node_kind(parent) == NODE_KIND_PREVIOUS)
		return -EPERM;
	if (node_is_link(parent))
		return -ENOTDIR;
	if (node_kind(parent) == NODE_KIND_SNAPDIR) {
		err = snapdir_fork(fs, parent, &source);
		if (!err)
			err = fs_state_snapshot(fs, source, name, cred, &state);
		return err ? err : state_dir_entry(fs, state, ret_entry);
	}
	/* Snapshots belong to one fork: there are none of all forks. */
	if (!strcmp(name, SNAPDIR_NAME))
		return -EPERM;
	err = name_check_fork(name);
	if (!err)
		err = state_find(fs->forest, 0, name, &state);
	if (err != -ENOENT)
		return err ? err : -EEXIST;
	err = fs_state_fork(fs, NULL, name, mode, cred, &state);
	return err ? err : state_dir_entry(fs, state, ret_entry);
}

int state_dir_mkdir(struct fs *fs, node_t parent, const char *name, mode_t mode,
                    const struct fs_cred *cred, struct fs_entry *ret_entry)
{
	int err = store_throttle(fs->store, true);
	bool warn = false;

	if (err)
		return err;
	store_lock(fs->store);
	err = mkdir_locked(fs, parent, name, mode, cred, ret_entry);
	if (!err && node_kind(parent) == NODE_KIND_SNAPDIR &&
	    name_is_position(name) && !fs->position_logged)
		warn = fs->position_logged = true;
	store_unlock(fs->store);
	/* mkdir(2) cannot warn; log it once. */
	if (warn)
		log_info(
		        "snapshots with names such as '%s': '~%s' names such a "
		        "snapshot while it exists, and is read as a position "
		        "afterwards",
		        name, name);
	return err;
}

/*
 * Find the state of an entry.  Return `otherwise` if the entry is not that of a
 * state.
 */
static int state_dir_find(struct fs *fs, node_t parent, const char *name,
                          int otherwise, struct state **ret_state)
{
	struct fs_entry entry;
	int err =
	        state_find(fs->forest, state_dir_fork(parent), name, ret_state);

	if (err == -ENOENT && !state_dir_lookup(fs, parent, name, &entry))
		err = otherwise;
	return err;
}

int state_dir_unlink(struct fs *fs, node_t parent, const char *name)
{
	struct symlink link;
	struct state *state;
	int err = -ENOENT;

	if (node_kind(parent) == NODE_KIND_PREVIOUS)
		return -EPERM;
	if (node_kind(parent) == NODE_KIND_ROOT)
		err = symlink_find(fs->forest, name, &link);
	if (err == -ENOENT) {
		err = state_dir_find(fs, parent, name, -EPERM, &state);
		return err ? err : -EISDIR;
	}
	if (!err)
		err = symlink_delete(fs->forest, &link);
	if (!err)
		root_touch(fs);
	return err;
}

/*
 * Check that rmdir may delete the fork.  -EBUSY: it is the default state;
 * -ENOTEMPTY: it is not redundant.
 */
static int fork_check_removable(struct fs *fs, struct state *state)
{
	struct state *dflt;
	int err = state_default(fs->forest, &dflt);

	if (!err && dflt == state)
		return -EBUSY;
	if (fs->options.rmdir_always || state_is_redundant(fs->forest, state))
		return 0;
	return -ENOTEMPTY;
}

int state_dir_rmdir(struct fs *fs, node_t parent, const char *name)
{
	struct state *state;
	int err = node_kind(parent) == NODE_KIND_PREVIOUS
	                  ? -EPERM
	                  : state_dir_find(fs, parent, name, -ENOTDIR, &state);

	if (!err && !state->fork)
		err = fork_check_removable(fs, state);
	return err ? err : fs_state_delete(fs, state, false);
}

/* ---- Renaming ----------------------------------------------------------- */

/* Return true if mkdir of this name in the root makes a new tree. */
static bool makes_new_tree(struct fs *fs, const char *name)
{
	struct state *source;

	return !name_check_fork(name) &&
	       !state_source(fs->forest, name, &source) && !source;
}

/* Rename a state in its directory. */
static int state_move(struct fs *fs, struct state *state, const char *new_name,
                      unsigned flags)
{
	struct symlink link;
	struct state *other;
	int err = state_find(fs->forest, state->fork, new_name, &other);

	if (err && err != -ENOENT)
		return err;
	if (err && !state->fork && !symlink_find(fs->forest, new_name, &link))
		return flags & RENAME_NOREPLACE  ? -EEXIST
		       : flags & RENAME_EXCHANGE ? -EINVAL
		                                 : -ENOTDIR;
	if (err && (flags & RENAME_EXCHANGE))
		return -ENOENT;
	if (!err) {
		if (flags & RENAME_NOREPLACE)
			return -EEXIST;
		if (state == other)
			return 0;
		if (flags & RENAME_EXCHANGE)
			return fs_state_exchange(fs, state, other);
		err = state->fork ? -ENOTEMPTY
		                  : fork_check_removable(fs, other);
		if (!err)
			err = fs_state_delete(fs, other, false);
		if (err)
			return err;
	}
	return fs_state_rename(fs, state, new_name);
}

int state_dir_rename(struct fs *fs, node_t parent, const char *name,
                     node_t new_parent, const char *new_name, unsigned flags)
{
	struct symlink link;
	struct state *state;
	int err;

	if (node_kind(parent) == NODE_KIND_PREVIOUS ||
	    node_kind(new_parent) == NODE_KIND_PREVIOUS)
		return -EPERM;
	/*
	 * mv(1) copies after EXDEV.  It must copy neither states, nor a
	 * directory into a fork that already has content.
	 */
	if (node_kind(parent) == NODE_KIND_INODE && new_parent == NODE_ROOT &&
	    (makes_new_tree(fs, new_name) ||
	     dir_entry_is_symlink(fs, parent, name)))
		return -EXDEV;
	if (parent == NODE_ROOT) {
		err = symlink_find(fs->forest, name, &link);
		if (!err && parent != new_parent)
			return -EXDEV;
		if (err != -ENOENT)
			return err ? err
			           : root_symlink_move(fs, &link, new_name,
			                               flags);
	}
	if (parent != new_parent)
		return -EPERM;
	err = state_dir_find(fs, parent, name, -EPERM, &state);
	return err ? err : state_move(fs, state, new_name, flags);
}
