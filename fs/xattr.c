/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Extended attributes: get, set, list and remove, with Linux's rules for names
 * and sizes, and the rules that keep ACLs and modes consistent.
 */
#include "xattr.h"

#include <errno.h>
#include <sys/xattr.h>

#include "acl.h"
#include "inode.h"
#include "state_xattr.h"
#include "want.h"

#define VIRTUAL_PREFIX "user.coppice."

static bool starts_with(const char *s, const char *prefix)
{
	return !strncmp(s, prefix, strlen(prefix));
}

static bool is_acl(const char *name)
{
	return !strcmp(name, XATTR_ACL_ACCESS) ||
	       !strcmp(name, XATTR_ACL_DEFAULT);
}

static int name_check(const char *name)
{
	static const char *const spaces[] = {"user.", "trusted.", "security."};
	size_t len = strlen(name);

	if (!len || len > NAME_LEN_MAX)
		return -ERANGE;
	if (is_acl(name))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(spaces); i++)
		if (starts_with(name, spaces[i]))
			return name[strlen(spaces[i])] ? 0 : -EINVAL;
	return -EOPNOTSUPP;
}

/* ---- Inside a tree ------------------------------------------------------ */

static int xattr_item(struct vnode *v, const char *name, struct item *ret_item,
                      struct xattr_item *ret)
{
	int err;

	if (!v->inode.xattrs)
		return -ENODATA;
	err = slot_find(v->tree, v->ino, ITEM_XATTR, 0, name, strlen(name),
	                ret_item);
	if (err)
		return err == -ENOENT ? -ENODATA : err;
	return xattr_decode(ret_item->value, ret_item->len, ret);
}

int xattr_find(struct vnode *v, const char *name, struct xattr_item *ret)
{
	struct item item;

	return xattr_item(v, name, &item, ret);
}

static int xattr_copy(struct vnode *v, const struct xattr_item *x,
                      struct want *want, uint8_t *out)
{
	_cleanup_chunk_ struct chunk *chunk = NULL;
	int err;

	if (!x->chunk) {
		memcpy(out, x->value, x->len);
		return 0;
	}
	err = want_chunk(v->fs, want, x->chunk, &chunk, NULL);
	if (err)
		return err;
	if (chunk_len(chunk) != x->len)
		return -EUCLEAN;
	memcpy(out, chunk_data(chunk), x->len);
	return 0;
}

int xattr_value(struct vnode *v, const char *name, struct want *want,
                uint8_t **ret_value, size_t *ret_len)
{
	_cleanup_free_ uint8_t *value = NULL;
	struct xattr_item x;
	int err = xattr_find(v, name, &x);

	if (err)
		return err;
	value = malloc(x.len ? x.len : 1);
	if (!value)
		return -ENOMEM;
	err = xattr_copy(v, &x, want, value);
	if (err)
		return err;
	*ret_len = x.len;
	*ret_value = steal(&value);
	return 0;
}

static int value_chunk(struct fs *fs, const void *value, size_t len,
                       struct chunk **ret_chunk)
{
	struct chunk *chunk;

	if (len > fs->chunk_size)
		return -ENOSPC;
	chunk = chunk_alloc(fs->store, len);
	if (!chunk)
		return -ENOMEM;
	if (chunk_resize(chunk, (uint32_t)len)) {
		chunk_unref(chunk);
		return -ENOMEM;
	}
	memcpy(chunk_data(chunk), value, len);
	*ret_chunk = chunk;
	return 0;
}

int xattr_put(struct vnode *v, const char *name, const void *value, size_t len,
              struct chunk *chunk)
{
	_cleanup_chunk_ struct chunk *made = NULL;
	struct key key = {.ino = v->ino, .kind = ITEM_XATTR};
	uint8_t bytes[TREE_VALUE_MAX];
	struct xattr_item old = {0}, x = {
	                                     .name_len = (uint8_t)strlen(name),
	                                     .name = name,
	                                     .len = (uint32_t)len,
	                                     .value = value,
	                             };
	struct item item;
	int err = xattr_item(v, name, &item, &old);
	bool exists = !err;

	if (exists) {
		key = item.key;
		err = 0;
	} else if (err == -ENODATA) {
		err = slot_free(v->tree, v->ino, ITEM_XATTR, 0, name,
		                strlen(name), &key.off);
	}
	if (!err && len > XATTR_INLINE_MAX && !chunk) {
		err = value_chunk(v->fs, value, len, &made);
		chunk = made;
	}
	if (err)
		return err;
	if (len > XATTR_INLINE_MAX)
		x.chunk = chunk_add(v->tree, chunk, old.chunk);
	err = tree_put(v->tree, &key, bytes, xattr_encode(&x, bytes));
	if (err) {
		if (x.chunk)
			tree_drop(v->tree, x.chunk);
		return err;
	}
	if (old.chunk)
		tree_drop(v->tree, old.chunk);
	v->inode.xattrs += !exists;
	return 0;
}

