/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Orphan cleanup: a thread that frees orphans (orphan.h) that are not open:
 * those that a crash left behind, a fork inherited, or a request left over.
 */
#ifndef COPPICE_ORPHAN_CLEANUP_H
#define COPPICE_ORPHAN_CLEANUP_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fs;

/* The thread, and the states that it has to check. */
struct orphan_cleanup {
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* guards the following fields */
	pthread_cond_t wake;
	pthread_cond_t idle;
	uint64_t *states;
	size_t count, capacity;
	/* Numbers of rounds: see orphan_cleanup_drain(). */
	uint64_t requested, done;
	bool stop;
};

/* Start the thread.  -EAGAIN: no thread can be created. */
int orphan_cleanup_start(struct fs *fs);
/* End the thread, if it was started.  Lock NOT held. */
void orphan_cleanup_stop(struct fs *fs);
/* Let the thread check a state.  -ENOMEM.  The lock is not needed. */
int orphan_cleanup_push(struct fs *fs, uint64_t state);
/* Wait until all states pushed so far have been checked.  Lock NOT held. */
void orphan_cleanup_drain(struct fs *fs);

#endif
