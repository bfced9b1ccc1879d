/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening and releasing nodes. */
#include <errno.h>
#include <fcntl.h>

#include "file.h"
#include "inode.h"
#include "open_table.h"
#include "orphan.h"
#include "xattr.h"

void fs_release(struct fs *fs, node_t node)
{
	bool orphan;
	int err;

	if (node_kind(node) != NODE_KIND_INODE)
		return;
	store_lock(fs->store);
	orphan = open_drop(fs, node);
	store_unlock(fs->store);
	if (!orphan)
		return;
	err = orphan_finish(fs, node);
	if (err && err != -EINTR)
		log_warning("cannot delete inode %llu of state %llu yet: %s",
		            (unsigned long long)NODE_INO(node),
		            (unsigned long long)NODE_STATE(node),
		            strerror(-err));
}

static int open_locked(struct fs *fs, node_t node, int flags, bool *ret_finish)
{
	bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
	struct vnode v;
	int err;

	if (node_kind(node) != NODE_KIND_INODE)
		return writes ? -EISDIR : 0;
	err = writes ? vnode_load_rw(fs, node, &v) : vnode_load(fs, node, &v);
	if (err)
		return err;
	if (writes && S_ISDIR(v.inode.mode))
		return -EISDIR;
	if ((flags & O_TRUNC) && S_ISREG(v.inode.mode)) {
		err = vnode_begin(&v);
		if (!err)
			err = vnode_kill_priv(&v, false);
		vnode_touch(&v);
		if (!err)
			err = file_resize(&v, 0);
		*ret_finish = err == -EAGAIN;
		if (err && err != -EAGAIN)
			return err;
	}
	return open_add(fs, node, !v.inode.nlink);
}

int fs_open(struct fs *fs, node_t node, int flags)
{
	bool finish = false;
	int err = 0;

	if (flags & O_TRUNC)
		err = store_throttle(fs->store, false);
	if (err)
		return err;
	store_lock(fs->store);
	err = open_locked(fs, node, flags, &finish);
	store_unlock(fs->store);
	/*
	 * The size is 0 already.  If the tail cannot be freed now, the ORPHAN
	 * item stays, and orphan cleanup frees it later.
	 */
	if (finish)
		orphan_finish(fs, node);
	return err;
}
