/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames of imports and exports on a socket. */
#include "import_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "util.h"

enum {
	FLUSH_AT = 192 << 10, /* bytes; about the size of a socket's buffer */
	BUFFER = FLUSH_AT + IMPORT_HEAD + IMPORT_FRAME_MAX,
};

int stream_init(struct import_stream *s, int socket)
{
	*s = (struct import_stream){.socket = socket};
	s->buffer = malloc(BUFFER);
	return s->buffer ? 0 : -ENOMEM;
}

void stream_release(struct import_stream *s)
{
	free(s->buffer);
	s->buffer = NULL;
}

struct writer *stream_begin(struct import_stream *s, enum import_kind kind)
{
	if (s->len >= FLUSH_AT)
		stream_flush(s);
	s->buffer[s->len + 4] = (uint8_t)kind;
	s->frame =
	        writer_init(s->buffer + s->len + IMPORT_HEAD, IMPORT_FRAME_MAX);
	return &s->frame;
}

int stream_end(struct import_stream *s)
{
	size_t len = writer_len(&s->frame);

	if (s->frame.bad)
		return -E2BIG;
	be32_put(s->buffer + s->len, (uint32_t)len);
	s->len += IMPORT_HEAD + len;
	return s->error;
}

void stream_cancel(struct import_stream *s)
{
	s->frame = (struct writer){0};
}

int stream_flush(struct import_stream *s)
{
	size_t done = 0;

	while (!s->error && done < s->len) {
		ssize_t n = send(s->socket, s->buffer + done, s->len - done,
		                 MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			s->error = -errno;
		done += n < 0 ? 0 : (size_t)n;
	}
	s->len = 0;
	return s->error;
}

int stream_read(struct import_stream *s, void *ret_data, size_t len)
{
	uint8_t *at = ret_data;

	stream_flush(s);
	while (!s->error && len) {
		ssize_t n = read(s->socket, at, len);

		if (!n || (n < 0 && errno != EINTR))
			s->error = n ? -errno : -EPIPE;
		at += n < 0 ? 0 : n;
		len -= n < 0 ? 0 : (size_t)n;
	}
	return s->error;
}

/* ---- Receiving ---------------------------------------------------------- */

int frames_init(struct import_frames *f, int socket)
{
	*f = (struct import_frames){.socket = socket, .room = BUFFER};
	f->buffer = malloc(f->room);
	return f->buffer ? 0 : -ENOMEM;
}

void frames_free(struct import_frames *f)
{
	free(f->buffer);
	f->buffer = NULL;
}

/* Read until the buffer has `len` bytes after the start. */
static int frames_fill(struct import_frames *f, size_t len)
{
	if (f->end - f->start < len && f->start) {
		memmove(f->buffer, f->buffer + f->start, f->end - f->start);
		f->end -= f->start;
		f->start = 0;
	}
	while (f->end - f->start < len) {
		ssize_t n =
		        read(f->socket, f->buffer + f->end, f->room - f->end);

		if (!n || (n < 0 && errno != EINTR))
			return n ? -errno : -EPIPE;
		f->end += n < 0 ? 0 : (size_t)n;
	}
	return 0;
}

int frames_next(struct import_frames *f, enum import_kind *ret_kind,
                struct reader *ret_body)
{
	int err = frames_fill(f, IMPORT_HEAD);
	size_t len;

	if (err)
		return err;
	len = be32_get(f->buffer + f->start);
	if (len > IMPORT_FRAME_MAX)
		return -EPROTO;
	err = frames_fill(f, IMPORT_HEAD + len);
	if (err)
		return err;
	*ret_kind = f->buffer[f->start + 4];
	*ret_body = reader_init(f->buffer + f->start + IMPORT_HEAD, len);
	f->start += IMPORT_HEAD + len;
	return 0;
}
