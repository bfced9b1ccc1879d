/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The requests that hand a mount, made by the command, to the daemon. */
#ifndef COPPICE_DAEMON_MOUNT_H
#define COPPICE_DAEMON_MOUNT_H

#include <jansson.h>

struct daemon;

/*
 * Serve the mount whose descriptor of /dev/fuse is *fd; on success the session
 * owns the descriptor, and *fd is -1.  The request has the mount's options.
 * Return the answer, with the "id" of the session, or an error; NULL: no
 * memory.
 */
json_t *daemon_mount(struct daemon *daemon, json_t *request, int *fd);
/*
 * Set the flags that the daemon applies for the mount "device": the kernel does
 * not report them to it.  Return the answer.
 */
json_t *daemon_remount(struct daemon *daemon, json_t *request);

#endif
