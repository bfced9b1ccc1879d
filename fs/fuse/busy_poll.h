/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Busy polling: waiting a moment for the next request without sleeping.  Waking
 * a thread that sleeps on another processor takes longer than most requests,
 * and a process that makes one request often makes the next at once.  If
 * polling does not pay, the threads soon sleep in the kernel instead.
 */
#ifndef COPPICE_BUSY_POLL_H
#define COPPICE_BUSY_POLL_H

#include <stdatomic.h>

/* All zeroes at first.  Shared by threads; the counts need not be exact. */
struct busy_poll {
	atomic_int credit; /* successful polls, less the cost of the others */
	atomic_uint waits;
	atomic_bool crowded; /* other threads need the processors */
};

/*
 * Update `crowded`; call it now and then.  `processors` is the number of those
 * that this process may run on.
 */
void busy_poll_look_around(struct busy_poll *busy_poll, unsigned processors);

/* Poll fd for a moment before a blocking read, if polling has paid so far. */
void busy_poll_wait(struct busy_poll *busy_poll, int fd);

#endif
