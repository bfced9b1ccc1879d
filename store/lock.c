/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store's lock: taking it, releasing it, and yielding it to others. */
#include "lock.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>

#include "engine.h"
#include "mark.h"

enum {
	TRIM_AT_UNLOCK = 64, /* blocks freed at an unlock, at most */
	YIELD_NAPS = 20,
	YIELD_NS = 50000,
	SHARERS = 16, /* counters of threads that share the lock */
	SPINS = 200,  /* reads of a counter before the processor is yielded */
	CACHE_LINE = 64,
};

/* ---- Measuring holds ---------------------------------------------------- */

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

/* ---- Sharing it --------------------------------------------------------- */

/*
 * Threads that share the lock are counted, each in one of several counters, so
 * that they do not write to the same cache line.  The thread that takes the
 * lock for itself sets `exclusive`, and waits until all counters are zero.
 * The wait is short: threads that share the lock neither sleep nor read a file.
 */
struct sharers {
	struct {
		_Alignas(CACHE_LINE) atomic_uint inside;
	} at[SHARERS];
};

__thread bool lock_is_shared;

int sharers_create(struct sharers **ret_sharers)
{
	struct sharers *sharers = aligned_alloc(CACHE_LINE, sizeof(*sharers));

	if (!sharers)
		return -ENOMEM;
	for (int i = 0; i < SHARERS; i++)
		atomic_init(&sharers->at[i].inside, 0);
	*ret_sharers = sharers;
	return 0;
}

/* Return the counter of the calling thread. */
static atomic_uint *sharer(struct sharers *sharers)
{
	uint64_t h = (uintptr_t)&lock_is_shared * 0x9e3779b97f4a7c15;

	return &sharers->at[h >> 60].inside;
}
_Static_assert(SHARERS == 1 << (64 - 60), "four bits of the hash");

static void exclusive_begin(struct store *store)
{
	if (!store->sharers)
		return;
	atomic_store(&store->exclusive, true);
	for (int i = 0; i < SHARERS; i++)
		for (int n = 0; atomic_load(&store->sharers->at[i].inside); n++)
			if (n >= SPINS)
				sched_yield();
}

static void exclusive_end(struct store *store)
{
	if (store->sharers)
		atomic_store(&store->exclusive, false);
}

/* Wait until no thread has the lock for itself. */
static void shared_wait(struct store *store, atomic_uint *inside)
{
	atomic_fetch_sub(inside, 1);
	atomic_fetch_add(&store->lock_waiters, 1);
	pthread_mutex_lock(&store->lock);
	atomic_fetch_sub(&store->lock_waiters, 1);
	atomic_fetch_add(inside, 1);
	pthread_mutex_unlock(&store->lock);
}

int store_lock_shared(struct store *store)
{
	atomic_uint *inside = sharer(store->sharers);

	atomic_fetch_add(inside, 1);
	/* If `exclusive` is set later, its setter waits for this thread. */
	if (atomic_load(&store->exclusive))
		shared_wait(store, inside);
	if (store->options.beside && !view_is_newest(store)) {
		atomic_fetch_sub(inside, 1);
		return -EAGAIN;
	}
	lock_is_shared = true;
	return 0;
}

void store_unlock_shared(struct store *store)
{
	lock_is_shared = false;
	atomic_fetch_sub(sharer(store->sharers), 1);
}

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
	exclusive_begin(store);
	if (!background) {
		store->holds++;
		atomic_store_explicit(&store->holder_cpu, sched_getcpu(),
		                      memory_order_relaxed);
	}
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
	exclusive_end(store);
	pthread_mutex_unlock(&store->lock);
}

void lock_wait(struct store *store, pthread_cond_t *cond,
               const struct timespec *until)
{
	void (*stalls)(bool) = atomic_load(&store->stalls);

	if (stalls)
		stalls(true);
	hold_end(store);
	exclusive_end(store);
	if (until)
		pthread_cond_timedwait(cond, &store->lock, until);
	else
		pthread_cond_wait(cond, &store->lock);
	exclusive_begin(store);
	hold_begin(store);
	if (stalls)
		stalls(false);
}

void lock_wait_ns(struct store *store, pthread_cond_t *cond, int64_t ns)
{
	int64_t until = mono_ns() + ns;

	lock_wait(store, cond,
	          &(struct timespec){until / 1000000000, until % 1000000000});
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

void store_on_stall(struct store *store, void (*fn)(bool begins))
{
	atomic_store(&store->stalls, fn);
}
