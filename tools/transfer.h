/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread that sends the data of an import, or receives those of an export.
 * It has one end of a socket pair; the request gets the other one.
 */
#ifndef COPPICE_TRANSFER_H
#define COPPICE_TRANSFER_H

#include <pthread.h>
#include <stdbool.h>

/* Write to the socket, or read from it.  Return 0 or a negative errno. */
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
 * Start the thread, which calls fn, and raise the limit of open files to its
 * maximum, because each level of directories keeps one open.  Complain about
 * errors, and return an exit code.
 */
int transfer_begin(struct transfer *t, transfer_fn *fn, void *arg);
/*
 * Wait for the thread and close the sockets.  With `cut`, shut the thread's
 * socket down first, so that the thread does not wait for more data.
 */
void transfer_end(struct transfer *t, bool cut);

#endif
