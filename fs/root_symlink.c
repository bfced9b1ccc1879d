/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The symlinks that users make in the root directory, beside the forks, so that
 * a name such as `current` can point to different forks over time.
 */
#include "root_symlink.h"

#include <errno.h>
#include <stdio.h>

#include "inode.h"
#include "state_change.h"

struct fs_entry root_symlink_entry(const struct fs *fs,
                                   const struct symlink *link)
{
	node_t node = NODE(0, link->ino);

	return (struct fs_entry){
	        .node = node,
	        .st = inode_stat(fs, node, &link->inode),
	};
}

int root_symlink_getattr(struct fs *fs, node_t node, struct stat *ret_st)
{
	struct symlink link;
	int err = symlink_get(fs->forest, NODE_INO(node), &link);

	if (!err)
		*ret_st = root_symlink_entry(fs, &link).st;
	return err;
}

int root_symlink_setattr(struct fs *fs, node_t node, unsigned set,
                         const struct stat *to)
{
	struct symlink link;
	int err;

	if (set & FS_SET_SIZE)
		return -EINVAL;
	err = symlink_get(fs->forest, NODE_INO(node), &link);
	if (err)
		return err;
	inode_set(&link.inode, set, to);
	return symlink_save(fs->forest, &link);
}

/* ---- Making ------------------------------------------------------------- */

static struct inode new_inode(const struct inode *root, const char *target,
                              const struct fs_cred *cred)
{
	struct timestamp now = time_now();

	return (struct inode){
	        .mode = S_IFLNK | 0777,
	        .nlink = 1,
	        .uid = cred->uid,
	        .gid = root->mode & S_ISGID ? root->gid : cred->gid,
	        .size = strlen(target),
	        .atime = now,
	        .mtime = now,
	        .ctime = now,
	        .btime = now,
	};
}

static int make_locked(struct fs *fs, const char *name, const char *target,
                       const struct fs_cred *cred, struct fs_entry *ret_entry)
{
	struct symlink link = {0};
	struct inode root;
	int err = forest_root_inode(fs->forest, &root);

	if (err)
		return err;
	link.inode = new_inode(&root, target, cred);
	snprintf(link.name, sizeof(link.name), "%s", name);
	snprintf(link.target, sizeof(link.target), "%s", target);
	err = symlink_create(fs->forest, &link);
	if (err)
		return err;
	root_touch(fs);
	*ret_entry = root_symlink_entry(fs, &link);
	return 0;
}

int root_symlink_make(struct fs *fs, node_t parent, const char *name,
                      const char *target, const struct fs_cred *cred,
                      struct fs_entry *ret_entry)
{
	int err;

	if (parent != NODE_ROOT || !strcmp(name, SNAPDIR_NAME))
		return -EPERM;
	if (!*target)
		return -ENOENT;
	if (strlen(name) > NAME_LEN_MAX || strlen(target) > SYMLINK_TARGET_MAX)
		return -ENAMETOOLONG;
	err = store_throttle(fs->store, true);
	if (err)
		return err;
	store_lock(fs->store);
	err = make_locked(fs, name, target, cred, ret_entry);
	store_unlock(fs->store);
	return err;
}

/* ---- Renaming ----------------------------------------------------------- */

int root_symlink_move(struct fs *fs, struct symlink *link, const char *new_name,
                      unsigned flags)
{
	struct symlink other;
	struct state *state;
	int err = state_find(fs->forest, 0, new_name, &state);

	if (!err)
		return flags & RENAME_NOREPLACE  ? -EEXIST
		       : flags & RENAME_EXCHANGE ? -EINVAL
		                                 : -EISDIR;
	if (err == -ENOENT)
		err = symlink_find(fs->forest, new_name, &other);
	if (!err && (flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (!err && link->ino == other.ino)
		return 0;
	if (err && (err != -ENOENT || (flags & RENAME_EXCHANGE)))
		return err;
	link->inode.ctime = other.inode.ctime = time_now();
	err = flags & RENAME_EXCHANGE
	              ? symlink_exchange(fs->forest, link, &other)
	              : symlink_rename(fs->forest, link, new_name);
	if (!err)
		root_touch(fs);
	return err;
}
