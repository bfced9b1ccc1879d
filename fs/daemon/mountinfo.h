/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The mounts of this process's mount namespace, and unmounting. */
#ifndef COPPICE_MOUNTINFO_H
#define COPPICE_MOUNTINFO_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct mount_entry {
	char device[32];           /* MAJOR:MINOR */
	char mountpoint[PATH_MAX]; /* as in mountinfo, decoded */
	char source[PATH_MAX];
	uint64_t id, parent; /* mount IDs of this mount and its parent */
	bool coppice;        /* the type is fuse.coppice */
	uid_t user; /* the user who mounted it; may unmount it, as root may */
};

/* Find the topmost mount at this path.  -ENOENT: there is none. */
int mount_entry_find(const char *mountpoint, struct mount_entry *ret_entry);

/* Find the topmost mount of this device.  -ENOENT: there is none. */
int mount_entry_find_device(const char *device, struct mount_entry *ret_entry);

/* Return the number of mounts of the store `source`, and find the last. */
int mount_entry_find_source(const char *source, struct mount_entry *ret_entry);

/*
 * Call fn for each mount of any type until it returns nonzero.  Return the last
 * result, or a negative errno.
 */
int mount_entry_each(int (*fn)(void *arg, const struct mount_entry *entry),
                     void *arg);
/* The same for the mounts that a file like /proc/self/mountinfo lists. */
int mount_entry_each_in(const char *path,
                        int (*fn)(void *arg, const struct mount_entry *entry),
                        void *arg);

/*
 * Return the absolute path of a mount point, without calls into the mounted
 * file system, whose daemon may be dead.
 */
int mountpoint_resolve(const char *path, char ret_path[PATH_MAX]);

/* Make everything durable that was written so far to any mount of the store. */
int mountpoint_sync(const char *mountpoint);

/*
 * Unmount, by umount2(2) with these flags or, for an ordinary user, by
 * fusermount3.  -EBUSY: the mount is in use.  On failure ret_reason is the
 * reason for the error message.
 */
int mountpoint_unmount(const char *mountpoint, int flags, char *ret_reason,
                       size_t size);

#endif
