/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing the flags of a mount. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include "mountinfo.h"
#include "sentence.h"
#include "server.h"
#include "util.h"

int server_remount(const char *mountpoint, unsigned long flags,
                   char **ret_error)
{
	_cleanup_free_ struct mount_entry *entry = malloc(sizeof(*entry));
	char path[PATH_MAX];
	int err = mountpoint_resolve(mountpoint, path);

	if (!entry)
		return fail(ret_error, -ENOMEM, "out of memory");
	if (err < 0)
		return fail(ret_error, err, "cannot find '%s': %s", mountpoint,
		            strerror(-err));
	if (mount_entry_find(path, entry) < 0 || !entry->coppice)
		return fail(ret_error, -EINVAL, "no store is mounted at '%s'",
		            mountpoint);
	if (mount(NULL, path, NULL, MS_REMOUNT | flags, NULL) < 0)
		return fail(ret_error, -errno, "cannot remount '%s': %s",
		            mountpoint,
		            errno == EBUSY ? "a file is open for writing"
		                           : strerror(errno));
	/* The kernel tells the daemon nothing of it. */
	err = mountpoint_sync(path);
	if (err < 0)
		return fail(ret_error, err,
		            "'%s' is remounted, but the last changes could not "
		            "be saved: %s",
		            mountpoint, strerror(-err));
	return 0;
}

int server_remount_readonly(const char *mountpoint, char **ret_error)
{
	/* Not in all C libraries. */
	enum { NOSYMFOLLOW = 0x2000 };
	static const struct {
		unsigned long vfs, mount;
	} flags[] = {
	        {ST_NODEV, MS_NODEV},          {ST_NOSUID, MS_NOSUID},
	        {ST_NOEXEC, MS_NOEXEC},        {ST_SYNCHRONOUS, MS_SYNCHRONOUS},
	        {NOSYMFOLLOW, MS_NOSYMFOLLOW},
	};
	unsigned long mount_flags = MS_RDONLY;
	struct statvfs vfs;

	if (statvfs(mountpoint, &vfs) < 0)
		return fail(ret_error, -errno, "cannot remount '%s': %s",
		            mountpoint, strerror(errno));
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (vfs.f_flag & flags[i].vfs)
			mount_flags |= flags[i].mount;
	}
	return server_remount(mountpoint, mount_flags, ret_error);
}
