/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON lines: one object a line over a socket, with a file descriptor attached
 * if a request needs one.  Both ends of the control socket use them.
 */
#ifndef COPPICE_JSON_LINE_H
#define COPPICE_JSON_LINE_H

#include <jansson.h>
#include <stddef.h>

enum { LINE_MAX_LEN = 64 * 1024 }; /* bytes of a line with its newline */

struct json_line_reader {
	int socket;
	int fd;       /* received, for the caller to take; -1: none */
	size_t len;   /* bytes of data received */
	size_t taken; /* bytes of data returned to the caller */
	char *data;   /* LINE_MAX_LEN */
};

/* Allocate the buffer; the socket stays the caller's.  -ENOMEM. */
int json_line_reader_init(struct json_line_reader *reader, int socket);
void json_line_reader_release(struct json_line_reader *reader);
/*
 * Return the next line without its newline; the line is valid until the next
 * call.  -EPIPE: the other end has closed; -EMSGSIZE: too long; -ETIMEDOUT: the
 * line did not arrive within timeout_ms (-1: no limit).
 */
int json_line_read(struct json_line_reader *reader, int timeout_ms,
                   char **ret_line, size_t *ret_len);
/*
 * Write an object as a line, with a descriptor if fd >= 0.  -EPIPE: the other
 * end has closed; -EMSGSIZE: too long; -ETIMEDOUT: the other end does not read.
 */
int json_line_write(int socket, json_t *object, int fd, int timeout_ms);

#endif
