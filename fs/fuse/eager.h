/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Waiting for a request without sleeping, for a moment.  To wake a thread that
 * sleeps on another processor takes longer than most requests do, and who asks
 * one thing often asks the next at once.  Where that is not so, this is soon
 * noticed, and the waiting left to the kernel.
 */
#ifndef COPPICE_EAGER_H
#define COPPICE_EAGER_H

#include <stdatomic.h>

/* All zeroes at first.  Shared by threads: no count has to be exact. */
struct eager {
	atomic_int credit; /* what was won by waiting */
	atomic_uint waits;
	atomic_bool crowded; /* others want the processors */
};

/*
 * Look, now and then, whether there are processors to spare of those that this
 * process may run on.
 */
void eager_look_around(struct eager *eager, unsigned processors);

/* Before a blocking read from fd: wait a moment for it, if that has paid. */
void eager_wait(struct eager *eager, int fd);

#endif
