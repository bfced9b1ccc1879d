/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Run threads that are simulated in one, in every order there is up to a bound,
 * with a clock that is simulated, too.
 *
 * A thread goes on until it waits; then the next one that can goes on, in turn.
 * At each point one or more of the threads that would be next may be passed
 * over: an order is described by where that is done, and all orders are run
 * with up to so many.  (Emmi, Qadeer, Rakamarić: Delay-bounded scheduling,
 * 2011.) Time passes when all threads wait, or, as one more thread to be
 * chosen, when a wait ends before threads that could run have run.
 */
#ifndef COPPICE_EXPLORE_H
#define COPPICE_EXPLORE_H

#include <stdbool.h>
#include <stdint.h>

/* Run main_fn as the first thread in each order; return how many there were. */
uint64_t explore(void (*main_fn)(void), unsigned delays, int64_t from_ns);
/* The same in `runs` orders that are drawn from the seed. */
void explore_random(void (*main_fn)(void), unsigned runs, uint64_t seed);

/* Start another thread. Threads still there when main_fn returns are an error.
 */
int explore_spawn(void *(*fn)(void *), void *arg);
bool explore_ended(int thread);
/* Others may run here. */
void explore_point(void);
/*
 * Wait until ready(arg), or, if until_ns >= 0, for that time.  Return whether
 * it became ready.
 */
bool explore_wait(bool (*ready)(void *arg), void *arg, int64_t until_ns);
int64_t explore_now(void); /* ns; 0 at the beginning of each run */
int explore_self(void);

/* Fail, and print what order led to it. */
void explore_fail(const char *what) __attribute__((noreturn));
#define explore_assert(condition)                                              \
	((condition) ? (void)0 : explore_fail(#condition))

#endif
