/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests that are longer than a line of the control socket.  The line is then
 * {"verb": ..., "attached": true}, and the whole request is in a sealed memory
 * file that comes with it.
 */
#ifndef COPPICE_LONG_REQUEST_H
#define COPPICE_LONG_REQUEST_H

#include <jansson.h>

enum { LONG_REQUEST_MAX = 64 << 20 }; /* bytes */

/* Send a request as json_line_write() does, attached if it is too long. */
int long_request_send(int socket, json_t *request, int timeout_ms);
/*
 * Replace a request by what is attached to it.  -EINVAL: the descriptor is not
 * a sealed memory file with a request for the same verb; -EMSGSIZE; -ENOMEM.
 */
int long_request_load(json_t **request, int fd);

#endif
