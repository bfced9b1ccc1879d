/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The process that makes a request.  If mounts can be idmapped, only requests
 * that make an inode contain its user and group, mapped as the inode is to have
 * them; for other requests they are read from /proc.
 */
#ifndef COPPICE_CALLER_H
#define COPPICE_CALLER_H

#include "handlers.h"

/*
 * Return true if the request contains the user and group.  If not,
 * caller_is_root() and caller_is_member() are slow.
 */
bool caller_is_given(fuse_req_t req);

/* Return true if the caller is root; false if it is not or this is unknown. */
bool caller_is_root(fuse_req_t req);

/* Return true if the caller is a member of the group; else as above. */
bool caller_is_member(fuse_req_t req, gid_t gid);

#endif
