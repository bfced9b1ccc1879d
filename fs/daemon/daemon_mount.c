/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon_mount.h"

#include <errno.h>
#include <limits.h>
#include <sys/sysmacros.h>

#include "autosnap.h"
#include "control.h"
#include "daemon.h"
#include "util.h"

enum {
	FUSE_MAJOR = 10,
	FUSE_MINOR = 229,
};

static bool is_fuse(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) &&
	       st.st_rdev == makedev(FUSE_MAJOR, FUSE_MINOR);
}

static enum fs_snapdir parse_snapdir(const char *text)
{
	if (text && strcmp(text, "visible") == 0)
		return SNAPDIR_VISIBLE;
	if (text && strcmp(text, "disabled") == 0)
		return SNAPDIR_DISABLED;
	if (text && strcmp(text, "root") == 0)
		return SNAPDIR_ROOT;
	return SNAPDIR_HIDDEN;
}

/* Look up the state to be mounted alone, if the request has one. */
static int mount_state(struct daemon *daemon, json_t *request,
                       struct session_params *params, json_t **ret_error)
{
	char name[STATE_NAME_MAX];
	struct state *state;
	int err = control_bytes(request, "state", name, sizeof(name));

	if (err == -ENOENT)
		return 0;
	if (err == 0) {
		store_lock(daemon->store);
		err = state_resolve(daemon->forest, name, &state);
		if (err == 0) {
			params->state = state->number;
			params->generation = state_generation(state);
			params->state_readonly = state->flags & STATE_READONLY;
		}
		store_unlock(daemon->store);
	}
	if (err < 0)
		*ret_error = control_error(
		        err, "there is no state '%s' to mount", name);
	return err;
}

/*
 * Read the options autosnap= and keep= of the request; an interval of 0: no
 * autosnap.  Return an error object, or NULL.
 */
static json_t *mount_autosnap(json_t *request,
                              const struct session_params *params,
                              struct autosnap_rule *ret_rule)
{
	json_t *seconds = json_object_get(request, "autosnap");
	const char *keep = json_string_value(json_object_get(request, "keep"));
	struct autosnap_rule rule = {.state = params->state};

	if (!json_is_integer(seconds) || !json_integer_value(seconds)) {
		*ret_rule = rule;
		return NULL;
	}
	if (json_integer_value(seconds) < AUTOSNAP_MIN_S ||
	    json_integer_value(seconds) > DURATION_MAX ||
	    (keep && retention_parse(&rule.keep, keep) < 0))
		return control_error(-EINVAL,
		                     "bad values of autosnap and keep");
	if (params->state && params->state_readonly)
		return control_error(-EINVAL,
		                     "autosnap needs a fork, and the state to "
		                     "mount is a snapshot");
	rule.interval = json_integer_value(seconds) * 1000000000;
	*ret_rule = rule;
	return NULL;
}

/*
 * Return true if the kernel may open files without a request.  The daemon then
 * cannot refuse an open, which it only does in snapshots, and has no handles of
 * open files, which store_locks needs.
 */
static bool mount_needs_no_open(json_t *request,
                                const struct session_params *params)
{
	bool late = json_is_true(json_object_get(request, "snapopen_late"));
	bool writable =
	        params->snapdir == SNAPDIR_DISABLED && !params->state_readonly;

	return (late || writable) && !params->store_locks;
}

/*
 * Set the time for which deleted states stay in the trash, if the request has
 * one.  *ret_old: the time before, in seconds, or -1 if it stays.  Return an
 * error object, or NULL.
 */
static json_t *mount_trash(struct daemon *daemon, json_t *request,
                           int64_t *ret_old)
{
	json_t *seconds = json_object_get(request, "trash");
	int64_t old;
	int err;

	*ret_old = -1;
	if (!json_is_integer(seconds) || json_integer_value(seconds) < 0)
		return NULL;
	store_lock(daemon->store);
	old = forest_trash_time(daemon->forest) / 1000000000;
	err = forest_set_trash_time(daemon->forest,
	                            json_integer_value(seconds));
	store_unlock(daemon->store);
	if (!err)
		*ret_old = old;
	if (err == -EROFS)
		return control_error(err, "trash= cannot be set: the store was "
		                          "opened read-only");
	return err < 0 ? control_error(err, "bad value of trash: %s",
	                               strerror(-err))
	               : NULL;
}

