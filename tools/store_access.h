/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Access to a store for the requests of a verb: through the daemon that has the
 * store open, or, if there is none, by opening it in this process.
 *
 * The functions complain about errors and return an exit code.
 */
#ifndef COPPICE_STORE_ACCESS_H
#define COPPICE_STORE_ACCESS_H

#include <stdbool.h>

#include "daemon_client.h"

struct store_access {
	const char *path; /* of the store; the caller's */
	bool reads;       /* no request changes the store */
	int socket;       /* to the daemon; -1: the store is open here */
	struct store *store;
	struct forest *forest;
	struct fs *fs;
};

/*
 * Return a request.  The verb is followed by pairs of keys and names, then
 * NULL.  Pairs whose name is NULL are left out.  NULL: no memory.
 */
json_t *request_new(const char *verb, ...) __attribute__((sentinel));

/*
 * Print the message for an error of store_open() (see store_open_message()).
 * Return the exit code.
 */
int store_complain(const char *action, const char *path, int err);

/*
 * Connect to the store's daemon or open the store.  With `reads`, no request
 * may change the store, which may be on a read-only disk.
 */
int store_access_open(struct store_access *access, const char *path,
                      bool reads);
/*
 * Run the request, and release it.  Rows go to fn (NULL: none is expected);
 * ret_answer may be NULL.  If the daemon ends meanwhile, run the request again,
 * for some seconds, through the next daemon or here, unless it makes changes
 * that may have been made already.
 */
int store_access_call(struct store_access *access, json_t *request,
                      control_row_fn *fn, void *arg, json_t **ret_answer);
/*
 * Run a request, as above, whose errors the caller handles: the answer may be
 * {"error": message, "errno": N}, which is not printed.  EXIT_DONE: there is an
 * answer.
 */
int store_access_ask(struct store_access *access, json_t *request,
                     control_row_fn *fn, void *arg, json_t **ret_answer);
/*
 * Run the verb "copy", which writes to the empty file fd.  If the daemon ends
 * meanwhile, empty the file and start again.
 */
int store_access_copy(struct store_access *access, int fd, control_row_fn *fn,
                      void *arg, json_t **ret_answer);
/*
 * Run the verb "import", which reads from the socket *fd.  The socket is
 * closed, and *fd set to -1.  The request stays the caller's.  *ret_again:
 * nothing has changed because the state was written to meanwhile, or the daemon
 * has ended; the import may be repeated.  The result is then EXIT_DONE without
 * an answer, or that of store_access_open().
 */
int store_access_import(struct store_access *access, json_t *request, int *fd,
                        control_row_fn *fn, void *arg, json_t **ret_answer,
                        bool *ret_again);
/*
 * Run the verb "export", which writes to the socket *fd.  The socket is closed,
 * and *fd set to -1.  The request stays the caller's.
 */
int store_access_export(struct store_access *access, json_t *request, int *fd,
                        json_t **ret_answer);
/*
 * Replace *name, which may be a position, with the state's full name.
 */
int store_access_find_name(struct store_access *access, char **name);
/* Make the changes durable and release everything. */
int store_access_close(struct store_access *access);

/*
 * Open the store, run one request, which is released, and close the store.
 * `request` NULL: no memory.
 */
int store_request(const char *path, bool reads, json_t *request,
                  control_row_fn *fn, void *arg, json_t **ret_answer);

/* Return the name at `key` in an answer, which the caller frees. */
int answer_name(const json_t *answer, const char *key, char **ret_name);

#endif
