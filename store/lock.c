/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store's lock: taking it, releasing it, and yielding it to others. */
#include "lock.h"

#include <errno.h>

#include "engine.h"
#include "mark.h"

enum {
	TRIM_AT_UNLOCK = 64, /* blocks freed at an unlock, at most */
	YIELD_NAPS = 20,
	YIELD_NS = 50000,
};

/* ---- How long it is held ------------------------------------------------ */

#ifdef NDEBUG

static void hold_begin(struct store *store)
{
}

static void hold_end(struct store *store)
{
}

int store_on_unlock(struct store *store, store_hold_fn *fn, void *arg)
{
	return -EOPNOTSUPP;
}

#else

/* Return the processor time of the calling thread in nanoseconds. */
static int64_t thread_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void hold_begin(struct store *store)
{
	if (!store->hold_fn)
		return;
	store->hold_since = thread_ns();
	store->work_before = store->work;
}

static void hold_end(struct store *store)
{
	/* hold_since is 0 if the lock was taken before fn was set. */
	if (store->hold_fn && store->hold_since)
		store->hold_fn(store->hold_arg, thread_ns() - store->hold_since,
		               store->work - store->work_before);
	store->hold_since = 0;
}

int store_on_unlock(struct store *store, store_hold_fn *fn, void *arg)
{
	store_lock(store);
	store->hold_fn = fn;
	store->hold_arg = arg;
	store->hold_since = 0;
	store_unlock(store);
	return 0;
}

#endif

/* ---- The lock ----------------------------------------------------------- */

static __thread bool background;

void store_background(void)
{
	background = true;
}

uint64_t store_holds(const struct store *store)
{
	return store->holds;
}

void store_lock(struct store *store)
{
	if (pthread_mutex_trylock(&store->lock)) {
		atomic_fetch_add(&store->lock_waiters, 1);
		pthread_mutex_lock(&store->lock);
		atomic_fetch_sub(&store->lock_waiters, 1);
	}
	store->holds += !background;
	hold_begin(store);
	if (store->options.beside)
		view_renew(store);
}

void store_unlock(struct store *store)
{
	if (store->reader)
		disk_read_end(&store->disk, steal(&store->reader));
	if (store->clean_bytes > store->clean_limit)
		block_trim(store, TRIM_AT_UNLOCK);
	hold_end(store);
	pthread_mutex_unlock(&store->lock);
}

void lock_wait(struct store *store, pthread_cond_t *cond,
               const struct timespec *until)
{
	hold_end(store);
	if (until)
		pthread_cond_timedwait(cond, &store->lock, until);
	else
		pthread_cond_wait(cond, &store->lock);
	hold_begin(store);
}

int store_yield(struct store *store)
{
	const struct timespec nap = {0, YIELD_NS};
	bool (*cancelled)(void) = atomic_load(&store->cancelled);

	for (int i = 0; i < YIELD_NAPS && atomic_load(&store->lock_waiters);
	     i++)
		nanosleep(&nap, NULL);
	return cancelled && cancelled() ? -EINTR : 0;
}

void store_on_yield(struct store *store, bool (*fn)(void))
{
	atomic_store(&store->cancelled, fn);
}
