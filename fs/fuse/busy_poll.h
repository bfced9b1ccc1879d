/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Waiting for a request without sleeping, for a moment.  To wake a thread that
 * sleeps on another processor takes longer than most requests do, and who asks
 * one thing often asks the next at once.  Where that is not so, this is soon
 * noticed, and the waiting left to the kernel.
 */
#ifndef COPPICE_BUSY_POLL_H
#define COPPICE_BUSY_POLL_H

#include <stdatomic.h>

/* All zeroes at first.  Shared by threads: no count has to be exact. */
struct busy_poll {
	atomic_int credit; /* what was won by waiting */
	atomic_uint waits;
	atomic_bool crowded; /* others want the processors */
};

/*
 * Look, now and then, whether there are processors to spare of those that this
 * process may run on.
 */
void busy_poll_look_around(struct busy_poll *busy_poll, unsigned processors);

/* Before a blocking read from fd: wait a moment for it, if that has paid. */
void busy_poll_wait(struct busy_poll *busy_poll, int fd);

#endif
