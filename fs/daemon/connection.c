/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "connection.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

#include "autosnap.h"
#include "control.h"
#include "control_apply.h"
#include "control_copy.h"
#include "control_export.h"
#include "control_import.h"
#include "daemon.h"
#include "json_line.h"
#include "long_request.h"
#include "util.h"

enum {
	REQUEST_MS = 5000, /* for a request to arrive; CONNECTIONS_MAX is low */
	ANSWER_MS = 30000, /* for the other end to read a line of an answer */
	UMOUNT_MS = 10000, /* for a mount to end once it is unmounted */
	STAY_MS = 30000,   /* for a mount to come that the daemon waits for */
	LATE_MS = 300,     /* before a delay is reported */
	FUSE_MAJOR = 10,
	FUSE_MINOR = 229,
};

static bool peer_cred(int socket, struct fs_cred *ret_cred)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	*ret_cred = (struct fs_cred){cred.uid, cred.gid, 0};
	return true;
}

static bool is_allowed(const struct daemon *daemon, int socket)
{
	struct fs_cred cred;

	return peer_cred(socket, &cred) &&
	       (cred.uid == 0 || cred.uid == daemon->owner);
}

/* Send an object; takes ownership of it, and fails if it is NULL. */
static int send_object(const struct connection *connection, json_t *object)
{
	int err = object ? json_line_write(connection->socket, object, -1,
	                                   ANSWER_MS)
	                 : -ENOMEM;

	json_decref(object);
	return err;
}

static int send_row(void *arg, json_t *row)
{
	const struct connection *connection = arg;

	return send_object(connection, json_pack("{s:O}", "row", row));
}

static void set_serving(struct connection *connection, bool serving)
{
	pthread_mutex_lock(&connection->daemon->lock);
	connection->serving = serving;
	pthread_mutex_unlock(&connection->daemon->lock);
}

json_t *connection_refusal(void)
{
	return control_error(-EAGAIN, "the store is being closed");
}

/* A request that is done with the rights of who sent it. */
typedef int serve_fn(struct connection *connection, const struct fs_cred *cred,
                     json_t *request, int fd, json_t **ret_answer);

static int run_verb(struct connection *connection, const struct fs_cred *cred,
                    json_t *request, int fd, json_t **ret_answer)
{
	struct daemon *daemon = connection->daemon;

	return control_serve(daemon->fs, &daemon->mounts, cred, request,
	                     send_row, connection, ret_answer);
}

static int run_apply(struct connection *connection, const struct fs_cred *cred,
                     json_t *request, int fd, json_t **ret_answer)
{
	struct daemon *daemon = connection->daemon;

	return control_apply(daemon->fs, &daemon->mounts, cred, request, fd,
	                     ret_answer);
}

static int run_import(struct connection *connection, const struct fs_cred *cred,
                      json_t *request, int fd, json_t **ret_answer)
{
	struct daemon *daemon = connection->daemon;

	return control_import(daemon->fs, &daemon->mounts, cred, request, fd,
	                      send_row, connection, ret_answer);
}

static int run_export(struct connection *connection, const struct fs_cred *cred,
                      json_t *request, int fd, json_t **ret_answer)
{
	return control_export(connection->daemon->fs, cred, request, fd,
	                      ret_answer);
}

static int serve_verb(struct connection *connection, serve_fn *fn,
                      json_t *request, int fd)
{
	struct daemon *daemon = connection->daemon;
	json_t *object = NULL;
	struct fs_cred cred;
	int err = daemon_begin(daemon, false);

	if (err < 0)
		return send_object(connection, connection_refusal());
	set_serving(connection, true);
	err = peer_cred(connection->socket, &cred)
	              ? fn(connection, &cred, request, fd, &object)
	              : -EACCES;
	set_serving(connection, false);
	daemon_end(daemon, false);
	return err < 0 ? err : send_object(connection, object);
}

