/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests on an open store.  They run in the process that has the store open:
 * the daemon, or the command if no daemon serves the store.
 *
 * Requests and answers are JSON objects.  A request has a "verb" and the
 * arguments of that verb.  The answer is any number of rows and one last
 * object: {"ok": true, ...} or {"error": message, "errno": N}.  On the control
 * socket each is a line: a row is sent as {"row": {...}}.  A request that is
 * too long for a line is attached to one: see long_request.h.
 */
#ifndef COPPICE_CONTROL_H
#define COPPICE_CONTROL_H

#include <jansson.h>

#include "fs.h"

enum { STATE_NAME_MAX = 1024 }; /* bytes of an argument that names a state */

struct mounts;

/* Called with each row of an answer; a nonzero result ends the request. */
typedef int control_row_fn(void *arg, json_t *row);

/*
 * Run the request for this process's user and pass its rows to fn.  Return 0
 * and the answer's last object, which may be an error, to be json_decref'ed; or
 * a negative errno if fn ended the request or memory is short.
 */
int control_run(struct fs *fs, json_t *request, control_row_fn *fn, void *arg,
                json_t **ret_answer);

/*
 * Run the request for the user `cred`; otherwise as control_run().  The changes
 * are announced to the caches of `mounts` (may be NULL).  `fd` is a descriptor
 * for the verbs that need one, or -1; it stays the caller's.
 */
int control_serve(struct fs *fs, struct mounts *mounts,
                  const struct fs_cred *cred, json_t *request, int fd,
                  control_row_fn *fn, void *arg, json_t **ret_answer);

/*
 * Return {"error": message, "errno": -err}; err is negative.  NULL: no memory.
 */
json_t *control_error(int err, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/*
 * Return the argument `key` of a request as bytes.  -ENOENT: the request does
 * not have it; -EINVAL: not a string; -ENAMETOOLONG.
 */
int control_bytes(json_t *request, const char *key, char *ret_bytes,
                  size_t size);

#endif
