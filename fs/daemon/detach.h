/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starting a daemon in the background. */
#ifndef COPPICE_DETACH_H
#define COPPICE_DETACH_H

#include <sys/types.h>

struct mount_options;

/*
 * Start a daemon for the store, and return when the daemon listens.  On failure
 * *ret_error is the error message, to be freed; -EBUSY: another process has the
 * store open.
 */
int daemon_spawn(const struct mount_options *options, pid_t *ret_pid,
                 char **ret_error);

/* Wait, for `ms` at most, until a daemon started by this process has ended. */
void daemon_wait(pid_t pid, int ms);

#endif
