/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "client_namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/types.h>

#include "error_message.h"
#include "util.h"

/* Write to an existing file in /proc. */
static int proc_write(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t len = strlen(text);

	if (fd < 0)
		return -errno;
	return write(fd, text, len) == (ssize_t)len ? 0 : -errno;
}

/*
 * Enter new user and mount namespaces; map the present user and group alone.
 * The kernel accepts the map of groups only after setgroups(2) is denied.
 */
static int user_namespace_enter(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char users[64], groups[64];
	int err;

	snprintf(users, sizeof(users), "%u %u 1", uid, uid);
	snprintf(groups, sizeof(groups), "%u %u 1", gid, gid);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return -errno;
	err = proc_write("/proc/self/setgroups", "deny");
	if (!err)
		err = proc_write("/proc/self/uid_map", users);
	return err ? err : proc_write("/proc/self/gid_map", groups);
}

/*
 * Make the mount that contains the directory private.  -EINVAL: the mount's
 * root is not below this process's root directory.
 */
static int make_private(const char *dir)
{
	char path[PATH_MAX], *slash;

	if (snprintf(path, sizeof(path), "%s", dir) >= PATH_MAX)
		return -ENAMETOOLONG;
	/* The kernel refuses a directory that is not the root of a mount. */
	while (mount(NULL, path, NULL, MS_PRIVATE, NULL) < 0) {
		slash = strrchr(path, '/');
		if (errno != EINVAL || !slash || !path[1])
			return -errno;
		slash[slash == path] = 0;
	}
	return 0;
}

int client_namespace_enter(const char *at, char **ret_error)
{
	int err = unshare(CLONE_NEWNS) < 0 ? -errno : 0;

	if (err == -EPERM)
		err = user_namespace_enter();
	if (!err && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		err = -errno;
	/* In a chroot(2), "/" may not be the root of a mount. */
	if (err == -EINVAL)
		err = make_private(at);
	if (err == -EINVAL)
		return error_message_set(
		        ret_error, err,
		        "cannot make a mount namespace: '%s' is in a chroot "
		        "but not in a mount of its own",
		        at);
	return err < 0 ? error_message_set(ret_error, err,
	                                   "cannot make a mount namespace: %s",
	                                   strerror(-err))
	               : 0;
}

int client_namespace_bind(const char *from, const char *at, char **ret_error)
{
	int err;

	if (mount(from, at, NULL, MS_BIND, NULL) == 0)
		return 0;
	err = -errno;
	return error_message_set(ret_error, err,
	                         "cannot mount '%s' on '%s': %s", from, at,
	                         strerror(-err));
}
