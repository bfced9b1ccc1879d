/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing the flags of a mount. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include "mount_store.h"
#include "mountinfo.h"
#include "error_message.h"
#include "daemon_client.h"
#include "util.h"

/* Tell the daemon of the flags that it has a part in. */
static int tell_daemon(const char *path, const struct mount_entry *entry,
                       bool sync)
{
	json_auto_t *request = NULL, *answer = NULL;
	_cleanup_close_ int socket = -1;
	char store[PATH_MAX];
	int err = mount_store_find(path, entry, store);

	if (err == 0)
		err = control_connect(store, &socket);
	if (err < 0)
		return err;
	request = json_pack("{s:s, s:s, s:b}", "verb", "remount", "device",
	                    entry->device, "sync", sync);
	if (!request)
		return -ENOMEM;
	err = control_call(socket, request, -1, NULL, NULL, &answer);
	return err == 0 && json_object_get(answer, "error") ? -ENOENT : err;
}

int client_remount(const char *mountpoint, unsigned long flags,
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
	err = tell_daemon(path, entry, flags & MS_SYNCHRONOUS);
	/* What is lost by that is sync, and of a dead daemon nothing. */
	if (err < 0 && flags & MS_SYNCHRONOUS)
		return fail(ret_error, err,
		            "'%s' is remounted, but its daemon cannot be told "
		            "of sync: %s",
		            mountpoint, strerror(-err));
	err = mountpoint_sync(path);
	if (err < 0)
		return fail(ret_error, err,
		            "'%s' is remounted, but the last changes could not "
		            "be saved: %s",
		            mountpoint, strerror(-err));
	return 0;
}

int client_remount_readonly(const char *mountpoint, char **ret_error)
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
	return client_remount(mountpoint, mount_flags, ret_error);
}