int xattr_del(struct vnode *v, const char *name)
{
	struct xattr_item old;
	struct item item;
	struct key key;
	int err = xattr_item(v, name, &item, &old);

	if (err)
		return err;
	key = item.key;
	err = tree_del(v->tree, &key);
	if (err)
		return err;
	if (old.chunk)
		tree_drop(v->tree, old.chunk);
	v->inode.xattrs--;
	return 0;
}

/* ---- Get and list ------------------------------------------------------- */

static ssize_t virtual_get(struct fs *fs, node_t node, const char *name,
                           void *value, size_t size)
{
	char out[4096];
	int err = state_xattr_get(fs, node, name + strlen(VIRTUAL_PREFIX), out,
	                          sizeof(out));
	size_t len;

	if (err)
		return err;
	len = strlen(out);
	if (size && len > size)
		return -ERANGE;
	if (size)
		memcpy(value, out, len);
	return (ssize_t)len;
}

/* Return the node to read from: .snap shows the ACL of its fork's root. */
static node_t holder(node_t node, const char *name)
{
	if (node_kind(node) == NODE_KIND_SNAPDIR &&
	    !strcmp(name, XATTR_ACL_ACCESS))
		return NODE(NODE_STATE(node), INO_ROOT);
	return node;
}

static ssize_t get_locked(struct fs *fs, node_t node, const char *name,
                          void *value, size_t size, struct want *want)
{
	struct xattr_item x;
	struct vnode v;
	int err;

	if (starts_with(name, VIRTUAL_PREFIX))
		return virtual_get(fs, node, name, value, size);
	node = holder(node, name);
	if (node_kind(node) != NODE_KIND_INODE)
		return -ENODATA;
	err = vnode_load(fs, node, &v);
	if (!err)
		err = xattr_find(&v, name, &x);
	if (err)
		return err;
	if (!size)
		return x.len;
	if (x.len > size)
		return -ERANGE;
	err = xattr_copy(&v, &x, want, value);
	return err ? err : (ssize_t)x.len;
}

ssize_t fs_getxattr(struct fs *fs, node_t node, const char *name, void *value,
                    size_t size)
{
	_cleanup_want_ struct want want = {0};
	ssize_t result = name_check(name);

	if (result)
		return result;
	do {
		store_lock(fs->store);
		result = get_locked(fs, node, name, value, size, &want);
		store_unlock(fs->store);
	} while (result == -EAGAIN && !(result = want_fetch(fs, &want)));
	return result;
}

static bool is_trusted(const struct xattr_item *x)
{
	static const char prefix[] = "trusted.";
	enum { LEN = sizeof(prefix) - 1 };

	return x->name_len > LEN && !memcmp(x->name, prefix, LEN);
}

static ssize_t list_locked(struct vnode *v, bool trusted, char *list,
                           size_t size)
{
	struct key key = {.ino = v->ino, .kind = ITEM_XATTR};
	struct cursor cursor;
	struct xattr_item x;
	struct item item;
	size_t len = 0, all = 0;
	int err;

	if (!v->inode.xattrs)
		return 0;
	for (err = cursor_seek(&cursor, v->tree, &key, &item); !err;
	     err = cursor_next(&cursor, &item)) {
		if (item.key.ino != v->ino || item.key.kind != ITEM_XATTR)
			break;
		err = xattr_decode(item.value, item.len, &x);
		if (err)
			return err;
		/*
		 * The limit of the system call includes names that are hidden
		 * from the caller.
		 */
		all += x.name_len + 1u;
		if (all > XATTR_VALUE_MAX)
			return -E2BIG;
		if (!trusted && is_trusted(&x))
			continue;
		if (size && len + x.name_len + 1u > size)
			return -ERANGE;
		if (size) {
			memcpy(list + len, x.name, x.name_len);
			list[len + x.name_len] = '\0';
		}
		len += x.name_len + 1u;
	}
	return err && err != -ENOENT ? err : (ssize_t)len;
}

/*
 * List the xattrs of a fork's .snap: the ACL of the fork's root, if there is
 * one.
 */
static ssize_t list_snapdir(struct fs *fs, node_t node, char *list, size_t size)
{
	static const char name[] = XATTR_ACL_ACCESS;
	struct xattr_item x;
	struct vnode v;
	int err = vnode_load(fs, holder(node, name), &v);

	if (!err)
		err = xattr_find(&v, name, &x);
	if (err)
		return err == -ENODATA ? 0 : err;
	if (size && size < sizeof(name))
		return -ERANGE;
	if (size)
		memcpy(list, name, sizeof(name));
	return sizeof(name);
}

ssize_t fs_listxattr(struct fs *fs, node_t node, bool trusted, char *list,
                     size_t size)
{
	ssize_t result = 0;
	struct vnode v;

	store_lock(fs->store);
	if (node_kind(node) == NODE_KIND_SNAPDIR) {
		result = list_snapdir(fs, node, list, size);
	} else if (node_kind(node) == NODE_KIND_INODE) {
		result = vnode_load(fs, node, &v);
		if (!result)
			result = list_locked(&v, trusted, list, size);
	}
	store_unlock(fs->store);
	return result;
}

