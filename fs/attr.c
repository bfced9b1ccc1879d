/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Attributes of nodes: getting and setting them, and reading symlinks. */
#include "fs.h"

#include <errno.h>
#include <limits.h>

#include "acl.h"
#include "extent.h"
#include "file.h"
#include "inode.h"
#include "orphan.h"
#include "state_dir.h"
#include "want.h"
#include "xattr.h"

/* ---- Attributes --------------------------------------------------------- */

static int getattr_locked(struct fs *fs, node_t node, struct stat *ret_st)
{
	struct vnode v;
	int err;

	if (node_kind(node) != NODE_KIND_INODE)
		return state_dir_getattr(fs, node, ret_st);
	err = vnode_load(fs, node, &v);
	if (!err)
		*ret_st = vnode_stat(&v);
	return err;
}

int fs_getattr(struct fs *fs, node_t node, struct stat *ret_st)
{
	int err;

	store_lock(fs->store);
	err = getattr_locked(fs, node, ret_st);
	store_unlock(fs->store);
	return err;
}

int fs_entry_of(struct fs *fs, node_t node, struct fs_entry *ret_entry)
{
	struct fs_entry entry = {.node = node};
	int err;

	store_lock(fs->store);
	err = getattr_locked(fs, node, &entry.st);
	if (!err)
		entry_stamp(fs, &entry);
	store_unlock(fs->store);
	if (!err)
		*ret_entry = entry;
	return err;
}

int fs_confirm(struct fs *fs, const struct fs_entry *entry)
{
	struct fs_entry now = *entry;

	/*
	 * The node is in the lookup table by now.  A thread that reuses its
	 * number changes the generation first and then checks the lookup table,
	 * so one of the two threads sees the other's change.
	 */
	if (!forest_reuses_numbers(fs->forest))
		return 0;
	store_lock(fs->store);
	entry_stamp(fs, &now);
	store_unlock(fs->store);
	return now.generation == entry->generation ? 0 : -ESTALE;
}

int fs_btime(struct fs *fs, node_t node, struct timespec *ret_time)
{
	struct vnode v;
	int err;

	store_lock(fs->store);
	err = vnode_load(fs, node, &v);
	if (!err)
		*ret_time = (struct timespec){v.inode.btime.sec,
		                              v.inode.btime.nsec};
	store_unlock(fs->store);
	return err == -EPERM ? -ENODATA : err;
}

/* Return the access ACL, changed for the new mode; NULL: none. */
static int setattr_acl(struct vnode *v, uint32_t mode, struct want *want,
                       uint8_t **ret_acl, size_t *ret_len)
{
	int err = xattr_value(v, XATTR_ACL_ACCESS, want, ret_acl, ret_len);

	if (err == -ENODATA)
		return 0;
	if (!err)
		acl_chmod(*ret_acl, *ret_len, mode);
	return err;
}

static int setattr_check(const struct vnode *v, unsigned set,
                         const struct stat *to)
{
	if (!(set & FS_SET_SIZE))
		return 0;
	if (S_ISDIR(v->inode.mode))
		return -EISDIR;
	if (!S_ISREG(v->inode.mode) || to->st_size < 0)
		return -EINVAL;
	return to->st_size > FILE_SIZE_MAX ? -EFBIG : 0;
}

static int setattr_apply(struct vnode *v, unsigned set, const struct stat *to)
{
	bool chown =
	        (set & (FS_SET_UID | FS_SET_GID)) && !S_ISDIR(v->inode.mode);
	int err = 0;

	if (chown || (set & (FS_SET_SIZE | FS_SET_KILL_PRIV)))
		err = vnode_kill_priv(v, chown || (set & FS_SET_KILL_PRIV));
	if (set & FS_SET_KILL_SGID)
		v->inode.mode &= ~(uint32_t)S_ISGID;
	/* Set it last: a mode of the same call keeps its suid and sgid. */
	if (!err)
		inode_set(&v->inode, set, to);
	return err;
}

