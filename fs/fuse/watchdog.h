/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Watchdog: logs each request that is not answered for WATCHDOG_S seconds, and
 * the positions of all threads of the process, so that a hanging mount leaves a
 * trace.
 *
 * The loop reports requests that a worker handles.  A request whose reply
 * reply_copy() leaves to another thread has a deferral until it is answered.
 */
#ifndef COPPICE_WATCHDOG_H
#define COPPICE_WATCHDOG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"

enum {
	WATCHDOG_S = 30,
	WHEREABOUTS_S = 60, /* seconds between reports of all threads */
};

/* A request as it appears in the log. */
struct watched {
	uint32_t opcode;
	uint32_t pid; /* the caller's; 0: in another pid namespace */
	uint64_t node;
};

/* A reply that another thread sends.  Part of a larger struct. */
struct deferral {
	struct deferral *next, *prev;
	struct watched request;
	int64_t since; /* mono_ns() of the first look at it; 0: none yet */
};

enum watched_kind { WATCHED_SYNC, WATCHED_OTHER, WATCHED_KINDS };

struct watchdog {
	const char *mountpoint; /* the owner's */
	/* mono_ns() of the last report of all threads; shared by all mounts. */
	_Atomic int64_t *threads_logged;
	pthread_mutex_t lock; /* guards the list of deferrals */
	struct deferral *first, *last;
	/*
	 * Requests that were logged and are not answered yet; used by the
	 * watcher alone.
	 */
	bool logged_deferred[WATCHED_KINDS];
	size_t logged_count;
	struct {
		pid_t thread;
		int64_t since;
	} logged[LOOP_WORKERS_MAX];
};

void watchdog_init(struct watchdog *dog, const char *mountpoint,
                   _Atomic int64_t *threads_logged);
void watchdog_release(struct watchdog *dog);

/* Add a deferral.  Called by the worker that handles the request. */
void watchdog_defer(struct watchdog *dog, struct deferral *deferral);
/* Remove a deferral after the reply has been sent.  Called by any thread. */
void watchdog_settle(struct watchdog *dog, struct deferral *deferral);

/*
 * Check the pending requests at the time `now` of mono_ns().  Return true if
 * there are deferrals.
 */
bool watchdog_look(struct watchdog *dog, const struct loop_busy *busy,
                   size_t count, int64_t now);

#endif
