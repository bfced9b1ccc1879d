/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "connection.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "control.h"
#include "control_copy.h"
#include "daemon.h"
#include "daemon_mount.h"
#include "json_line.h"
#include "long_request.h"
#include "util.h"

enum {
	REQUEST_MS = 5000, /* for a request to arrive; CONNECTIONS_MAX is low */
	ANSWER_MS = 30000, /* for the other end to read a line of an answer */
	UMOUNT_MS = 10000, /* for a mount to end once it is unmounted */
	STAY_MS = 30000,   /* for the mount that "stay" announces */
	LATE_MS = 300,     /* before a delay is reported */
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

/* Send an object and release it.  -ENOMEM: it is NULL. */
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

static void serving_begin(struct connection *connection, int fd)
{
	pthread_mutex_lock(&connection->daemon->lock);
	connection->serving = true;
	connection->fd = fd;
	pthread_mutex_unlock(&connection->daemon->lock);
}

/* Return true if the request's descriptor was shut down meanwhile. */
static bool serving_end(struct connection *connection)
{
	bool cut;

	pthread_mutex_lock(&connection->daemon->lock);
	cut = connection->cut;
	connection->serving = connection->cut = false;
	connection->fd = -1;
	pthread_mutex_unlock(&connection->daemon->lock);
	return cut;
}

json_t *connection_refusal(void)
{
	return control_error(-EAGAIN, "the store is being closed");
}

/* Run a verb of control.h with the rights of the request's sender. */
static int serve_verb(struct connection *connection, json_t *request, int fd)
{
	struct daemon *daemon = connection->daemon;
	json_t *object = NULL;
	struct fs_cred cred;
	int err = daemon_begin(daemon, false);

	if (err < 0)
		return send_object(connection, connection_refusal());
	serving_begin(connection, fd);
	err = peer_cred(connection->socket, &cred)
	              ? control_serve(daemon->fs, &daemon->mounts, &cred,
	                              request, fd, send_row, connection,
	                              &object)
	              : -EACCES;
	if (serving_end(connection) && json_object_get(object, "error")) {
		json_decref(object);
		object = connection_refusal();
	}
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
	serving_begin(connection, -1);
	err = control_copy(daemon->store, *fd, send_row, connection, &object);
	/* Close the file first: its space can be free once the copy is done. */
	close_fd(fd);
	*fd = -1;
	serving_end(connection);
	daemon_end(daemon, false);
	return err < 0 ? err : send_object(connection, object);
}

/* ---- Mounts ------------------------------------------------------------- */

static int serve_mount(struct connection *connection, json_t *request, int *fd)
{
	struct daemon *daemon = connection->daemon;
	json_t *object;
	int err = daemon_begin(daemon, true);

	if (err < 0)
		return send_object(connection, connection_refusal());
	object = daemon_mount(daemon, request, fd);
	daemon_end(daemon, true);
	return send_object(connection, object);
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
 * Return the answer if the store is closed, or if other mounts are left and
 * this one has ended.  With `late`, return it although the mount has not ended.
 * NULL: wait on; without mounts, until the store is closed.
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

/* Send a row if the mount has not ended, but all changes are saved. */
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
 * may lead to another store.  If the mount has not ended LATE_MS later, it is
 * still in use elsewhere (another mount namespace, an open file); a second row
 * reports that early, so that the command can look for the reason.
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
	serving_begin(connection, -1);
	err = send_object(connection, json_pack("{s:b}", "ok", 1));
	while (err == 0) {
		int64_t left = (end - mono_ns()) / 1000000;

		err = left > 0 ? wait_for_change(connection, (int)left)
		               : -ETIMEDOUT;
	}
	serving_end(connection);
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
	    (err = long_request_load(&request, reader, REQUEST_MS))) {
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
	else if (verb && strcmp(verb, "remount") == 0)
		err = send_object(connection,
		                  daemon_remount(connection->daemon, request));
	else if (verb && strcmp(verb, "stay") == 0)
		err = serve_stay(connection);
	else if (verb && strcmp(verb, "umount-wait") == 0)
		err = serve_umount(connection, request);
	else
		err = serve_verb(connection, request, reader->fd);
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
