/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "busy_poll.h"

#include <poll.h>
#include <stdbool.h>

#include "util.h"

enum {
	WAIT_NS = 50000, /* about the time to wake a thread */
	GAP_NS = 3000,   /* much longer than a poll */
	CREDIT_MAX = 64,
	COST = 4,   /* of a failed poll, in successful ones */
	PROBE = 64, /* without credit, one read in PROBE polls */
};

/*
 * Poll fd until it is readable.  Return false on timeout, or if a gap between
 * two polls shows that this thread was off its processor: then the caller runs
 * on the same processor, and polling has only delayed the caller.
 */
static bool wait_awake(int fd)
{
	struct pollfd p = {fd, POLLIN, 0};
	int64_t now = mono_ns(), end = now + WAIT_NS, before;

	do {
		if (poll(&p, 1, 0) != 0)
			return mono_ns() - now < GAP_NS;
		before = now;
		now = mono_ns();
	} while (now < end && now - before < GAP_NS);
	return false;
}

void busy_poll_look_around(struct busy_poll *busy_poll, unsigned processors)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/loadavg", "re");
	unsigned running;

	/* The caller, a process that waits for it, and this thread may run. */
	if (f && fscanf(f, "%*f %*f %*f %u/", &running) == 1)
		atomic_store_explicit(&busy_poll->crowded,
		                      processors == 1 ||
		                              running > processors + 1,
		                      memory_order_relaxed);
}

void busy_poll_wait(struct busy_poll *busy_poll, int fd)
{
	unsigned waits;
	int credit;

	if (atomic_load_explicit(&busy_poll->crowded, memory_order_relaxed))
		return;
	credit = atomic_load_explicit(&busy_poll->credit, memory_order_relaxed);
	waits = atomic_fetch_add_explicit(&busy_poll->waits, 1,
	                                  memory_order_relaxed);
	if (credit == 0 && waits % PROBE)
		return;
	if (wait_awake(fd))
		credit = MIN(credit + 1, (int)CREDIT_MAX);
	else
		credit = MAX(credit - (int)COST, 0);
	atomic_store_explicit(&busy_poll->credit, credit, memory_order_relaxed);
}
