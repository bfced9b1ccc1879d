/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests that are longer than a line of the control socket.  The line is then
 * {"verb": ..., "attached": true}, and the sealed memory file that comes with
 * the line has the whole request.  If the request has a descriptor, the line
 * also has "descriptor": true, and the descriptor comes with a second line,
 * {"descriptor": true}.
 */
#ifndef COPPICE_LONG_REQUEST_H
#define COPPICE_LONG_REQUEST_H

#include "json_line.h"

enum { LONG_REQUEST_MAX = 64 << 20 }; /* bytes */

/* Send a request as json_line_write() does, attached if it is too long. */
int long_request_send(int socket, json_t *request, int fd, int timeout_ms);
/*
 * Replace *request by the whole request in the file reader->fd, and reader->fd
 * by the request's descriptor (-1: none).  -EINVAL: reader->fd is not a sealed
 * memory file with a request for the same verb, or the descriptor is missing;
 * -EMSGSIZE; -ENOMEM; or an error of json_line_read().
 */
int long_request_load(json_t **request, struct json_line_reader *reader,
                      int timeout_ms);

#endif
