/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "explore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "scratch.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(WITH_ASAN)
#include <sanitizer/common_interface_defs.h>
#else
#define __sanitizer_start_switch_fiber(save, bottom, size) ((void)(save))
#define __sanitizer_finish_switch_fiber(save, bottom, size) ((void)(save))
#endif

enum {
	THREADS = 16,
	STACK = 256 << 10,
	STEPS_MAX = 1 << 20, /* a run that takes more does not end */
};

/* A stack that can be switched to. */
struct fiber {
	ucontext_t context;
	const void *bottom;
	size_t size;
};

struct thread {
	struct fiber fiber;
	void *stack;
	void *(*fn)(void *);
	void *arg;
	bool ended;
	bool (*ready)(void *arg); /* it waits for this */
	void *ready_arg;
	int64_t until; /* or for this time; -1: not */
	bool timed_out;
};

/* A choice made in a run: which of so many. */
struct choice {
	uint16_t taken, count;
};

static struct {
	struct thread threads[THREADS];
	int count, self;
	int64_t now, from;
	struct fiber scheduler;
	struct choice *choices;
	size_t choices_len, choices_room, replay;
	unsigned steps, delays, spent;
	bool random;
	uint64_t seed;
} x;

static void print_order(void)
{
	fprintf(stderr, "the order: steps passed over");
	for (size_t i = 0; i < x.choices_len; i++) {
		if (x.choices[i].taken)
			fprintf(stderr, " %zu:%u", i, x.choices[i].taken);
	}
	fprintf(stderr, "; at %" PRId64 " us, thread %d\n", x.now / 1000,
	        x.self);
}

void explore_fail(const char *what)
{
	fprintf(stderr, "%s\n", what);
	print_order();
	abort();
}

/* ---- Threads ------------------------------------------------------------ */

/*
 * Switch stacks, and return when something switches back.  AddressSanitizer is
 * informed; it knows less of swapcontext(), and warns of it.
 */
static void fiber_switch(struct fiber *from, struct fiber *to)
{
	volatile bool back = false;
	void *fake = NULL;

	getcontext(&from->context);
	if (!back) {
		back = true;
		__sanitizer_start_switch_fiber(&fake, to->bottom, to->size);
		setcontext(&to->context);
	}
	__sanitizer_finish_switch_fiber(fake, NULL, NULL);
}

static void thread_begin(void)
{
	struct thread *t = &x.threads[x.self];

	__sanitizer_finish_switch_fiber(NULL, &x.scheduler.bottom,
	                                &x.scheduler.size);
	t->fn(t->arg);
	t->ended = true;
	fiber_switch(&t->fiber, &x.scheduler);
}

int explore_spawn(void *(*fn)(void *), void *arg)
{
	struct thread *t = &x.threads[x.count];

	if (x.count == THREADS)
		explore_fail("too many threads");
	if (!t->stack)
		t->stack = malloc(STACK);
	t->fn = fn;
	t->arg = arg;
	t->ready = NULL;
	t->until = -1;
	t->ended = false;
	t->fiber.bottom = t->stack;
	t->fiber.size = STACK;
	getcontext(&t->fiber.context);
	t->fiber.context.uc_stack.ss_sp = t->stack;
	t->fiber.context.uc_stack.ss_size = STACK;
	makecontext(&t->fiber.context, thread_begin, 0);
	return x.count++;
}

bool explore_ended(int thread)
{
	return x.threads[thread].ended;
}

int explore_self(void)
{
	return x.self;
}

int64_t explore_now(void)
{
	return x.now;
}

void explore_point(void)
{
	fiber_switch(&x.threads[x.self].fiber, &x.scheduler);
}

static bool never(void *arg)
{
	return false;
}

bool explore_wait(bool (*ready)(void *arg), void *arg, int64_t until_ns)
{
	struct thread *t = &x.threads[x.self];

	t->ready = ready ? ready : never;
	t->ready_arg = arg;
	t->until = until_ns;
	t->timed_out = false;
	fiber_switch(&t->fiber, &x.scheduler);
	return !t->timed_out;
}

