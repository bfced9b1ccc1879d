/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client's end of a control socket. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "control.h"
#include "util.h"

enum { SEND_TIMEOUT_MS = 30000 };

int control_connect(const char *store_path, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int dir = -1;
	_cleanup_close_ int fd = -1;

	dir = open(store_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* A socket's address is short, a path may be long. */
	snprintf(address.sun_path, sizeof(address.sun_path),
	         "/proc/self/fd/%d/control", dir);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return errno == ECONNREFUSED ? -ENOENT : -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

int control_call(int socket, json_t *request, int fd, control_row_fn *fn,
                 void *arg, json_t **ret_answer)
{
	_cleanup_(line_reader_release) struct line_reader reader;
	int err = line_reader_init(&reader, socket);

	if (err < 0)
		return err;
	err = line_write(socket, request, fd, SEND_TIMEOUT_MS);
	while (err == 0) {
		json_t *object, *row;
		size_t len;
		char *line;

		err = line_read(&reader, -1, &line, &len);
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