/* ---- Set and remove ----------------------------------------------------- */

/*
 * Check an ACL that will be set, and change the mode to match.  *ret_none is
 * set to true if the ACL is empty, or equivalent to the mode: store none.
 */
static int set_acl(struct vnode *v, const char *name, const void *value,
                   size_t size, int flags, bool *ret_none)
{
	bool plain, access = !strcmp(name, XATTR_ACL_ACCESS);
	uint32_t mode;
	int err;

	if (S_ISLNK(v->inode.mode))
		return -EOPNOTSUPP;
	if (!access && !S_ISDIR(v->inode.mode))
		return size ? -EACCES : 0;
	if (size <= 4) {
		*ret_none = true;
		return 0;
	}
	err = acl_check(value, size, &mode, &plain);
	if (err || !access)
		return err;
	*ret_none = plain;
	v->inode.mode = (v->inode.mode & ~0777u) | mode;
	if (flags & FS_XATTR_KILL_SGID)
		v->inode.mode &= ~(uint32_t)S_ISGID;
	return 0;
}

static int set_locked(struct fs *fs, node_t node, const char *name,
                      const void *value, size_t size, int flags,
                      struct chunk *chunk)
{
	struct xattr_item old;
	struct vnode v;
	bool none = false;
	int err = vnode_load_rw(fs, node, &v), found;

	if (err)
		return err;
	found = xattr_find(&v, name, &old);
	if (found && found != -ENODATA)
		return found;
	if (!found && (flags & XATTR_CREATE))
		return -EEXIST;
	if (found && (flags & XATTR_REPLACE))
		return -ENODATA;
	if (is_acl(name))
		err = set_acl(&v, name, value, size, flags, &none);
	/* Xattrs do not count, but a fork at its quota gets no new ones. */
	if (!err && found)
		err = quota_check(v.state, 1, 0);
	if (!err)
		err = vnode_begin(&v);
	if (!err && none)
		err = found ? 0 : xattr_del(&v, name);
	else if (!err)
		err = xattr_put(&v, name, value, size, chunk);
	if (err)
		return err;
	v.inode.ctime = time_now();
	return vnode_store(&v);
}

static int change_check(node_t node, const char *name)
{
	int err = name_check(name);

	if (err)
		return err;
	if (starts_with(name, VIRTUAL_PREFIX))
		return -EPERM;
	return node_kind(node) == NODE_KIND_INODE ? 0 : -EOPNOTSUPP;
}

int fs_setxattr(struct fs *fs, node_t node, const char *name, const void *value,
                size_t size, int flags)
{
	_cleanup_chunk_ struct chunk *chunk = NULL;
	int err = change_check(node, name);

	if (err)
		return err;
	if (size > XATTR_VALUE_MAX)
		return -E2BIG;
	if (flags & ~(XATTR_CREATE | XATTR_REPLACE | FS_XATTR_KILL_SGID))
		return -EINVAL;
	if (size > XATTR_INLINE_MAX)
		err = value_chunk(fs, value, size, &chunk);
	if (!err)
		err = store_throttle(fs->store, true);
	if (err)
		return err;
	store_lock(fs->store);
	err = set_locked(fs, node, name, value, size, flags, chunk);
	store_unlock(fs->store);
	return err;
}

static int remove_locked(struct fs *fs, node_t node, const char *name)
{
	struct xattr_item old;
	struct vnode v;
	int err = vnode_load_rw(fs, node, &v);

	if (!err)
		err = xattr_find(&v, name, &old);
	/*
	 * Every inode has an ACL: without the xattr it is equivalent to the
	 * mode.
	 */
	if (err)
		return err == -ENODATA && is_acl(name) ? 0 : err;
	err = vnode_begin(&v);
	if (!err)
		err = xattr_del(&v, name);
	if (err)
		return err;
	v.inode.ctime = time_now();
	return vnode_store(&v);
}

int fs_removexattr(struct fs *fs, node_t node, const char *name)
{
	int err = change_check(node, name);

	if (!err)
		err = store_throttle(fs->store, false);
	if (err)
		return err;
	store_lock(fs->store);
	err = remove_locked(fs, node, name);
	store_unlock(fs->store);
	return err;
}

int vnode_kill_priv(struct vnode *v, bool ids)
{
	int err;

	if (ids) {
		v->inode.mode &= ~(uint32_t)S_ISUID;
		/*
		 * Keep sgid if the group may not execute: it means mandatory
		 * locking then.
		 */
		if (v->inode.mode & S_IXGRP)
			v->inode.mode &= ~(uint32_t)S_ISGID;
	}
	err = xattr_del(v, XATTR_CAPABILITY);
	return err == -ENODATA ? 0 : err;
}
