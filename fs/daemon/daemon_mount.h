/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mounts that the command has made and the daemon is to serve. */
#ifndef COPPICE_DAEMON_MOUNT_H
#define COPPICE_DAEMON_MOUNT_H

#include <jansson.h>

struct daemon;

/*
 * Serve the mount whose /dev/fuse is *fd, which is -1 afterwards if it was
 * taken.  The request has its options.  Return the answer, with the "id" of the
 * session, or an error; NULL: no memory.
 */
json_t *daemon_mount(struct daemon *daemon, json_t *request, int *fd);
/*
 * Set the flags that the daemon applies for the mount "device": the kernel does
 * not report them to it.  Return the answer.
 */
json_t *daemon_remount(struct daemon *daemon, json_t *request);

#endif
