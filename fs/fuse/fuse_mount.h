/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mounting by libfuse, and the messages that libfuse logs. */
#ifndef COPPICE_FUSE_MOUNT_H
#define COPPICE_FUSE_MOUNT_H

#include <stddef.h>

/*
 * Mount a FUSE file system and return the descriptor from which its requests
 * are read; the caller closes it.  The mount ends when all copies of the
 * descriptor are closed.  options: as of mount(8)'s -o.  -EIO: libfuse failed;
 * its message, possibly empty, is written to ret_reason.
 */
int fuse_mount_open(const char *mountpoint, const char *options, int *ret_fd,
                    char *ret_reason, size_t size);

/* Send libfuse's messages to the log. */
void fuse_mount_log(void);

#endif
