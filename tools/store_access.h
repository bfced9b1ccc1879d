/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Access to a store for the requests of a verb: through the daemon that has the
 * store open, or, if there is none, by opening it in this process.
 *
 * The functions complain themselves and return an exit code.
 */
#ifndef COPPICE_STORE_ACCESS_H
#define COPPICE_STORE_ACCESS_H

#include <stdbool.h>

#include "daemon_client.h"

struct store_access {
	const char *path; /* of the store; the caller's */
	bool reads;       /* no request changes anything */
	int socket;       /* to the daemon; -1: the store is open here */
	struct store *store;
	struct forest *forest;
	struct fs *fs;
};

/*
 * Return a request: the verb, then pairs of keys and names, then NULL.  A pair
 * whose name is NULL is left out.  NULL: no memory.
 */
json_t *request_new(const char *verb, ...) __attribute__((sentinel));

/*
 * Print the message for an error of store_open() (see store_open_message()).
 * Return the exit code.
 */
int store_complain(const char *action, const char *path, int err);

/*
 * Connect to the store's daemon or open the store.  With `reads` no request
 * will change anything: then the store may be on a read-only disk.
 */
int store_access_open(struct store_access *access, const char *path,
                      bool reads);
/*
 * Run the request, and release it.  Rows go to fn (NULL: there are none);
 * ret_answer may be NULL.  If the daemon ends meanwhile, wait some seconds and
 * run the request again through the next daemon or here, unless it changes
 * something and may have been done already.
 */
int store_access_call(struct store_access *access, json_t *request,
                      control_row_fn *fn, void *arg, json_t **ret_answer);
/*
 * The same, for a request that may fail with an error that the caller handles:
 * the answer may be {"error": message, "errno": N}, and nothing is printed of
 * it.  Return the exit code; EXIT_DONE: there is an answer.
 */
int store_access_ask(struct store_access *access, json_t *request,
                     control_row_fn *fn, void *arg, json_t **ret_answer);
/*
 * Run the verb "copy", whose result is written to the empty file fd.  If the
 * daemon ends meanwhile, empty the file and start again.
 */
int store_access_copy(struct store_access *access, int fd, control_row_fn *fn,
                      void *arg, json_t **ret_answer);
/*
 * Run the verb "import", whose data come from the socket *fd, which is closed
 * when nothing reads it any more.  The request stays the caller's.
 * *ret_again: nothing has changed, and it may be run once more, because the
 * state was written to meanwhile or the daemon has ended; then the result is
 * EXIT_DONE without an answer.
 */
int store_access_import(struct store_access *access, json_t *request, int *fd,
                        control_row_fn *fn, void *arg, json_t **ret_answer,
                        bool *ret_again);
/*
 * Run the verb "export", whose data go to the socket *fd, which is closed when
 * nothing is written to it any more.  The request stays the caller's.
 */
int store_access_export(struct store_access *access, json_t *request, int *fd,
                        json_t **ret_answer);
/*
 * Replace the name of a state, which may be a position, by the state's full
 * name.
 */
int store_access_find_name(struct store_access *access, char **name);
/* Make the changes durable and release everything. */
int store_access_close(struct store_access *access);

/*
 * Open the store, run one request and close the store.  `request` may be NULL:
 * no memory.
 */
int store_request(const char *path, bool reads, json_t *request,
                  control_row_fn *fn, void *arg, json_t **ret_answer);

/* Return the state's name at `key` in an answer, to be freed. */
int answer_name(const json_t *answer, const char *key, char **ret_name);

#endif
