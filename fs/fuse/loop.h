/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads that read requests from a descriptor and handle them.
 *
 * A worker reads a request, counts it, notifies the watcher, handles the
 * request, counts again.  The watcher waits for a tick and looks at the counts.
 * When no count has changed for some ticks, the watcher sleeps until it is
 * notified.  A worker that announces a long wait (loop_stall()) wakes the
 * watcher before the tick.  The watcher starts a worker when requests wait that
 * no worker reads, and hands out a token when there is one worker too many; a
 * worker that finishes a request and finds a token takes it and ends.  The loop
 * has no locks that a thread could wait for.
 *
 * The watcher's states and their transitions:
 *
 *   TICKING   waits for one tick     -> TICKING, if a count changed or a
 *                                       request is being handled
 *                                    -> DROWSY, after IDLE_TICKS without
 *   DROWSY    has announced that it will sleep, and looks once more
 *                                    -> TICKING, if a count changed
 *                                    -> ASLEEP
 *   ASLEEP    waits to be notified   -> TICKING, by a worker's first request
 *   STOPPING  interrupts workers that read, once a tick, until all have ended
 *
 * A worker that ends or stalls, and loop_stop(), wake the watcher in any state.
 */
#ifndef COPPICE_LOOP_H
#define COPPICE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct loop;

enum {
	LOOP_REQUEST_MAX = (1 << 20) + 4096, /* bytes of the largest request */
	LOOP_WORKERS_MAX = 64,
	LOOP_HEAD = 40, /* bytes of a request in a report */
};

/* A request that a worker has been busy with for a while. */
struct loop_busy {
	pid_t thread;
	int64_t since;           /* mono_ns(), up to a second too large */
	uint8_t head[LOOP_HEAD]; /* first bytes of the request */
};

struct loop_ops {
	/*
	 * Handle the request of len bytes, which may be extended in place by
	 * LOOP_GROWTH bytes.  Return false to read no more requests.
	 */
	bool (*handle)(void *arg, void *request, size_t len);
	/*
	 * Called by the watcher about once a second while there are requests,
	 * with the requests that are older than the last call.  Return true to
	 * be called again in a second even without requests.
	 */
	bool (*inspect)(void *arg, const struct loop_busy *busy, size_t count);
};

enum { LOOP_GROWTH = 8 };

/* Create a loop; the caller still owns ops.  -ENOMEM, -EMFILE. */
int loop_create(const struct loop_ops *ops, void *arg, struct loop **ret_loop);
void loop_destroy(struct loop *loop); /* takes NULL */

/*
 * Limit the time that waking a processor takes, while requests follow each
 * other closely (see cpu_latency.h); before loop_run().
 */
void loop_limit_cpu_latency(struct loop *loop);

/*
 * Handle requests read from fd until there are no more (fd is closed at its
 * other end, or fails), handle() returns false, or loop_stop() is called.  The
 * calling thread is the watcher.
 */
void loop_run(struct loop *loop, int fd);
/* End loop_run(), from any thread. */
void loop_stop(struct loop *loop);

/*
 * Return the request that the calling worker handles; NULL in any other thread.
 */
const void *loop_request(void);
/*
 * Interrupt a request by the number that handle() has set with
 * loop_set_number().  Handlers check loop_interrupted() where they can stop.
 */
void loop_set_number(uint64_t number);
void loop_interrupt(struct loop *loop, uint64_t number);
bool loop_interrupted(void);
/*
 * Announce that the calling worker begins or ends a wait that may be long.
 * Meanwhile another worker takes its place.  Ignored in other threads.
 */
void loop_stall(bool begins);

#endif
