/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The virtual xattrs of a node that name and describe its state.
 */
#ifndef COPPICE_STATE_XATTR_H
#define COPPICE_STATE_XATTR_H

#include "inode.h"

/*
 * Write the value of xattr `name` (without the prefix user.coppice.) to `out`,
 * NUL-terminated and cut off at `size` bytes.  -ENODATA; -ESTALE.
 */
int state_xattr_get(struct fs *fs, node_t node, const char *name, char *out,
                    size_t size);

#endif
