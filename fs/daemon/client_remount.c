/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client_remount.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include "daemon_client.h"
#include "error_message.h"
#include "mount_store.h"
#include "mountinfo.h"
#include "util.h"

/*
 * Send the daemon the flag that it applies itself: the kernel does not report
 * changed flags to it.
 */
static int set_daemon_sync(const char *path, const struct mount_entry *entry,
                           bool sync)
{
	json_auto_t *request = NULL, *answer = NULL;
	_cleanup_close_ int socket = -1;
	char store[PATH_MAX];
	int err = mount_store_find(path, entry, store);

	if (err == 0)
		err = daemon_client_connect(store, &socket);
	if (err < 0)
		return err;
	request = json_pack("{s:s, s:s, s:b}", "verb", "remount", "device",
	                    entry->device, "sync", sync);
	if (!request)
		return -ENOMEM;
	err = daemon_client_call(socket, request, -1, NULL, NULL, &answer);
	return err == 0 && json_object_get(answer, "error") ? -ENOENT : err;
}

int client_remount(const char *mountpoint, unsigned long flags,
                   char **ret_error)
{
	_cleanup_free_ struct mount_entry *entry = malloc(sizeof(*entry));
	char path[PATH_MAX];
	int err = mountpoint_resolve(mountpoint, path);

	if (!entry)
		return error_message_set(ret_error, -ENOMEM, "out of memory");
	if (err < 0)
		return error_message_set(ret_error, err, "cannot find '%s': %s",
		                         mountpoint, strerror(-err));
	if (mount_entry_find(path, entry) < 0 || !entry->coppice)
		return error_message_set(ret_error, -EINVAL,
		                         "no store is mounted at '%s'",
		                         mountpoint);
	if (mount(NULL, path, NULL, MS_REMOUNT | flags, NULL) < 0)
		return error_message_set(ret_error, -errno,
		                         "cannot remount '%s': %s", mountpoint,
		                         errno == EBUSY
		                                 ? "a file is open for writing"
		                                 : strerror(errno));
	err = set_daemon_sync(path, entry, flags & MS_SYNCHRONOUS);
	/*
	 * The daemon is needed for sync alone; otherwise a dead daemon is no
	 * error.
	 */
	if (err < 0 && flags & MS_SYNCHRONOUS)
		return error_message_set(
		        ret_error, err,
		        "'%s' is remounted, but its daemon did not set "
		        "sync: %s",
		        mountpoint, strerror(-err));
	err = mountpoint_sync(path);
	if (err < 0)
		return error_message_set(
		        ret_error, err,
		        "'%s' is remounted, but the last changes could not "
		        "be saved: %s",
		        mountpoint, strerror(-err));
	return 0;
}

int client_remount_readonly(const char *mountpoint, char **ret_error)
{
	/* ST_NOSYMFOLLOW, which not all C libraries define. */
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
		return error_message_set(ret_error, -errno,
		                         "cannot remount '%s': %s", mountpoint,
		                         strerror(errno));
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (vfs.f_flag & flags[i].vfs)
			mount_flags |= flags[i].mount;
	}
	return client_remount(mountpoint, mount_flags, ret_error);
}
