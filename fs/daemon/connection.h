/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's end of a control socket's connections; the command's end is
 * daemon_client.h.
 */
#ifndef COPPICE_CONNECTION_H
#define COPPICE_CONNECTION_H

#include <jansson.h>
#include <stdbool.h>

struct daemon;

struct connection {
	struct daemon *daemon;
	int socket; /* -1: this slot is free */
	int wake;   /* eventfd: the daemon's state has changed */
	/* Guarded by daemon->lock: */
	bool serving; /* a verb is running for this connection */
	int fd;       /* of the verb's request; -1: none */
	bool cut;     /* the daemon is ending, and has shut `fd` down */
};

/* Thread function: answer the requests of one connection until it ends. */
void *connection_main(void *connection);
/*
 * Return the answer of a daemon that is ending (daemon_client_is_ending());
 * NULL: no memory.
 */
json_t *connection_refusal(void);

#endif
