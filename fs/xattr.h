/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Extended attributes of inodes.
 */
#ifndef COPPICE_XATTR_H
#define COPPICE_XATTR_H

#include "inode.h"
#include "want.h"

#define XATTR_CAPABILITY "security.capability"
#define XATTR_ACL_ACCESS "system.posix_acl_access"
#define XATTR_ACL_DEFAULT "system.posix_acl_default"

/* Find an xattr by its name.  -ENODATA */
int xattr_find(struct vnode *v, const char *name, struct xattr_item *ret);
/* Return the value in a new buffer.  -ENODATA; -EAGAIN: see want.h. */
int xattr_value(struct vnode *v, const char *name, struct want *want,
                uint8_t **ret_value, size_t *ret_len);
/*
 * Set an xattr.  `chunk` has the value if that is longer than XATTR_INLINE_MAX;
 * with NULL the chunk is made here.  The caller stores the inode.
 */
int xattr_put(struct vnode *v, const char *name, const void *value, size_t len,
              struct chunk *chunk);
/* Remove an xattr.  The caller stores the inode.  -ENODATA */
int xattr_del(struct vnode *v, const char *name);

/*
 * Remove the privileges of a file that is changed: the capability, and with
 * `ids` also suid, and sgid if the group may execute.  The caller stores the
 * inode.
 */
int vnode_kill_priv(struct vnode *v, bool ids);

#endif
