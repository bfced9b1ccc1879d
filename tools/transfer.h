/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread that has one end of a socket pair, while a request is run that is
 * given the other end: the data of an import or an export.
 */
#ifndef COPPICE_TRANSFER_H
#define COPPICE_TRANSFER_H

#include <pthread.h>
#include <stdbool.h>

/* Send to the socket, or read from it.  Return 0 or a negative errno. */
typedef int transfer_fn(void *arg, int socket);

struct transfer {
	transfer_fn *fn;
	void *arg;
	int here;  /* the thread's socket */
	int there; /* the request's; -1 when it is closed */
	int error; /* fn's result, after transfer_end() */
	pthread_t thread;
};

/*
 * Start the thread, which calls fn, and let this process open as many files as
 * it may: a directory is open for each level.  Complain and return the exit
 * code.
 */
int transfer_begin(struct transfer *t, transfer_fn *fn, void *arg);
/*
 * Wait for the thread and close the sockets.  With `cut` the thread does not
 * get what was sent to it and not read yet.
 */
void transfer_end(struct transfer *t, bool cut);

#endif
