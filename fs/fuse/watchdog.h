/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A look at requests that are not answered: the log gets a line for a request
 * that is older than WATCHDOG_S seconds, and where each thread of the process
 * stands.  A mount that hangs leaves a trace that way.
 *
 * Requests that a worker handles are reported by the loop.  A request whose
 * answer is left to another thread has a deferral meanwhile.
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
	WHEREABOUTS_S = 60, /* between reports of where the threads stand */
};

/* A request as the log names it. */
struct watched {
	uint32_t opcode;
	uint32_t pid; /* the asker's, 0 if it is in another name space */
	uint64_t node;
};

/* An answer that another thread gives.  Part of a larger struct. */
struct deferral {
	struct deferral *next, *prev;
	struct watched request;
	int64_t since; /* 0: not seen yet */
};

enum watched_kind { WATCHED_SYNC, WATCHED_OTHER, WATCHED_KINDS };

struct watchdog {
	const char *mountpoint; /* the owner's */
	/* When the log last got the whereabouts; shared by all mounts. */
	_Atomic int64_t *threads_logged;
	pthread_mutex_t lock; /* guards first, last and what they lead to */
	struct deferral *first, *last;
	/* The watcher's own: what the log has, until all is answered. */
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

/* By the worker that handles the request. */
void watchdog_defer(struct watchdog *dog, struct deferral *deferral);
/* It is about to be answered, by whatever thread. */
void watchdog_settle(struct watchdog *dog, struct deferral *deferral);

/*
 * Look at what is under way at the time `now` of mono_ns().  Return whether
 * answers are deferred.
 */
bool watchdog_look(struct watchdog *dog, const struct loop_busy *busy,
                   size_t count, int64_t now);

#endif