/* ---- copy --------------------------------------------------------------- */

static int serve_copy(struct connection *connection, int *fd)
{
	struct daemon *daemon = connection->daemon;
	json_t *object = NULL;
	int err = daemon_begin(daemon, false);

	if (err < 0)
		return send_object(connection, connection_refusal());
	set_serving(connection, true);
	err = control_copy(daemon->store, *fd, send_row, connection, &object);
	/* Close the file first: its space can be free once the copy is done. */
	close_fd(fd);
	*fd = -1;
	set_serving(connection, false);
	daemon_end(daemon, false);
	return err < 0 ? err : send_object(connection, object);
}

/* ---- mount -------------------------------------------------------------- */

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

/* Look up the state that is to be mounted alone, if one is named. */
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
 * Read what the request wants of autosnap; an interval of 0: nothing.  Return
 * an error message, or NULL.
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
 * Return true if the kernel may open files by itself.  No open must be refused
 * then: without snapshots none is.  Locks belong to what an open has announced.
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
 * Set how long deleted states stay in the trash, if the request has that.
 * Return an error message, or NULL.
 */
static json_t *mount_trash(struct daemon *daemon, json_t *request)
{
	json_t *seconds = json_object_get(request, "trash");
	int err;

	if (!json_is_integer(seconds) || json_integer_value(seconds) < 0)
		return NULL;
	store_lock(daemon->store);
	err = forest_set_trash_time(daemon->forest,
	                            json_integer_value(seconds));
	store_unlock(daemon->store);
	if (err == -EROFS)
		return control_error(err, "trash= cannot be set: the store was "
		                          "opened read-only");
	return err < 0 ? control_error(err, "bad value of trash: %s",
	                               strerror(-err))
	               : NULL;
}

static json_t *mount_begin(struct daemon *daemon, json_t *request, int *fd)
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
	        .mountpoint = mountpoint,
	        .device = device,
	};
	struct autosnap_rule rule;
	json_t *error = NULL;
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
		error = mount_trash(daemon, request);
	if (error)
		return error;
	daemon_count(daemon, 1);
	err = session_start(&daemon->mounts, &params, &id);
	if (err < 0)
		daemon_count(daemon, -1);
	if (err < 0)
		return control_error(err, "cannot serve the mount: %s",
		                     strerror(-err));
	*fd = -1;
	rule.session = id;
	if (rule.interval && autosnap_add(daemon->autosnap, &rule) < 0)
		log_error("autosnap: out of memory");
	return json_pack("{s:b, s:I}", "ok", 1, "id", (json_int_t)id);
}

static int serve_mount(struct connection *connection, json_t *request, int *fd)
{
	struct daemon *daemon = connection->daemon;
	json_t *object;
	int err = daemon_begin(daemon, true);

	if (err < 0)
		return send_object(connection, connection_refusal());
	object = mount_begin(daemon, request, fd);
	daemon_end(daemon, true);
	return send_object(connection, object);
}

/* ---- remount ------------------------------------------------------------ */

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

/*
 * Set the flags that the daemon applies: the kernel does not report them to it.
 */
static int serve_remount(struct connection *connection, json_t *request)
{
	char device[32];
	struct remounting r = {device,
	                       json_is_true(json_object_get(request, "sync"))};

	if (control_bytes(request, "device", device, sizeof(device)) < 0)
		return send_object(connection,
		                   control_error(-EINVAL, "the request has "
		                                          "no \"device\""));
	if (!mounts_each(&connection->daemon->mounts, remount_session, &r))
		return send_object(
		        connection,
		        control_error(-ENOENT, "there is no such mount"));
	return send_object(connection, json_pack("{s:b}", "ok", 1));
}

/* ---- umount-wait -------------------------------------------------------- */

static int is_device(void *arg, struct session *session)
{
	return strcmp(session->device, arg) == 0;
}

