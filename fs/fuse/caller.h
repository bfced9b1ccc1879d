/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process that makes a request.  Where mounts can be idmapped, only
 * requests that make an inode have its user and group, mapped as the inode is
 * to have them; for the others /proc is read.
 */
#ifndef COPPICE_CALLER_H
#define COPPICE_CALLER_H

#include "handlers.h"

/* Return true if the request says whose it is: the others cost more to ask. */
bool caller_is_given(fuse_req_t req);

/* Return true if the caller is root, false if not or if that is unknown. */
bool caller_is_root(fuse_req_t req);

/* The same for a member of the group. */
bool caller_is_member(fuse_req_t req, gid_t gid);

#endif
