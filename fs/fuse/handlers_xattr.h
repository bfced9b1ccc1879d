/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Handlers of requests about extended attributes. */
#ifndef COPPICE_HANDLERS_XATTR_H
#define COPPICE_HANDLERS_XATTR_H

#include "handlers.h"

void handle_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
                     const char *value, size_t size, int flags);
void handle_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
                     size_t size);
void handle_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void handle_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

#endif
