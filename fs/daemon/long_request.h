/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests that are longer than a line of the control socket.  The line is then
 * {"verb": ..., "attached": true}, and the whole request is in a sealed memory
 * file that comes with it.  If the request has a descriptor, the line also has
 * "descriptor": true, and a second line {"descriptor": true} brings it.
 */
#ifndef COPPICE_LONG_REQUEST_H
#define COPPICE_LONG_REQUEST_H

#include "json_line.h"

enum { LONG_REQUEST_MAX = 64 << 20 }; /* bytes */

/* Send a request as json_line_write() does, attached if it is too long. */
int long_request_send(int socket, json_t *request, int fd, int timeout_ms);
/*
 * Replace a request that came with reader->fd by what is attached to it, and
 * that descriptor by the request's own (-1: none).  -EINVAL: it was not a
 * sealed memory file with a request for the same verb; -EMSGSIZE; -ENOMEM; or
 * an error of json_line_read().
 */
int long_request_load(json_t **request, struct json_line_reader *reader,
                      int timeout_ms);

#endif
