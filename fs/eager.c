/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A short wait that stops when it does not pay. */
#include "eager.h"

#include <poll.h>
#include <stdbool.h>

#include "util.h"

enum {
	WAIT_NS = 50000, /* about what it takes to wake a thread */
	CREDIT_MAX = 64,
	COST = 4,   /* of a wait in vain, in waits that paid */
	PROBE = 64, /* without credit, every so many reads are waited for */
};

static bool wait_awake(int fd)
{
	struct pollfd p = {fd, POLLIN, 0};
	int64_t end = mono_ns() + WAIT_NS;

	do {
		if (poll(&p, 1, 0) != 0)
			return true;
	} while (mono_ns() < end);
	return false;
}

void eager_look_around(struct eager *eager)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/loadavg", "re");
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	long running;

	/* The asker, the one who waits for it, and this thread may run. */
	if (f && fscanf(f, "%*f %*f %*f %ld/", &running) == 1)
		atomic_store_explicit(&eager->crowded, running > processors + 1,
		                      memory_order_relaxed);
}

void eager_wait(struct eager *eager, int fd)
{
	unsigned waits;
	int credit;

	if (atomic_load_explicit(&eager->crowded, memory_order_relaxed))
		return;
	credit = atomic_load_explicit(&eager->credit, memory_order_relaxed);
	waits = atomic_fetch_add_explicit(&eager->waits, 1,
	                                  memory_order_relaxed);
	if (credit == 0 && waits % PROBE)
		return;
	if (wait_awake(fd))
		credit = MIN(credit + 1, (int)CREDIT_MAX);
	else
		credit = MAX(credit - (int)COST, 0);
	atomic_store_explicit(&eager->credit, credit, memory_order_relaxed);
}
