/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A digest of what a side of a join has changed.  A part of fs.h: include that.
 */
#ifndef COPPICE_JOIN_DIGEST_H
#define COPPICE_JOIN_DIGEST_H

#include "join.h"

enum { JOIN_DIGEST_SIZE = 33 }; /* 32 hexadecimal digits and a NUL */

/*
 * Write the digest of all inodes of a plan that has been made, as the side has
 * them, in which it differs from a base.  It is another one after any change of
 * that side, because each sets a time of change; reading sets none that counts.
 * -ENOMEM.
 */
int fs_joined_digest(const struct fs_joined *joined, enum join_side side,
                     char ret_digest[JOIN_DIGEST_SIZE]);

#endif
