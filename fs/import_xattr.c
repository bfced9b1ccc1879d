/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The extended attributes of imported files. */
#include <errno.h>

#include "acl.h"
#include "import_tree.h"
#include "xattr.h"

static bool xattr_is_allowed(const struct importing *im, const char *name)
{
	return !im->what->cred->uid || !strncmp(name, "user.", 5) ||
	       !strncmp(name, "system.", 7);
}

static bool xattr_is_known(const char *name)
{
	static const char *const spaces[] = {"user.", "trusted.", "security."};

	for (size_t i = 0; i < ARRAY_SIZE(spaces); i++)
		if (!strncmp(name, spaces[i], strlen(spaces[i])))
			return name[strlen(spaces[i])];
	return !strcmp(name, XATTR_ACL_ACCESS) ||
	       !strcmp(name, XATTR_ACL_DEFAULT);
}

/*
 * Decode the next xattr that the caller of the import may set.  Return false at
 * the end, or with r->bad after an error.
 */
static bool xattr_next(const struct importing *im, struct reader *r,
                       char name[NAME_LEN_MAX + 1], struct import_bytes *value)
{
	while (!r->bad && reader_left(r)) {
		struct import_bytes n = import_bytes_get(r);

		*value = import_bytes_get(r);
		if (r->bad || !n.len || n.len > NAME_LEN_MAX ||
		    memchr(n.data, 0, n.len) || value->len > XATTR_VALUE_MAX)
			break;
		memcpy(name, n.data, n.len);
		name[n.len] = 0;
		if (!xattr_is_known(name))
			break;
		if (xattr_is_allowed(im, name))
			return true;
	}
	if (reader_left(r))
		r->bad = true;
	return false;
}

/* Return true if the inode has the value; false if its chunk is not loaded. */
static bool xattr_same(struct vnode *v, const char *name,
                       const struct import_bytes *value)
{
	struct chunk *chunk;
	struct xattr_item x;
	bool same;

	if (xattr_find(v, name, &x) || x.len != value->len)
		return false;
	if (!x.chunk)
		return !memcmp(x.value, value->data, x.len);
	chunk = chunk_find(v->fs->store, x.chunk, NULL);
	same = chunk && chunk_len(chunk) == x.len &&
	       !memcmp(chunk_data(chunk), value->data, x.len);
	chunk_unref(chunk);
	return same;
}

static bool xattr_wanted(const struct importing *im, struct import_bytes xattrs,
                         const char *name)
{
	struct reader r = reader_init(xattrs.data, xattrs.len);
	char other[NAME_LEN_MAX + 1];
	struct import_bytes value;

	while (xattr_next(im, &r, other, &value))
		if (!strcmp(other, name))
			return true;
	return false;
}

/* Remove the xattrs that the source does not have. */
static int xattrs_cut(struct importing *im, struct vnode *v,
                      struct import_bytes xattrs, bool *ret_changed)
{
	struct key key = {.ino = v->ino, .kind = ITEM_XATTR};
	char name[NAME_LEN_MAX + 1];
	struct xattr_item x;
	struct item item;
	int err;

	while (!(err = tree_seek(v->tree, &key, &item))) {
		if (item.key.ino != v->ino || item.key.kind != ITEM_XATTR)
			return 0;
		err = xattr_decode(item.value, item.len, &x);
		if (err)
			return err;
		key.off = item.key.off + 1;
		memcpy(name, x.name, x.name_len);
		name[x.name_len] = 0;
		if (xattr_wanted(im, xattrs, name))
			continue;
		err = xattr_del(v, name);
		if (err)
			return err;
		*ret_changed = true;
	}
	return err == -ENOENT ? 0 : err;
}

int import_xattrs(struct importing *im, struct vnode *v,
                  struct import_bytes xattrs, bool *ret_changed)
{
	struct reader r = reader_init(xattrs.data, xattrs.len);
	char name[NAME_LEN_MAX + 1];
	struct import_bytes value;
	uint32_t count = 0, mode;
	bool plain;
	int err = 0;

	while (!err && xattr_next(im, &r, name, &value)) {
		count++;
		if (xattr_same(v, name, &value))
			continue;
		if (!strncmp(name, "system.", 7))
			err = acl_check(value.data, value.len, &mode, &plain);
		if (!err)
			err = xattr_put(v, name, value.data, value.len, NULL);
		*ret_changed = true;
	}
	if (!err && r.bad)
		err = -EPROTO;
	if (!err && v->inode.xattrs > count)
		err = xattrs_cut(im, v, xattrs, ret_changed);
	return err;
}
