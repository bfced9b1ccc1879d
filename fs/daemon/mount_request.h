/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The options of a mount, from the command line to client_mount(). */
#ifndef COPPICE_MOUNT_REQUEST_H
#define COPPICE_MOUNT_REQUEST_H

#include "fs.h"

/* The options of a mount.  Strings are the caller's. */
struct mount_options {
	const char *store;
	const char *mountpoint;
	const char *state; /* -o state=; NULL: the whole store */
	enum fs_snapdir snapdir;
	bool snapopen_late; /* open(2) for writing in a snapshot is not refused
	                     */
	bool rmdir_always;
	bool sync;        /* in `extra`, too: both kernel and daemon apply it */
	bool no_export;   /* refuse file handles */
	bool store_locks; /* locks of files hold in all mounts */
	bool readonly;
	bool nonempty; /* allow a mount point that is not empty */
	bool foreground;
	bool is_private; /* in a namespace that ends with the command: mount
	                    over anything, and start no daemon */
	bool allow_other;
	bool no_xattr;       /* no xattrs and ACLs in this mount */
	bool no_cpu_latency; /* let idle processors sleep at any time */
	bool root_only;      /* no checks of permissions: see session.h */
	bool nosymfollow;
	uint64_t memory;  /* bytes; 0: default */
	bool no_log;      /* each fsync is a commit */
	int64_t autosnap; /* seconds; 0: no snapshots by time */
	const char *keep; /* a policy as of retention_parse(); NULL: none */
	int64_t trash;    /* seconds that deleted states stay; if trash_set */
	bool trash_set;
	const char *extra; /* options for the kernel's mount: dev, suid, ... */
};

#endif
