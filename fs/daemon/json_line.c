/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "json_line.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "util.h"

int json_line_reader_init(struct json_line_reader *reader, int socket)
{
	*reader = (struct json_line_reader){.socket = socket, .fd = -1};
	reader->data = malloc(LINE_MAX_LEN);
	return reader->data ? 0 : -ENOMEM;
}

void json_line_reader_release(struct json_line_reader *reader)
{
	close_fd(&reader->fd);
	free(reader->data);
}

/* Keep one descriptor and close any others. */
static void take_descriptors(struct json_line_reader *reader,
                             struct msghdr *msg)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (reader->fd < 0)
				reader->fd = fd;
			else
				close(fd);
		}
	}
}

static int receive(struct json_line_reader *reader, int timeout_ms)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct iovec iov = {reader->data + reader->len,
	                    LINE_MAX_LEN - reader->len};
	struct msghdr msg = {
	        .msg_iov = &iov,
	        .msg_iovlen = 1,
	        .msg_control = &control,
	        .msg_controllen = sizeof(control),
	};
	struct pollfd p = {reader->socket, POLLIN, 0};
	ssize_t n;
	int ready = poll(&p, 1, timeout_ms);

	if (ready < 0)
		return errno == EINTR ? 0 : -errno;
	if (ready == 0)
		return -ETIMEDOUT;
	n = recvmsg(reader->socket, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 0
		       : errno == ECONNRESET             ? -EPIPE
		                                         : -errno;
	take_descriptors(reader, &msg);
	if (n == 0)
		return -EPIPE;
	reader->len += (size_t)n;
	return 0;
}

int json_line_read(struct json_line_reader *reader, int timeout_ms,
                   char **ret_line, size_t *ret_len)
{
	int64_t end = mono_ns() + (int64_t)timeout_ms * 1000000;
	size_t seen = 0;

	memmove(reader->data, reader->data + reader->taken,
	        reader->len - reader->taken);
	reader->len -= reader->taken;
	reader->taken = 0;
	for (;;) {
		char *eol =
		        memchr(reader->data + seen, '\n', reader->len - seen);
		int64_t left = (end - mono_ns()) / 1000000;
		int err;

		if (eol) {
			*ret_line = reader->data;
			*ret_len = (size_t)(eol - reader->data);
			reader->taken = *ret_len + 1;
			return 0;
		}
		seen = reader->len;
		if (reader->len == LINE_MAX_LEN)
			return -EMSGSIZE;
		/* The limit is for the whole line, however it is split. */
		if (timeout_ms >= 0 && left < 0)
			return -ETIMEDOUT;
		err = receive(reader, timeout_ms < 0 ? -1 : (int)left);
		if (err < 0)
			return err;
	}
}

static ssize_t send_part(int socket, const char *data, size_t len, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)data, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	}
	return sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int json_line_write(int socket, json_t *object, int fd, int timeout_ms)
{
	_cleanup_free_ char *text = json_dumps(object, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0;

	if (!text)
		return -ENOMEM;
	if (len >= LINE_MAX_LEN)
		return -EMSGSIZE;
	text[len++] = '\n'; /* replaces the NUL */
	for (size_t sent = 0; sent < len;) {
		struct pollfd p = {socket, POLLOUT, 0};
		ssize_t n = send_part(socket, text + sent, len - sent, fd);

		if (n >= 0) {
			sent += (size_t)n;
			fd = -1;
			continue;
		}
		if (errno == ECONNRESET)
			return -EPIPE;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		n = poll(&p, 1, timeout_ms);
		if (n == 0)
			return -ETIMEDOUT;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
	return 0;
}
