/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mounting, in the command's process. */
#ifndef COPPICE_CLIENT_MOUNT_H
#define COPPICE_CLIENT_MOUNT_H

#include "fs.h"

/* The options of a mount.  Strings are the caller's. */
struct mount_options {
	const char *store;
	const char *mountpoint;
	const char *state; /* -o state=; NULL: the whole store */
	enum fs_snapdir snapdir;
	bool snapdir_set;
	bool rmdir_always;
	bool sync;      /* in `extra`, too: both kernel and daemon apply it */
	bool no_export; /* refuse file handles */
	bool readonly;
	bool nonempty; /* allow a mount point that is not empty */
	bool foreground;
	bool allow_other;
	bool nosymfollow;
	uint64_t memory;   /* bytes; 0: default */
	const char *extra; /* options for the kernel's mount: dev, suid, ... */
};

/*
 * Mount the store through the daemon that serves it, or through a new one.
 * Return when the mount can be used; with `foreground`, when it has ended.
 * On failure *ret_error is the error message, to be freed.
 */
int client_mount(const struct mount_options *options, char **ret_error);

#endif
