/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mount_store.h"

#include <errno.h>
#include <sys/xattr.h>

#include "daemon_client.h"
#include "util.h"

static bool has_session(const json_t *sessions, const char *device)
{
	const json_t *row;
	size_t i;

	json_array_foreach(sessions, i, row)
	{
		const char *one =
		        json_string_value(json_object_get(row, "device"));

		if (one && !strcmp(one, device))
			return true;
	}
	return false;
}

/*
 * Return true if the daemon of the store serves the mount.  A daemon that does
 * not answer this user counts as the right one.
 */
static bool serves(const char *store, const char *device)
{
	json_auto_t *request = json_pack("{s:s}", "verb", "stat");
	json_auto_t *answer = NULL;
	_cleanup_close_ int socket = -1;
	const json_t *sessions;
	int err = daemon_client_connect(store, &socket);

	if (err < 0)
		return err != -ENOENT && err != -ENOTDIR;
	if (!request ||
	    daemon_client_call(socket, request, -1, NULL, NULL, &answer) < 0)
		return true;
	sessions = json_object_get(answer, "sessions");
	return !sessions || has_session(sessions, device);
}

int mount_store_find(const char *path, const struct mount_entry *mount,
                     char ret_store[PATH_MAX])
{
	ssize_t len;

	if (serves(mount->source, mount->device)) {
		memcpy(ret_store, mount->source, sizeof(mount->source));
		return 0;
	}
	len = getxattr(path, "user.coppice.store", ret_store, PATH_MAX - 1);
	if (len <= 0)
		return -ESTALE;
	ret_store[len] = 0;
	return 0;
}
