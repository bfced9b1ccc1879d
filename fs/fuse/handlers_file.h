/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Handlers of requests about open files. */
#ifndef COPPICE_HANDLERS_FILE_H
#define COPPICE_HANDLERS_FILE_H

#include "handlers.h"

void handle_create(fuse_req_t req, fuse_ino_t parent, const char *name,
                   mode_t mode, struct fuse_file_info *fi);
void handle_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void handle_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void handle_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                 struct fuse_file_info *fi);
void handle_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size,
                  off_t off, struct fuse_file_info *fi);
void handle_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
                  struct fuse_file_info *fi);
void handle_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
                      off_t len, struct fuse_file_info *fi);
void handle_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
                  struct fuse_file_info *fi);
void handle_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
                            struct fuse_file_info *fi_in, fuse_ino_t ino_out,
                            off_t off_out, struct fuse_file_info *fi_out,
                            size_t len, int flags);

#endif
