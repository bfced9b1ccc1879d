/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Orphan cleanup: a thread that removes the orphans (orphan.h) which nobody has
 * open, and which a crash left behind or a fork inherited.
 */
#ifndef COPPICE_ORPHAN_CLEANUP_H
#define COPPICE_ORPHAN_CLEANUP_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fs;

/* The thread, and the states that it is to look at. */
struct orphan_cleanup {
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t wake;
	pthread_cond_t idle;
	uint64_t *states;
	size_t count, capacity;
	uint64_t requested, done; /* rounds, for orphan_cleanup_drain() */
	bool stop;
};

/* Start the thread.  -EAGAIN */
int orphan_cleanup_start(struct fs *fs);
/* End the thread, if it was started.  Lock NOT held. */
void orphan_cleanup_stop(struct fs *fs);
/* Add a state to those that the thread looks at.  -ENOMEM */
int orphan_cleanup_push(struct fs *fs, uint64_t state);
/* Return when all states pushed so far have been looked at.  Lock NOT held. */
void orphan_cleanup_drain(struct fs *fs);

#endif
