/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A digest of the changes of one side of a join.  A part of fs.h: include that.
 */
#ifndef COPPICE_JOIN_DIGEST_H
#define COPPICE_JOIN_DIGEST_H

#include "join.h"

enum { JOIN_DIGEST_SIZE = 33 }; /* 32 hexadecimal digits and a NUL */

/*
 * Write the digest of all inodes, as the side has them, that differ between the
 * side and a base.  joined->plan has been made.  Any change of the side changes
 * the digest, because it sets a ctime; atimes are left out.  -ENOMEM.
 */
int fs_joined_digest(const struct fs_joined *joined, enum join_side side,
                     char ret_digest[JOIN_DIGEST_SIZE]);

#endif
