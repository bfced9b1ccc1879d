/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command's end of a control socket; the daemon's end is connection.h.
 * See control.h for requests and answers.
 */
#ifndef COPPICE_DAEMON_CLIENT_H
#define COPPICE_DAEMON_CLIENT_H

#include "control.h"

/*
 * Connect to the daemon that has the store open.  -ENOENT: there is none.
 */
int daemon_client_connect(const char *store_path, int *ret_fd);
/*
 * Send the request, with a descriptor if fd >= 0, and read the answer, as
 * control_run() returns it.  -EAGAIN: the daemon ended before it had received
 * the request; -EPIPE: it ended afterwards, and the request may have been done.
 */
int daemon_client_call(int socket, json_t *request, int fd, control_row_fn *fn,
                       void *arg, json_t **ret_answer);
/*
 * Return true if the answer is the refusal of a daemon that is ending: the
 * request was not done and can be sent to the next daemon.
 */
bool daemon_client_is_ending(const json_t *answer);

#endif
