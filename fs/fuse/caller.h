/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The process that makes a request.  If mounts can be idmapped, only requests
 * that make an inode contain the user and group, mapped for the new inode; for
 * other requests they are read from /proc.
 */
#ifndef COPPICE_CALLER_H
#define COPPICE_CALLER_H

#include "handlers.h"

/*
 * Return true if the request contains the user and group.  If not,
 * caller_is_root() and caller_is_member() are slow.
 */
bool caller_is_given(fuse_req_t req);

/* Return true if the caller is root; false if not or unknown. */
bool caller_is_root(fuse_req_t req);

/* Return true if the caller is in the group; false if not or unknown. */
bool caller_is_member(fuse_req_t req, gid_t gid);

#endif
