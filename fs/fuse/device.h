/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors of /dev/fuse, outside a session's loop. */
#ifndef COPPICE_DEVICE_H
#define COPPICE_DEVICE_H

#include <stddef.h>

/*
 * Open the device of this mount again, with a separate queue for the requests
 * that are read and not answered.  Return the descriptor, or a negative errno.
 */
int device_clone(int fd);
/*
 * Read the next request and answer it with the error `err`.  buf has room for
 * LOOP_REQUEST_MAX bytes.  Return 0, or the negative errno of the read.
 */
int device_refuse(int fd, int err, void *buf, size_t size);

#endif
