/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process that has a store open: it listens on the store's control socket
 * and serves the mounts that are handed to it, until the last has ended.
 */
#ifndef COPPICE_DAEMON_H
#define COPPICE_DAEMON_H

#include <pthread.h>
#include <stdbool.h>

#include "daemon_client.h"
#include "session.h"

enum { CONNECTIONS_MAX = 64 };

struct daemon;

struct connection {
	struct daemon *daemon;
	int socket;   /* -1: a free place */
	int wake;     /* eventfd: something of the daemon has changed */
	bool serving; /* a verb is at work for it; daemon's lock */
};

struct daemon {
	struct store *store;
	struct forest *forest;
	struct fs *fs;
	struct mounts mounts;
	int listen;  /* -1: no more */
	int signals; /* signalfd */
	int wake;    /* eventfd for the main loop */
	uid_t owner; /* of the store: who may ask */
	int64_t started;
	pthread_mutex_t lock; /* guards what follows; taken first of all */
	pthread_cond_t idle;
	unsigned busy;     /* clients at work on the store */
	unsigned mounting; /* of them, with a new mount */
	unsigned connected;
	int sessions; /* that have begun and not ended */
	bool mounted; /* there was one */
	bool left;    /* a client came and went */
	bool ending;  /* nothing new is begun */
	bool closed;  /* the store is closed */
	int close_err;
	struct store_loss loss; /* with close_err */
	struct connection connections[CONNECTIONS_MAX];
};

/* Block what daemon_create() takes over; before any thread is started. */
void daemon_block_signals(void);

/*
 * Open the store and listen.  A failure is told in one sentence, to be freed;
 * -EBUSY: another process has the store open.
 */
int daemon_create(const struct mount_options *options,
                  struct daemon **ret_daemon, char **ret_error);
/*
 * Serve until the last mount has ended, or a signal; then close the store.
 * Returns an error when not everything could be saved.
 */
int daemon_run(struct daemon *daemon);
/* Return a sentence that says what was lost with this error; to be freed. */
char *daemon_loss_text(const struct daemon *daemon, int err);
/* End daemon_run() from another thread. */
void daemon_stop(struct daemon *daemon);
void daemon_destroy(struct daemon *daemon); /* takes NULL */

/* ---- Between daemon.c and connection.c ------------------------------- */

/* Wake the main loop and all clients that wait.  Lock held. */
void daemon_changed(struct daemon *daemon);
/* Work on the store begins; -EAGAIN: the daemon is ending. */
int daemon_begin(struct daemon *daemon, bool mounting);
void daemon_end(struct daemon *daemon, bool mounting);
/* A session is about to begin (1) or did not (-1). */
void daemon_count(struct daemon *daemon, int sessions);
/* Return the answer of a daemon that is ending: see control_is_ending(). */
json_t *connection_refusal(void);
/* Answer the requests of one client; the thread's function. */
void *connection_main(void *arg);

#endif
