/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who does what a verb asks: the daemon that has the store open or, if there
 * is none, this process itself.
 *
 * The functions complain themselves and return an exit code.
 */
#ifndef COPPICE_STORE_ACCESS_H
#define COPPICE_STORE_ACCESS_H

#include <stdbool.h>
#include "daemon_client.h"

struct store_access {
	const char *path; /* of the store; the caller's */
	bool reads;       /* as store_access_open() was told */
	int socket;       /* to the daemon; -1: the store is open here */
	struct store *store;
	struct forest *forest;
	struct fs *fs;
};

/*
 * A request: the verb, then keys and names in turn, then NULL.  A key whose
 * name is NULL is left out.  NULL: out of memory.
 */
json_t *request_new(const char *verb, ...) __attribute__((sentinel));

/* reads: no request will change anything; then a read-only disk will do. */
int store_access_open(struct store_access *access, const char *path,
                      bool reads);
/*
 * Do the request, which is released.  Rows go to fn (NULL: there are none).
 * ret_answer may be NULL.  A daemon that ends meanwhile is waited for, some
 * seconds, and the request done by its successor or here, unless it may have
 * been done already and changes something.
 */
int store_access_call(struct store_access *access, json_t *request,
                      control_row_fn *fn, void *arg, json_t **ret_answer);
/*
 * The same for the verb "copy", whose result is written to the empty file fd.
 * It is begun anew, in the emptied file, if the daemon ends meanwhile.
 */
int store_access_copy(struct store_access *access, int fd, control_row_fn *fn,
                      void *arg, json_t **ret_answer);
/*
 * Replace the name of a state, which may be a position, by the state's full
 * name, which is none: for what is changed by position.
 */
int store_access_find_name(struct store_access *access, char **name);
/* What was changed is durable, or the complaint is made. */
int store_access_close(struct store_access *access);

/*
 * Request and close in one: for verbs that have but one.  `request` may be
 * NULL: out of memory.
 */
int store_request(const char *path, bool reads, json_t *request,
                  control_row_fn *fn, void *arg, json_t **ret_answer);

/* A state's name in an answer, to be freed. */
int answer_name(const json_t *answer, const char *key, char **ret_name);

#endif
