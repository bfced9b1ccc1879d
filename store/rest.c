/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Without rests, a scheduler lets the committer run until the next tick, some
 * milliseconds later, even if a caller's answer or a worker's request has come
 * meanwhile.
 */
#include "rest.h"

#include <sched.h>

#include "engine.h"

enum {
	REST_EVERY_NS = 100000,
	REST_NS = 30000, /* about a request and its answer */
};

void store_rest(struct store *store)
{
	static __thread int64_t rested;
	int cpu =
	        atomic_load_explicit(&store->holder_cpu, memory_order_relaxed);

	if (cpu < 0 || !store->options.nice || cpu != sched_getcpu() ||
	    mono_ns() - rested < REST_EVERY_NS)
		return;
	atomic_store_explicit(&store->holder_cpu, -1, memory_order_relaxed);
	nanosleep(&(struct timespec){0, REST_NS}, NULL);
	rested = mono_ns();
}