/*
 * Restore the time that mount_trash() replaced, unless another mount has set
 * one since.
 */
static void mount_trash_undo(struct daemon *daemon, const json_t *request,
                             int64_t old)
{
	json_int_t set = json_integer_value(json_object_get(request, "trash"));

	if (old < 0)
		return;
	store_lock(daemon->store);
	if (forest_trash_time(daemon->forest) / 1000000000 == set)
		forest_set_trash_time(daemon->forest, old);
	store_unlock(daemon->store);
}

json_t *daemon_mount(struct daemon *daemon, json_t *request, int *fd)
{
	char mountpoint[PATH_MAX] = "?", device[32] = "?";
	const char *snapdir =
	        json_string_value(json_object_get(request, "snapdir"));
	struct session_params params = {
	        .fd = *fd,
	        .snapdir = parse_snapdir(snapdir),
	        .rmdir_always =
	                json_is_true(json_object_get(request, "rmdir_always")),
	        .sync = json_is_true(json_object_get(request, "sync")),
	        .no_export =
	                json_is_true(json_object_get(request, "no_export")),
	        .store_locks =
	                json_is_true(json_object_get(request, "store_locks")),
	        .root_only =
	                json_is_true(json_object_get(request, "root_only")),
	        .no_xattr = json_is_true(json_object_get(request, "no_xattr")),
	        .no_cpu_latency = json_is_true(
	                json_object_get(request, "no_cpu_latency")),
	        .mountpoint = mountpoint,
	        .device = device,
	};
	struct autosnap_rule rule;
	json_t *error = NULL;
	int64_t trash;
	uint64_t id;
	int err;

	if (!is_fuse(*fd))
		return control_error(-EINVAL, "no /dev/fuse came with the "
		                              "request");
	control_bytes(request, "mountpoint", mountpoint, sizeof(mountpoint));
	control_bytes(request, "device", device, sizeof(device));
	if (store_is_readonly(daemon->store) &&
	    !json_is_true(json_object_get(request, "readonly")))
		return control_error(-EROFS,
		                     "the store '%s' is on a read-only disk: "
		                     "it can only be mounted with -o ro",
		                     store_path(daemon->store));
	if (mount_state(daemon, request, &params, &error) < 0)
		return error;
	params.no_open = mount_needs_no_open(request, &params);
	error = mount_autosnap(request, &params, &rule);
	if (!error)
		error = mount_trash(daemon, request, &trash);
	if (error)
		return error;
	daemon_count(daemon, 1);
	err = session_start(&daemon->mounts, &params, &id);
	if (err < 0) {
		daemon_count(daemon, -1);
		mount_trash_undo(daemon, request, trash);
		return control_error(err, "cannot serve the mount: %s",
		                     strerror(-err));
	}
	*fd = -1;
	rule.session = id;
	if (rule.interval && autosnap_add(daemon->autosnap, &rule) < 0)
		log_error("autosnap: out of memory");
	return json_pack("{s:b, s:I}", "ok", 1, "id", (json_int_t)id);
}

struct remounting {
	const char *device;
	bool sync;
};

static int remount_session(void *arg, struct session *session)
{
	const struct remounting *r = arg;

	if (strcmp(session->device, r->device) != 0)
		return 0;
	session->sync = r->sync;
	return 1;
}

json_t *daemon_remount(struct daemon *daemon, json_t *request)
{
	char device[32];
	struct remounting r = {device,
	                       json_is_true(json_object_get(request, "sync"))};

	if (control_bytes(request, "device", device, sizeof(device)) < 0)
		return control_error(-EINVAL, "the request has no \"device\"");
	if (!mounts_each(&daemon->mounts, remount_session, &r))
		return control_error(-ENOENT, "there is no such mount");
	return json_pack("{s:b}", "ok", 1);
}
