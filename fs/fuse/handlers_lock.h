/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Handlers of requests about locks of files, in sessions with store_locks.  A
 * request that waits for a lock is answered by the thread that removes the
 * blocking lock or interrupts the request; no worker waits.
 */
#ifndef COPPICE_HANDLERS_LOCK_H
#define COPPICE_HANDLERS_LOCK_H

#include "handlers.h"

void handle_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                  struct flock *range);
void handle_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                  struct flock *range, int wait);
void handle_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                  int op);
/*
 * A descriptor was closed: remove the locks that its process has set by
 * fcntl(2).  Without store_locks, reply ENOSYS, so that the kernel does not
 * send the request again.
 */
void handle_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

#endif
