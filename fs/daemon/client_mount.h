/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mounting, in the command's process. */
#ifndef COPPICE_CLIENT_MOUNT_H
#define COPPICE_CLIENT_MOUNT_H

#include "mount_request.h"

/*
 * Mount the store through the daemon that serves it, or through a new one.
 * Return when the mount can be used; with `foreground`, when it has ended.
 * On failure *ret_error is the error message, to be freed.
 */
int client_mount(const struct mount_options *options, char **ret_error);

/*
 * Connect to the daemon that serves the store, or to a new one.  The daemon
 * does not end with its last mount until *ret_socket is closed or half a minute
 * has passed.  On failure *ret_error is the error message, to be freed.
 */
int client_daemon_open(const char *store, int *ret_socket, char **ret_error);

#endif
