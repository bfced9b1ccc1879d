/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unmounting, as the command's process does it: the daemon is asked to tell
 * when all is saved, then the mount is undone here.
 */
#include <errno.h>

#include "control.h"
#include "mountinfo.h"
#include "sentence.h"
#include "util.h"

struct unmounting {
	const char *given;
	const char *mountpoint;
	const struct mount_entry *entry;
	char **ret_error;
	bool done;
};

static int unmount(struct unmounting *u)
{
	uid_t user = geteuid();
	char reason[256];
	int err = mountpoint_unmount(u->mountpoint, false, reason,
	                             sizeof(reason));

	if (err == -EBUSY)
		return fail(u->ret_error, err,
		            "cannot unmount '%s': it is in use", u->given);
	if (err == -EPERM && user != 0 && user != u->entry->user)
		return fail(u->ret_error, err,
		            "cannot unmount '%s': only root and the user who "
		            "mounted it may",
		            u->given);
	if (err < 0)
		return fail(u->ret_error, err, "cannot unmount '%s': %s",
		            u->given, reason);
	u->done = true;
	return 0;
}

/* The daemon waits for the mount to end: now end it. */
static int unmount_row(void *arg, json_t *row)
{
	struct unmounting *u = arg;

	return u->done ? 0 : unmount(u);
}

static int unmount_and_wait(struct unmounting *u, int socket,
                            const char *device)
{
	json_t *request = json_pack("{s:s, s:s}", "verb", "umount-wait",
	                            "device", device);
	json_t *answer = NULL;
	const json_t *error;
	int err = request ? control_call(socket, request, -1, unmount_row, u,
	                                 &answer)
	                  : -ENOMEM;

	json_decref(request);
	if (err < 0 && !u->done)
		return *u->ret_error ? err : unmount(u);
	if (err < 0)
		return fail(u->ret_error, err,
		            "'%s' is unmounted, but the daemon ended before "
		            "it said that all is saved",
		            u->given);
	error = json_object_get(answer, "error");
	if (error)
		err = fail(u->ret_error, -EIO, "%s", json_string_value(error));
	else if (json_is_false(json_object_get(answer, "ended")))
		log_warning("'%s' is unmounted and all is saved, but the "
		            "mount is still in use elsewhere",
		            u->given);
	json_decref(answer);
	if (err == 0 && !u->done)
		err = unmount(u);
	return err;
}

int server_umount(const char *mountpoint, char **ret_error)
{
	_cleanup_free_ struct mount_entry *entry = malloc(sizeof(*entry));
	struct unmounting u = {.given = mountpoint, .ret_error = ret_error};
	_cleanup_close_ int socket = -1;
	char path[PATH_MAX];
	int err = mountpoint_resolve(mountpoint, path);

	*ret_error = NULL;
	if (!entry)
		return fail(ret_error, -ENOMEM, "out of memory");
	if (err < 0)
		return fail(ret_error, err, "cannot find '%s': %s", mountpoint,
		            strerror(-err));
	if (mount_entry_find(path, entry) < 0 || !entry->coppice)
		return fail(ret_error, -EINVAL, "no store is mounted at '%s'",
		            mountpoint);
	u.mountpoint = path;
	u.entry = entry;
	/* Without a daemon nothing is unsaved that could still be saved. */
	if (control_connect(entry->source, &socket) < 0)
		return unmount(&u);
	return unmount_and_wait(&u, socket, entry->device);
}