static int setattr_locked(struct fs *fs, node_t node, unsigned set,
                          const struct stat *to, struct want *want,
                          bool *ret_finish, struct stat *ret_st)
{
	_cleanup_free_ uint8_t *acl = NULL;
	size_t acl_len = 0;
	struct vnode v;
	int err;

	if (node_kind(node) != NODE_KIND_INODE) {
		err = state_dir_setattr(fs, node, set, to);
		return err ? err : state_dir_getattr(fs, node, ret_st);
	}
	err = vnode_load_rw(fs, node, &v);
	if (!err)
		err = setattr_check(&v, set, to);
	if (!err && (set & FS_SET_MODE))
		err = setattr_acl(&v, to->st_mode, want, &acl, &acl_len);
	if (!err)
		err = vnode_begin(&v);
	if (!err && (set & FS_SET_SIZE)) {
		err = file_clear_tail(&v, (uint64_t)to->st_size);
		*ret_finish = err == -EAGAIN;
	}
	if (!err && acl)
		err = xattr_put(&v, XATTR_ACL_ACCESS, acl, acl_len, NULL);
	if (!err)
		err = setattr_apply(&v, set, to);
	if (!err && (set & FS_SET_SIZE)) {
		err = file_resize(&v, (uint64_t)to->st_size);
		if (err == -EAGAIN) {
			*ret_finish = true;
			err = 0;
		}
	} else if (!err) {
		err = vnode_store(&v);
	}
	if (!err)
		*ret_st = vnode_stat(&v);
	return err;
}

int fs_setattr(struct fs *fs, node_t node, unsigned set, const struct stat *to,
               struct stat *ret_st)
{
	_cleanup_want_ struct want want = {0};
	int err = store_throttle(fs->store, false), more = 0;

	if (err)
		return err;
	do {
		bool finish = false;

		store_lock(fs->store);
		err = setattr_locked(fs, node, set, to, &want, &finish, ret_st);
		store_unlock(fs->store);
		if (finish)
			more = orphan_finish(fs, node);
		else if (err == -EAGAIN)
			more = want_fetch(fs, &want);
	} while (err == -EAGAIN && !more);
	return err == -EAGAIN ? more : err;
}

/* ---- Symlinks ----------------------------------------------------------- */

static int readlink_locked(struct fs *fs, node_t node, struct want *want,
                           char *ret_target)
{
	_cleanup_chunk_ struct chunk *chunk = NULL;
	uint8_t data[EXTENT_INLINE_MAX];
	struct vnode v;
	struct ext e;
	int err;

	if (node_kind(node) != NODE_KIND_INODE)
		return state_dir_readlink(fs, node, ret_target);
	err = vnode_load(fs, node, &v);
	if (err)
		return err;
	if (!S_ISLNK(v.inode.mode))
		return -EINVAL;
	err = ext_list(v.tree, v.ino, 0, 1, &e);
	if (err)
		return err;
	if (ext_data(&e) != v.inode.size || e.len >= PATH_MAX)
		return -EUCLEAN;
	if (e.kind == EXTENT_INLINE) {
		err = ext_inline(v.tree, v.ino, data);
		if (!err)
			memcpy(ret_target, data, e.len);
	} else {
		err = want_chunk(fs, want, e.chunk, &chunk, NULL);
		if (!err && chunk_len(chunk) < e.len)
			err = -EUCLEAN;
		if (!err)
			memcpy(ret_target, chunk_data(chunk), e.len);
	}
	if (!err)
		ret_target[e.len] = '\0';
	return err;
}

int fs_readlink(struct fs *fs, node_t node, char *ret_target)
{
	_cleanup_want_ struct want want = {0};
	int err;

	do {
		store_lock(fs->store);
		err = readlink_locked(fs, node, &want, ret_target);
		store_unlock(fs->store);
	} while (err == -EAGAIN && !(err = want_fetch(fs, &want)));
	return err;
}