/* ---- The scheduler ------------------------------------------------------ */

static bool can_run(struct thread *t)
{
	return !t->ended && (!t->ready || t->ready(t->ready_arg) ||
	                     (t->until >= 0 && t->until <= x.now));
}

/* Choose a thread to go on: those that can run, in turn, then the next by time.
 */
static unsigned list_next(int next[THREADS + 1])
{
	unsigned count = 0;
	int timed = -1;

	for (int i = 0; i < x.count; i++) {
		int id = (x.self + i) % x.count;
		struct thread *t = &x.threads[id];

		if (can_run(t))
			next[count++] = id;
		else if (!t->ended && t->until >= 0 &&
		         (timed < 0 || t->until < x.threads[timed].until))
			timed = id;
	}
	if (timed >= 0)
		next[count++] = timed;
	return count;
}

static unsigned choose(unsigned count)
{
	unsigned taken = 0, left = x.delays - x.spent;
	size_t at = x.choices_len;

	if (x.random)
		return scratch_random(&x.seed) % 4
		               ? 0
		               : (unsigned)(scratch_random(&x.seed) % count);
	if (count == 1 || x.now < x.from)
		return 0;
	count = count > left + 1 ? left + 1 : count;
	if (at == x.choices_room) {
		x.choices_room = x.choices_room ? 2 * x.choices_room : 1024;
		x.choices =
		        realloc(x.choices, x.choices_room * sizeof(*x.choices));
	}
	if (at < x.replay)
		taken = x.choices[at].taken;
	x.choices[at].taken = (uint16_t)taken;
	x.choices[at].count = (uint16_t)count;
	x.choices_len++;
	x.spent += taken;
	return taken;
}

static void thread_run(int id)
{
	struct thread *t = &x.threads[id];

	x.self = id;
	if (t->ready) {
		if (t->until > x.now && !t->ready(t->ready_arg))
			x.now = t->until;
		t->timed_out = !t->ready(t->ready_arg);
		t->ready = NULL;
		t->until = -1;
	}
	fiber_switch(&x.scheduler, &t->fiber);
}

static void run_once(void (*main_fn)(void))
{
	int next[THREADS + 1];

	x.count = x.self = 0;
	x.now = 0;
	x.steps = x.spent = 0;
	x.choices_len = 0;
	explore_spawn((void *(*)(void *))(void (*)(void))main_fn, NULL);
	while (!x.threads[0].ended) {
		unsigned count = list_next(next);

		if (count == 0)
			explore_fail("all threads wait for ever");
		if (++x.steps > STEPS_MAX)
			explore_fail("no end in sight");
		thread_run(next[choose(count)]);
	}
	for (int i = 0; i < x.count; i++) {
		if (!x.threads[i].ended)
			explore_fail("a thread is left behind");
	}
}

/* On to the next order; false: that was the last. */
static bool advance(void)
{
	while (x.choices_len) {
		struct choice *last = &x.choices[x.choices_len - 1];

		if (last->taken + 1 < last->count) {
			last->taken++;
			x.replay = x.choices_len;
			return true;
		}
		x.choices_len--;
	}
	return false;
}

static void forget(void)
{
	free(x.choices);
	for (int i = 0; i < THREADS; i++)
		free(x.threads[i].stack);
	memset(&x, 0, sizeof(x));
}

uint64_t explore(void (*main_fn)(void), unsigned delays, int64_t from_ns)
{
	uint64_t runs = 0;

	x.delays = delays;
	x.from = from_ns;
	do {
		run_once(main_fn);
		runs++;
	} while (advance());
	forget();
	return runs;
}

void explore_random(void (*main_fn)(void), unsigned runs, uint64_t seed)
{
	x.random = true;
	x.seed = seed;
	while (runs--)
		run_once(main_fn);
	forget();
}
