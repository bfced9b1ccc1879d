/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command's process unmounts, in its own mount namespace, while a request
 * to the daemon waits until the changes are saved and the mount has ended.
 */
#include "client_umount.h"

#include <errno.h>
#include <poll.h>
#include <sys/mount.h>

#include "daemon_client.h"
#include "error_message.h"
#include "holders.h"
#include "mount_store.h"
#include "utab.h"
#include "util.h"

/* Pauses before another attempt: each is twice as long as the one before. */
enum { FIRST_PAUSE_MS = 8, LAST_PAUSE_MS = 1024 };

struct unmounting {
	const char *given;
	const struct mount_entry *entry;
	int flags;
	char **ret_error;
	bool done;
	bool warned;      /* that the mount is still in use elsewhere */
	bool unexplained; /* the mount is in use, but no user was found */
};

static int fail_busy(struct unmounting *u)
{
	_cleanup_free_ char *users = malloc(HOLDERS_TEXT);
	bool found = users && holders_busy(u->entry, users);

	u->unexplained = !found;
	return error_message_set(
	        u->ret_error, -EBUSY, "cannot unmount '%s': it is in use%s%s",
	        u->given, found ? " by " : "", found ? users : "");
}

static int unmount(struct unmounting *u)
{
	uid_t user = geteuid();
	char reason[256];
	int err = mountpoint_unmount(u->entry->mountpoint, u->flags, reason,
	                             sizeof(reason));

	if (err == -EBUSY)
		return fail_busy(u);
	if (err == -EPERM && user != 0 && user != u->entry->user)
		return error_message_set(
		        u->ret_error, err,
		        "cannot unmount '%s': only root and the user who "
		        "mounted it may",
		        u->given);
	if (err < 0)
		return error_message_set(u->ret_error, err,
		                         "cannot unmount '%s': %s", u->given,
		                         reason);
	u->done = true;
	utab_remove(u->entry->mountpoint);
	return 0;
}

/* Unmount without the daemon, which is dead or cannot be reached. */
static int sync_and_unmount(struct unmounting *u)
{
	/* If the daemon is dead there is nothing left to save. */
	mountpoint_sync(u->entry->mountpoint);
	return unmount(u);
}

/*
 * Warn that the mount is gone here and everything is saved, but the file system
 * is still in use elsewhere.
 */
static void warn_elsewhere(const struct unmounting *u, const char *users)
{
	log_warning("'%s' is unmounted and all is saved, but the mount is "
	            "still in use elsewhere%s%s",
	            u->given, users ? ": " : "", users ? users : "");
}

/*
 * Find and report the reason of the delay that a row reports.  Return 1, which
 * ends the request, if a reason was found.
 */
static int late_row(struct unmounting *u)
{
	_cleanup_free_ char *users = malloc(HOLDERS_TEXT);

	u->warned = users && holders_elsewhere(u->entry->device, users);
	if (u->warned)
		warn_elsewhere(u, users);
	return u->warned;
}

/* Unmount when the first row arrives: the daemon is waiting now. */
static int unmount_row(void *arg, json_t *row)
{
	struct unmounting *u = arg;

	if (u->done)
		return json_object_get(row, "late") ? late_row(u) : 0;
	return json_is_false(json_object_get(row, "known"))
	               ? sync_and_unmount(u)
	               : unmount(u);
}

static int unmount_and_wait(struct unmounting *u, int socket)
{
	json_auto_t *request = json_pack("{s:s, s:s}", "verb", "umount-wait",
	                                 "device", u->entry->device);
	json_auto_t *answer = NULL;
	const json_t *error;
	int err = request ? daemon_client_call(socket, request, -1, unmount_row,
	                                       u, &answer)
	                  : -ENOMEM;

	if (u->warned)
		return 0;
	if (err == 0 && !u->done && daemon_client_is_ending(answer))
		err = -EAGAIN;
	if (err < 0 && !u->done)
		return *u->ret_error ? err : unmount(u);
	if (err < 0)
		return error_message_set(
		        u->ret_error, err,
		        "'%s' is unmounted, but the daemon ended before "
		        "it reported that all is saved",
		        u->given);
	error = json_object_get(answer, "error");
	if (error)
		return error_message_set(u->ret_error, -EIO, "%s",
		                         json_string_value(error));
	if (json_is_false(json_object_get(answer, "ended")))
		warn_elsewhere(u, NULL);
	return u->done ? 0 : unmount(u);
}

/* Find the mount by its mount point, or by its store. */
static int find_mount(const char *given, struct mount_entry *ret_entry,
                      char **ret_error)
{
	char path[PATH_MAX];
	int err = mountpoint_resolve(given, path);
	int count;

	if (err < 0)
		return error_message_set(ret_error, err, "cannot find '%s': %s",
		                         given, strerror(-err));
	if (mount_entry_find(path, ret_entry) == 0 && ret_entry->coppice)
		return 0;
	count = mount_entry_find_source(path, ret_entry);
	if (count == 1)
		return 0;
	if (count > 1)
		return error_message_set(
		        ret_error, -EBUSY,
		        "the store '%s' is mounted at '%s' and %d other %s: "
		        "name the mount point",
		        given, ret_entry->mountpoint, count - 1,
		        count == 2 ? "place" : "places");
	return error_message_set(ret_error, -EINVAL,
	                         "no store is mounted at '%s'", given);
}

/*
 * Unmount once.  Each attempt asks the daemon anew: it reports that all was
 * saved as of the request.
 */
static int attempt(struct unmounting *u)
{
	_cleanup_close_ int socket = -1;
	char store[PATH_MAX];

	u->unexplained = false;
	/* The daemon itself may hang. */
	if (u->flags & MNT_FORCE)
		return unmount(u);
	/* A detached mount that is in use may end much later. */
	if ((u->flags & MNT_DETACH) ||
	    mount_store_find(u->entry->mountpoint, u->entry, store) < 0 ||
	    daemon_client_connect(store, &socket) < 0)
		return sync_and_unmount(u);
	return unmount_and_wait(u, socket);
}

/*
 * A mount is in use for a moment while another process looks up a path or
 * calls statfs() in it, or the kernel closes a file: nothing in /proc shows it.
 */
static int attempt_repeatedly(struct unmounting *u)
{
	int err = attempt(u);

	for (int pause = FIRST_PAUSE_MS;
	     u->unexplained && !(u->flags & MNT_FORCE) &&
	     pause <= LAST_PAUSE_MS;
	     pause *= 2) {
		poll(NULL, 0, pause);
		free(*u->ret_error);
		*u->ret_error = NULL;
		err = attempt(u);
	}
	return err;
}

int client_umount(const char *path, int flags, char **ret_error)
{
	_cleanup_free_ struct mount_entry *entry = malloc(sizeof(*entry));
	struct unmounting u = {
	        .given = path,
	        .entry = entry,
	        .flags = flags,
	        .ret_error = ret_error,
	};
	int err;

	*ret_error = NULL;
	if (!entry)
		return error_message_set(ret_error, -ENOMEM, "out of memory");
	err = find_mount(path, entry, ret_error);
	return err < 0 ? err : attempt_repeatedly(&u);
}