static json_t *umount_error(struct daemon *daemon, int err, bool closed)
{
	_cleanup_free_ char *text = NULL;

	if (!closed)
		return control_error(err,
		                     "the last changes are not saved yet: %s; "
		                     "the store is still mounted elsewhere, "
		                     "and its daemon tries again",
		                     strerror(-err));
	text = daemon_loss_message(daemon, err);
	return control_error(err, "%s", text ? text : strerror(-err));
}

/*
 * Return the answer if the mount has ended, the store is closed, or with `late`
 * in any case; NULL: wait on.
 */
static json_t *umount_answer(struct daemon *daemon, char *device, bool late)
{
	bool closed, gone = false;
	int err;

	pthread_mutex_lock(&daemon->lock);
	closed = daemon->closed;
	err = daemon->close_err;
	pthread_mutex_unlock(&daemon->lock);
	if (!closed) {
		if (daemon_begin(daemon, false) < 0)
			return NULL; /* wait until the daemon has ended */
		gone = !mounts_each(&daemon->mounts, is_device, device);
		if (mounts_count(&daemon->mounts) == 0)
			late = gone = false; /* the daemon is about to end */
		if (gone || late)
			err = store_sync(daemon->store);
		daemon_end(daemon, false);
		if (!gone && !late)
			return NULL;
	}
	if (err < 0)
		return umount_error(daemon, err, closed);
	return json_pack("{s:b, s:b}", "ok", 1, "ended", closed || gone);
}

/* Send a row if the mount has not ended, but all of it is saved. */
static int report_delay(const struct connection *connection, char *device)
{
	struct daemon *daemon = connection->daemon;
	bool late;

	if (daemon_begin(daemon, false) < 0)
		return 0;
	late = mounts_each(&daemon->mounts, is_device, device) &&
	       store_sync(daemon->store) == 0;
	daemon_end(daemon, false);
	return late ? send_object(connection,
	                          json_pack("{s:{s:b}}", "row", "late", 1))
	            : 0;
}

/*
 * Wait for the daemon's state to change.  -EPIPE: the other end has closed.
 */
static int wait_for_change(const struct connection *connection, int ms)
{
	struct pollfd fds[] = {
	        {connection->wake, POLLIN, 0},
	        {connection->socket, 0, 0},
	};
	eventfd_t count;

	if (poll(fds, 2, ms) <= 0)
		return 0;
	if (fds[0].revents)
		eventfd_read(connection->wake, &count);
	return fds[1].revents & (POLLHUP | POLLERR) ? -EPIPE : 0;
}

/*
 * The command unmounts when it receives the first row.  "known" in it is false
 * if this daemon does not serve that mount: in a chroot, the path of a store
 * may lead to another store.  If the mount has not ended LATE_MS later,
 * something else keeps it alive (another mount namespace, an open file); a
 * second row reports that early, so that the command can look for the reason.
 */
static int serve_umount(struct connection *connection, json_t *request)
{
	int64_t now = mono_ns();
	int64_t end = now + UMOUNT_MS * INT64_C(1000000);
	int64_t soon = now + LATE_MS * INT64_C(1000000);
	char device[32];
	int err = control_bytes(request, "device", device, sizeof(device));

	if (err < 0)
		return send_object(connection,
		                   control_error(-EINVAL, "the request has "
		                                          "no \"device\""));
	err = send_object(connection,
	                  json_pack("{s:{s:b}}", "row", "known",
	                            mounts_each(&connection->daemon->mounts,
	                                        is_device, device)));
	while (err == 0) {
		int64_t left = ((soon ? soon : end) - mono_ns()) / 1000000;
		json_t *object = umount_answer(connection->daemon, device,
		                               !soon && left <= 0);

		if (object)
			return send_object(connection, object);
		if (soon && left <= 0) {
			soon = 0;
			err = report_delay(connection, device);
		} else {
			err = wait_for_change(connection,
			                      left <= 0 ? -1 : (int)left);
		}
	}
	return err;
}

