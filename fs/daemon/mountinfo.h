/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The mounts of this process's mount namespace, and how to undo one. */
#ifndef COPPICE_MOUNTINFO_H
#define COPPICE_MOUNTINFO_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct mount_entry {
	char device[32];           /* MAJOR:MINOR */
	char mountpoint[PATH_MAX]; /* as the kernel tells it, decoded */
	char source[PATH_MAX];
	uint64_t id, parent; /* mount IDs: its own, that it lies in */
	bool coppice;        /* of our type */
	uid_t user; /* who mounted it: he may unmount it, as root may */
};

/* The topmost mount at exactly this path. -ENOENT: nothing is mounted there. */
int mount_entry_find(const char *mountpoint, struct mount_entry *ret_entry);

/* The same by device. */
int mount_entry_find_device(const char *device, struct mount_entry *ret_entry);

/* Find the last mount of the store at this path; returns how many there are. */
int mount_entry_find_source(const char *source, struct mount_entry *ret_entry);

/*
 * Call fn for each mount, of whatever type, until it returns nonzero, and
 * return that.
 */
int mount_entry_each(int (*fn)(void *arg, const struct mount_entry *entry),
                     void *arg);
/* The same for the mounts that a file like /proc/self/mountinfo lists. */
int mount_entry_each_in(const char *path,
                        int (*fn)(void *arg, const struct mount_entry *entry),
                        void *arg);

/*
 * The absolute path of a mount point, without asking what is mounted there,
 * which may have no one left to answer.
 */
int mountpoint_resolve(const char *path, char ret_path[PATH_MAX]);

/* Make everything durable that was written so far to any mount of the store. */
int mountpoint_sync(const char *mountpoint);

/*
 * Unmount, by umount2(2) with these flags or, for an ordinary user, by
 * fusermount3.  -EBUSY: it is in use.  Every failure leaves its reason in
 * words.
 */
int mountpoint_unmount(const char *mountpoint, int flags, char *ret_reason,
                       size_t size);

#endif
