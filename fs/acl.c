/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * POSIX ACLs, in the form in which they are kept and passed as xattrs: a
 * little-endian version (2) of 4 bytes, then entries of 8 bytes: tag and
 * permissions of 2 bytes each, user or group id of 4.
 */
#include "acl.h"

#include <errno.h>

#include "inode.h"
#include "want.h"
#include "xattr.h"

enum {
	ACL_VERSION = 2,
	ACL_HEADER_LEN = 4,
	ACL_ENTRY_LEN = 8,
	ACL_USER_OBJ = 1,
	ACL_USER = 2,
	ACL_GROUP_OBJ = 4,
	ACL_GROUP = 8,
	ACL_MASK = 16,
	ACL_OTHER = 32,
};

static unsigned le16(const uint8_t *p)
{
	return p[0] | (unsigned)p[1] << 8;
}

static size_t acl_count(size_t len)
{
	return (len - ACL_HEADER_LEN) / ACL_ENTRY_LEN;
}

static unsigned entry_tag(const uint8_t *acl, size_t i)
{
	return le16(acl + ACL_HEADER_LEN + i * ACL_ENTRY_LEN);
}

static uint8_t *entry_perm(const uint8_t *acl, size_t i)
{
	return (uint8_t *)(uintptr_t)acl + ACL_HEADER_LEN + i * ACL_ENTRY_LEN +
	       2;
}

/*
 * Return the permissions of the entry with this tag, of which there is at most
 * one; NULL: none.
 */
static uint8_t *acl_find(const uint8_t *acl, size_t len, unsigned tag)
{
	for (size_t i = 0; i < acl_count(len); i++)
		if (entry_tag(acl, i) == tag)
			return entry_perm(acl, i);
	return NULL;
}

/* Return true if all entries are valid and in the order of their tags. */
static bool acl_ordered(const uint8_t *acl, size_t len)
{
	unsigned seen = 0;

	for (size_t i = 0; i < acl_count(len); i++) {
		unsigned tag = entry_tag(acl, i);
		bool many = tag == ACL_USER || tag == ACL_GROUP;

		if (!tag || tag > ACL_OTHER || (tag & (tag - 1)) ||
		    le16(entry_perm(acl, i)) > 7)
			return false;
		if (tag < seen || (tag == seen && !many))
			return false;
		seen = tag;
	}
	return true;
}

int acl_check(const uint8_t *acl, size_t len, uint32_t *ret_mode,
              bool *ret_plain)
{
	const uint8_t *user, *group, *mask, *other;
	bool named;

	if (len < ACL_HEADER_LEN || (len - ACL_HEADER_LEN) % ACL_ENTRY_LEN ||
	    acl[0] != ACL_VERSION || acl[1] || acl[2] || acl[3] ||
	    !acl_ordered(acl, len))
		return -EINVAL;
	user = acl_find(acl, len, ACL_USER_OBJ);
	group = acl_find(acl, len, ACL_GROUP_OBJ);
	mask = acl_find(acl, len, ACL_MASK);
	other = acl_find(acl, len, ACL_OTHER);
	named = acl_find(acl, len, ACL_USER) || acl_find(acl, len, ACL_GROUP);
	if (!user || !group || !other || (named && !mask))
		return -EINVAL;
	*ret_mode = (uint32_t)user[0] << 6 |
	            (uint32_t)(mask ? mask[0] : group[0]) << 3 | other[0];
	*ret_plain = !named && !mask;
	return 0;
}

void acl_chmod(uint8_t *acl, size_t len, uint32_t mode)
{
	uint8_t *user = acl_find(acl, len, ACL_USER_OBJ);
	uint8_t *mask = acl_find(acl, len, ACL_MASK);
	uint8_t *group = acl_find(acl, len, ACL_GROUP_OBJ);
	uint8_t *other = acl_find(acl, len, ACL_OTHER);

	if (user)
		user[0] = mode >> 6 & 7;
	if (mask)
		mask[0] = mode >> 3 & 7;
	else if (group)
		group[0] = mode >> 3 & 7;
	if (other)
		other[0] = mode & 7;
}

/* ---- Inherited ACLs ----------------------------------------------------- */

void inherited_acl_release(struct inherited_acl *h)
{
	free(h->access);
	free(h->dflt);
	*h = (struct inherited_acl){0};
}

int inherited_acl_take(struct vnode *dir, struct inode *inode, mode_t umask,
                       struct want *want, struct inherited_acl *ret)
{
	struct inherited_acl h = {0};
	uint32_t granted;
	bool plain;
	int err;

	if (S_ISLNK(inode->mode))
		return 0;
	err = xattr_value(dir, XATTR_ACL_DEFAULT, want, &h.dflt, &h.dflt_len);
	if (err == -ENODATA) {
		inode->mode &= ~(uint32_t)(umask & 0777);
		return 0;
	}
	if (err)
		return err;
	if (acl_check(h.dflt, h.dflt_len, &granted, &plain)) {
		inherited_acl_release(&h);
		return -EUCLEAN;
	}
	/*
	 * The umask does not count: the requested mode limits the default ACL,
	 * and the default ACL limits the mode.
	 */
	inode->mode &= ~0777u | granted;
	if (!plain) {
		h.access_len = h.dflt_len;
		h.access = malloc(h.access_len);
		if (!h.access) {
			inherited_acl_release(&h);
			return -ENOMEM;
		}
		memcpy(h.access, h.dflt, h.dflt_len);
		acl_chmod(h.access, h.access_len, inode->mode);
	}
	if (!S_ISDIR(inode->mode)) {
		free(h.dflt);
		h.dflt = NULL;
	}
	*ret = h;
	return 0;
}

int inherited_acl_give(struct vnode *v, const struct inherited_acl *h)
{
	int err = 0;

	if (h->access)
		err = xattr_put(v, XATTR_ACL_ACCESS, h->access, h->access_len,
		                NULL);
	if (!err && h->dflt)
		err = xattr_put(v, XATTR_ACL_DEFAULT, h->dflt, h->dflt_len,
		                NULL);
	return err;
}
