/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store's lock, for the functions that hold it.  Inside store/ only. */
#ifndef COPPICE_LOCK_H
#define COPPICE_LOCK_H

#include "engine.h"

/* True while the calling thread shares the lock. */
extern __thread bool lock_is_shared __attribute__((tls_model("initial-exec")));

/* Allocate the counters of the threads that share the lock.  -ENOMEM. */
int sharers_create(struct sharers **ret_sharers);

/* Count a look-up of a block or record: see store_on_unlock(). */
static inline void count_work(struct store *store)
{
#ifndef NDEBUG
	if (!lock_is_shared)
		store->work++;
#endif
}

/*
 * Wait on the condition, until a time of CLOCK_MONOTONIC unless it is NULL. The
 * lock is released meanwhile.
 */
void lock_wait(struct store *store, pthread_cond_t *cond,
               const struct timespec *until);
/* Do the same for `ns` nanoseconds at most. */
void lock_wait_ns(struct store *store, pthread_cond_t *cond, int64_t ns);

#endif
