/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Handlers of requests about directories and the names in them. */
#ifndef COPPICE_HANDLERS_DIR_H
#define COPPICE_HANDLERS_DIR_H

#include "handlers.h"

void handle_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void handle_releasedir(fuse_req_t req, fuse_ino_t ino,
                       struct fuse_file_info *fi);
void handle_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi);
void handle_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                        struct fuse_file_info *fi);
void handle_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
                  mode_t mode, dev_t rdev);
void handle_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
                  mode_t mode);
void handle_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
                    const char *name);
void handle_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent,
                 const char *name);
void handle_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void handle_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void handle_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
                   fuse_ino_t new_parent, const char *new_name, unsigned flags);

#endif
