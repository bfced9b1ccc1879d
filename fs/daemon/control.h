/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests for a store, as JSON: what both ends of the socket and a command
 * that has the store open itself have in common.  See server.h.
 */
#ifndef COPPICE_CONTROL_H
#define COPPICE_CONTROL_H

#include <sys/socket.h>
#include <sys/un.h>

#include "daemon_client.h"
#include "session.h"

enum {
	LINE_MAX_LEN = 64 * 1024, /* of a request or a line of an answer */
	STATE_NAME_MAX = 1024,    /* bytes of anything that names a state */
};

/*
 * As control_run(), for somebody else; mounts (may be NULL) are told what
 * changed.
 */
int control_serve(struct fs *fs, struct mounts *mounts,
                  const struct fs_cred *cred, json_t *request,
                  control_row_fn *fn, void *arg, json_t **ret_answer);

/* {"error": sentence, "errno": N}; err is negative. */
json_t *control_error(int err, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/*
 * The argument `key` of a request as bytes.  -ENOENT: it has none; -EINVAL:
 * not a string, or too long.
 */
int control_bytes(json_t *request, const char *key, char *ret_bytes,
                  size_t size);

/*
 * Where the daemon listens whose store is in the directory (a descriptor): in
 * it, or, if that cannot be written to, at a name without a file.  -ENOENT: no
 * store.
 */
void control_address(int dir, struct sockaddr_un *ret_address);
int control_address_abstract(int dir, struct sockaddr_un *ret_address,
                             socklen_t *ret_len);

/* One end of a connection, reading lines. */
struct json_line_reader {
	int socket;
	int fd; /* that came with the lines, to be taken; -1: none */
	size_t len;
	size_t taken; /* bytes of data given out */
	char *data;   /* LINE_MAX_LEN */
};
/* -ENOMEM */
int json_line_reader_init(struct json_line_reader *reader, int socket);
void json_line_reader_release(struct json_line_reader *reader);
/*
 * The next line, without its end, until the next call.  -EPIPE: the other end
 * has closed; -EMSGSIZE: too long; -ETIMEDOUT: took longer than timeout_ms
 * (-1: no limit).
 */
int json_line_read(struct json_line_reader *reader, int timeout_ms,
                   char **ret_line, size_t *ret_len);
/*
 * Write an object as a line, with a descriptor if fd >= 0.  -EPIPE; -EMSGSIZE;
 * -ETIMEDOUT: the other end does not read.
 */
int json_line_write(int socket, json_t *object, int fd, int timeout_ms);

#endif
