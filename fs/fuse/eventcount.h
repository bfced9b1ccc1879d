/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An event count: one thread sleeps until others have changed shared data, and
 * no change is lost between its last look and its sleep.
 *
 * The sleeper calls eventcount_prepare(), looks again, and then calls
 * eventcount_wait() or eventcount_cancel().  Others change the data and then
 * call eventcount_notify(), which costs one load while no thread sleeps.  Both
 * sides write first and read second, in one order for all threads: either the
 * sleeper sees the change, or the other one sees the sleeper.
 */
#ifndef COPPICE_EVENTCOUNT_H
#define COPPICE_EVENTCOUNT_H

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct eventcount {
	atomic_bool sleeping;
	int fd; /* eventfd */
};

static inline int eventcount_init(struct eventcount *event)
{
	atomic_init(&event->sleeping, false);
	event->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return event->fd < 0 ? -errno : 0;
}

static inline void eventcount_release(struct eventcount *event)
{
	if (event->fd >= 0)
		close(event->fd);
}

/* End the present or the next wait, with or without a prepare before it. */
static inline void eventcount_wake(struct eventcount *event)
{
	/* Fails only if the counter is full: then the event is set. */
	if (eventfd_write(event->fd, 1) < 0)
		return;
}

/* End a wait that has been prepared. */
static inline void eventcount_notify(struct eventcount *event)
{
	if (atomic_load(&event->sleeping) &&
	    atomic_exchange(&event->sleeping, false))
		eventcount_wake(event);
}

static inline void eventcount_prepare(struct eventcount *event)
{
	atomic_store(&event->sleeping, true);
}

static inline void eventcount_cancel(struct eventcount *event)
{
	atomic_store(&event->sleeping, false);
}

/*
 * Sleep for timeout_ms (-1: without limit), unless woken.  May return early.
 * Only a prepared wait is ended by eventcount_notify().
 */
static inline void eventcount_wait(struct eventcount *event, int timeout_ms)
{
	struct pollfd p = {event->fd, POLLIN, 0};
	eventfd_t count;

	if (poll(&p, 1, timeout_ms) > 0)
		eventfd_read(event->fd, &count);
	atomic_store(&event->sleeping, false);
}

#endif
