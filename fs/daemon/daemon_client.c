/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon_client.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "control_address.h"
#include "json_line.h"
#include "long_request.h"
#include "util.h"

enum { SEND_TIMEOUT_MS = 30000 };

/*
 * Return true if the other end may serve the store: any process can bind an
 * abstract address.
 */
static bool is_trusted(int socket, int dir)
{
	socklen_t len = sizeof(struct ucred);
	struct ucred cred;
	struct stat st;

	if (fstat(dir, &st) < 0 ||
	    getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	return cred.uid == 0 || cred.uid == geteuid() || cred.uid == st.st_uid;
}

/* Connect to the daemon of a store on a read-only disk. */
static int connect_abstract(int dir, int *ret_fd)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	socklen_t len;
	int err;

	if (fd < 0)
		return -errno;
	err = control_address_abstract(dir, &address, &len);
	if (err < 0)
		return err;
	if (connect(fd, (struct sockaddr *)&address, len) < 0)
		return errno == ECONNREFUSED ? -ENOENT : -errno;
	if (!is_trusted(fd, dir))
		return -ENOENT;
	*ret_fd = steal_fd(&fd);
	return 0;
}

int daemon_client_connect(const char *store_path, int *ret_fd)
{
	struct sockaddr_un address;
	_cleanup_close_ int dir = -1;
	_cleanup_close_ int fd = -1;

	dir = open(store_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	control_address(dir, &address);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
		*ret_fd = steal_fd(&fd);
		return 0;
	}
	return errno == ENOENT || errno == ECONNREFUSED
	               ? connect_abstract(dir, ret_fd)
	               : -errno;
}

bool daemon_client_is_ending(const json_t *answer)
{
	return json_object_get(answer, "error") &&
	       json_integer_value(json_object_get(answer, "errno")) == EAGAIN;
}

int daemon_client_call(int socket, json_t *request, int fd, control_row_fn *fn,
                       void *arg, json_t **ret_answer)
{
	_cleanup_(json_line_reader_release) struct json_line_reader reader;
	int err = json_line_reader_init(&reader, socket);

	if (err < 0)
		return err;
	err = long_request_send(socket, request, fd, SEND_TIMEOUT_MS);
	/* A request that did not arrive completely was not done. */
	if (err == -EPIPE)
		err = -EAGAIN;
	while (err == 0) {
		json_t *object, *row;
		size_t len;
		char *line;

		err = json_line_read(&reader, -1, &line, &len);
		if (err < 0)
			break;
		object = json_loadb(line, len, 0, NULL);
		if (!json_is_object(object)) {
			json_decref(object);
			return -EPROTO;
		}
		row = json_object_get(object, "row");
		if (!row) {
			*ret_answer = object;
			return 0;
		}
		err = fn ? fn(arg, row) : 0;
		json_decref(object);
		if (err > 0)
			err = -ECANCELED;
	}
	return err;
}
