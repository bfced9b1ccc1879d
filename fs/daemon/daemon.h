/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The process that has a store open: it listens on the store's control socket
 * and serves the mounts that are handed to it, until the last has ended.
 */
#ifndef COPPICE_DAEMON_H
#define COPPICE_DAEMON_H

#include <pthread.h>
#include <stdbool.h>

#include "connection.h"
#include "session.h"

enum { CONNECTIONS_MAX = 64 };

struct autosnap;
struct guard;
struct mount_options;

struct daemon {
	struct store *store;
	struct forest *forest;
	struct fs *fs;
	struct mounts mounts;
	struct guard *guard; /* NULL: none could be started */
	struct autosnap *autosnap;
	int listen;           /* listening socket; -1: closed */
	int signals;          /* signalfd */
	int wake;             /* eventfd for the main loop */
	uid_t owner;          /* of the store: allowed to connect, as is root */
	int64_t started;      /* mono_ns() */
	pthread_mutex_t lock; /* guards the fields below; taken first of all */
	pthread_cond_t idle;  /* busy, mounting or connected went down */
	unsigned busy;        /* requests at work on the store */
	unsigned mounting;    /* those of them that start a session */
	unsigned connected;   /* connections */
	int sessions;         /* that have begun and not ended */
	bool mounted;         /* there has been a session */
	bool left;            /* a connection has ended */
	bool ending;          /* no new work is begun */
	bool closed;          /* the store is closed */
	int close_err;        /* the error of closing it */
	struct store_loss loss; /* with close_err */
	struct connection connections[CONNECTIONS_MAX];
};

/*
 * Block the signals that daemon_create() takes over.  Call it before any thread
 * is started.
 */
void daemon_block_signals(void);

/*
 * Start the guard (fs/fuse/guard.h), open the store and listen.  No other
 * thread runs yet.  On failure *ret_error is the error message, to be freed;
 * -EBUSY: another process has the store open.
 */
int daemon_create(const struct mount_options *options,
                  struct daemon **ret_daemon, char **ret_error);
/*
 * Serve until the last mount has ended or a signal arrives; then close the
 * store.  Return an error if not everything could be saved.
 */
int daemon_run(struct daemon *daemon);
/*
 * Return a message that names the changes lost by this error of daemon_run(),
 * to be freed; NULL: no memory.
 */
char *daemon_loss_message(const struct daemon *daemon, int err);
/* End daemon_run() from another thread. */
void daemon_stop(struct daemon *daemon);
void daemon_destroy(struct daemon *daemon); /* takes NULL */

/* ---- For connection.c ---------------------------------------------------- */

/* Wake the main loop and all connections that wait.  Lock held. */
void daemon_changed(struct daemon *daemon);
/* Begin work on the store; -EAGAIN: the daemon is ending. */
int daemon_begin(struct daemon *daemon, bool mounting);
/* End the work that daemon_begin() began. */
void daemon_end(struct daemon *daemon, bool mounting);
/* Add to the number of sessions: 1 begins, -1 ended or did not begin. */
void daemon_count(struct daemon *daemon, int sessions);

#endif