/* ---- stay --------------------------------------------------------------- */

/*
 * Keep the daemon from ending with its last mount, until the other end, which
 * is about to mount, closes the connection.
 */
static int serve_stay(struct connection *connection)
{
	struct daemon *daemon = connection->daemon;
	int64_t end = mono_ns() + STAY_MS * INT64_C(1000000);
	int err = daemon_begin(daemon, true);

	if (err < 0)
		return send_object(connection, connection_refusal());
	set_serving(connection, true);
	err = send_object(connection, json_pack("{s:b}", "ok", 1));
	while (err == 0) {
		int64_t left = (end - mono_ns()) / 1000000;

		err = left > 0 ? wait_for_change(connection, (int)left)
		               : -ETIMEDOUT;
	}
	set_serving(connection, false);
	daemon_end(daemon, true);
	return err;
}

/* ---- Connections -------------------------------------------------------- */

static int serve(struct connection *connection, struct json_line_reader *reader)
{
	json_error_t json_error;
	const char *verb;
	json_t *request;
	size_t len;
	char *line;
	int err = json_line_read(reader, REQUEST_MS, &line, &len);

	if (err == -EMSGSIZE)
		send_object(connection,
		            control_error(err, "the request is too long"));
	if (err < 0)
		return err;
	request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &json_error);
	if (!json_is_object(request)) {
		json_decref(request);
		send_object(connection,
		            control_error(-EINVAL, "the request is not a "
		                                   "JSON object"));
		return -EPROTO;
	}
	if (json_is_true(json_object_get(request, "attached")) &&
	    (err = long_request_load(&request, reader->fd))) {
		json_decref(request);
		send_object(connection,
		            control_error(err, "the attached request cannot "
		                               "be read"));
		return -EPROTO;
	}
	verb = json_string_value(json_object_get(request, "verb"));
	if (verb && strcmp(verb, "mount") == 0)
		err = serve_mount(connection, request, &reader->fd);
	else if (verb && strcmp(verb, "copy") == 0)
		err = serve_copy(connection, &reader->fd);
	else if (verb && strcmp(verb, "apply") == 0)
		err = serve_verb(connection, run_apply, request, reader->fd);
	else if (verb && strcmp(verb, "import") == 0)
		err = serve_verb(connection, run_import, request, reader->fd);
	else if (verb && strcmp(verb, "export") == 0)
		err = serve_verb(connection, run_export, request, reader->fd);
	else if (verb && strcmp(verb, "remount") == 0)
		err = serve_remount(connection, request);
	else if (verb && strcmp(verb, "stay") == 0)
		err = serve_stay(connection);
	else if (verb && strcmp(verb, "umount-wait") == 0)
		err = serve_umount(connection, request);
	else
		err = serve_verb(connection, run_verb, request, -1);
	json_decref(request);
	close_fd(&reader->fd);
	reader->fd = -1;
	return err;
}

static void connection_end(struct connection *connection)
{
	struct daemon *daemon = connection->daemon;

	pthread_mutex_lock(&daemon->lock);
	close(connection->socket);
	connection->socket = -1;
	close(connection->wake);
	daemon->connected--;
	daemon->left = true;
	pthread_cond_broadcast(&daemon->idle);
	daemon_changed(daemon);
	pthread_mutex_unlock(&daemon->lock);
}

void *connection_main(void *arg)
{
	struct connection *connection = arg;
	struct json_line_reader reader = {.fd = -1};
	int err = -EACCES;

	pthread_setname_np(pthread_self(), "connection");
	if (!is_allowed(connection->daemon, connection->socket))
		send_object(connection,
		            control_error(err, "only the store's owner and "
		                               "root are answered"));
	else
		err = json_line_reader_init(&reader, connection->socket);
	while (err == 0)
		err = serve(connection, &reader);
	json_line_reader_release(&reader);
	connection_end(connection);
	return NULL;
}
