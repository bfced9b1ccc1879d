/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * POSIX ACLs, in the format of the xattrs that hold them.
 */
#ifndef COPPICE_ACL_H
#define COPPICE_ACL_H

#include "inode.h"
#include "want.h"

/*
 * Return -EINVAL unless `acl` is an ACL.  *ret_mode: its permission bits, with
 * those of the mask, if there is one, for the group; *ret_plain: the ACL grants
 * nothing beyond these bits.
 */
int acl_check(const uint8_t *acl, size_t len, uint32_t *ret_mode,
              bool *ret_plain);
/* Change the ACL as chmod(2) does. */
void acl_chmod(uint8_t *acl, size_t len, uint32_t mode);

/* The ACLs that a new inode inherits from its directory. */
struct inherited_acl {
	uint8_t *access, *dflt; /* NULL: none */
	size_t access_len, dflt_len;
};
/*
 * Compute the ACLs for a new inode in `dir`, and set the permission bits of
 * inode->mode.  -EAGAIN: see want.h.
 */
int inherited_acl_take(struct vnode *dir, struct inode *inode, mode_t umask,
                       struct want *want, struct inherited_acl *ret);
/* Set the ACLs as xattrs of the new inode.  The caller stores the inode. */
int inherited_acl_give(struct vnode *v, const struct inherited_acl *h);
void inherited_acl_release(struct inherited_acl *h);

#endif
