/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The threads of fs/fuse/loop.c, run in every order up to a bound: its own
 * code, over a device, a clock and threads that explore.c simulates.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "busy_poll.h"
#include "explore.h"
#include "scratch.h"
#include "util.h"

#define MS INT64_C(1000000)

/* ---- What the loop's code gets instead of the system -------------------- */

enum { DEVICE = 100, EVENT = 101, REQUESTS = 1024 };

enum kind {
	QUICK,
	NEEDS_NEXT, /* is not done before the request after it is */
	SLOW,       /* takes slow_ns */
	STALLS,     /* the same as NEEDS_NEXT, and announces that */
};

static struct {
	enum kind kind[REQUESTS];
	unsigned sent, taken;
	bool done[REQUESTS];
	bool closed; /* the device */
	uint64_t events;
	bool signalled[16];      /* threads */
	unsigned inspected_busy; /* inspections that met a busy worker */
} sim;

static int64_t slow_ns;

static bool device_readable(void *arg)
{
	const bool *signalled = arg;

	return sim.closed || sim.taken < sim.sent || (signalled && *signalled);
}

static ssize_t sim_read(int fd, void *buffer, size_t size)
{
	bool *signalled = &sim.signalled[explore_self()];

	*signalled = false; /* it hit the thread elsewhere */
	explore_wait(device_readable, signalled, -1);
	if (*signalled) {
		*signalled = false;
		errno = EINTR;
		return -1;
	}
	if (sim.closed) {
		errno = ENODEV;
		return -1;
	}
	*(unsigned *)buffer = sim.taken++;
	return sizeof(unsigned);
}

static bool event_pending(void *arg)
{
	return sim.events;
}

static int sim_poll(struct pollfd *p, nfds_t count, int timeout_ms)
{
	explore_point();
	if (p->fd == DEVICE) {
		p->revents = sim.taken < sim.sent ? POLLIN : 0;
		return p->revents ? 1 : 0;
	}
	return explore_wait(event_pending, NULL,
	                    timeout_ms < 0 ? -1
	                                   : explore_now() + timeout_ms * MS);
}

static int sim_eventfd_write(int fd, uint64_t count)
{
	explore_point();
	sim.events += count;
	return 0;
}

static int sim_eventfd_read(int fd, uint64_t *ret_count)
{
	explore_point();
	*ret_count = sim.events;
	sim.events = 0;
	return 0;
}

static int sim_create(pthread_t *ret_thread, const pthread_attr_t *attr,
                      void *(*fn)(void *), void *arg)
{
	explore_point();
	*ret_thread = (pthread_t)explore_spawn(fn, arg);
	return 0;
}

static bool thread_ended(void *arg)
{
	return explore_ended((int)(uintptr_t)arg);
}

static int sim_join(pthread_t thread, void **ret)
{
	explore_wait(thread_ended, (void *)(uintptr_t)thread, -1);
	return 0;
}

static int sim_kill(pthread_t thread, int signal)
{
	explore_point();
	sim.signalled[thread] = true;
	return 0;
}

static int sim_getaffinity(pid_t pid, size_t size, cpu_set_t *set)
{
	CPU_ZERO(set);
	CPU_SET(0, set);
	CPU_SET(1, set);
	return 0;
}

static long sim_syscall(long number, ...)
{
	return -1;
}

static int64_t sim_mono_ns(void)
{
	return explore_now() + 1;
}

#undef atomic_load
#undef atomic_store
#undef atomic_exchange
#undef atomic_fetch_add
#undef atomic_fetch_sub
#undef atomic_compare_exchange_weak
#define atomic_load(p)                                                         \
	(explore_point(), atomic_load_explicit(p, memory_order_seq_cst))
#define atomic_store(p, v)                                                     \
	(explore_point(), atomic_store_explicit(p, v, memory_order_seq_cst))
#define atomic_exchange(p, v)                                                  \
	(explore_point(), atomic_exchange_explicit(p, v, memory_order_seq_cst))
#define atomic_fetch_add(p, v)                                                 \
	(explore_point(), atomic_fetch_add_explicit(p, v, memory_order_seq_cst))
#define atomic_fetch_sub(p, v)                                                 \
	(explore_point(), atomic_fetch_sub_explicit(p, v, memory_order_seq_cst))
#define atomic_compare_exchange_weak(p, old, v)                                \
	(explore_point(),                                                      \
	 atomic_compare_exchange_strong_explicit(                              \
	         p, old, v, memory_order_seq_cst, memory_order_seq_cst))

#define poll sim_poll
#define read sim_read
#define close(fd) ((void)(fd))
#define eventfd(count, flags) EVENT
#define eventfd_read sim_eventfd_read
#define eventfd_write sim_eventfd_write
#define pthread_create sim_create
#define pthread_join sim_join
#define pthread_kill sim_kill
#define pthread_setname_np(thread, name) ((void)(name))
#define pthread_getcpuclockid(thread, clock) ((void)(clock), ENOSYS)
#define sched_getaffinity sim_getaffinity
#define sigaction(signal, action, old) ((void)(action))
#define syscall sim_syscall
#define mono_ns sim_mono_ns
#define busy_poll_wait(busy_poll, fd) explore_point()
#define busy_poll_look_around(busy_poll, count) ((void)(count))

#include "../../fs/fuse/loop.c"

static struct loop *the_loop;

/* ---- Requests ----------------------------------------------------------- */

static bool request_done(void *arg)
{
	return sim.done[(uintptr_t)arg];
}

static bool handle(void *arg, void *request, size_t len)
{
	unsigned number = *(unsigned *)request;

	explore_assert(the_loop->retiring < the_loop->live);
	explore_point();
	switch (sim.kind[number]) {
	case QUICK:
		break;
	case NEEDS_NEXT:
		explore_wait(request_done, (void *)(uintptr_t)(number + 1), -1);
		break;
	case STALLS:
		loop_stall(true);
		explore_wait(request_done, (void *)(uintptr_t)(number + 1), -1);
		loop_stall(false);
		break;
	case SLOW:
		explore_wait(NULL, NULL, explore_now() + slow_ns);
		break;
	}
	explore_point();
	sim.done[number] = true;
	return true;
}

static bool inspect_now(void *arg, const struct loop_busy *busy, size_t count)
{
	for (size_t i = 0; i < count; i++)
		explore_assert(busy[i].since <= explore_now() + 1);
	sim.inspected_busy += count > 0;
	return false;
}

static const struct loop_ops ops = {.handle = handle, .inspect = inspect_now};

static unsigned send_request(enum kind kind)
{
	explore_assert(sim.sent < REQUESTS);
	sim.kind[sim.sent] = kind;
	return sim.sent++;
}

static void wait_done(unsigned number)
{
	explore_wait(request_done, (void *)(uintptr_t)number, -1);
}

static void pause_ms(int64_t ms)
{
	explore_wait(NULL, NULL, explore_now() + ms * MS);
}

/* ---- Scenarios ---------------------------------------------------------- */

/* Run the loop over what the client does; nothing of it is left then. */
static void run_loop(void *(*client)(void *))
{
	struct loop *loop;
	int thread;

	memset(&sim, 0, sizeof(sim));
	explore_assert(loop_create(&ops, NULL, &loop) == 0);
	the_loop = loop;
	thread = explore_spawn(client, NULL);
	loop_run(loop, DEVICE);
	sim_join((pthread_t)thread, NULL);
	explore_assert(loop->live == 0);
	for (int i = 0; i < LOOP_WORKERS_MAX; i++)
		explore_assert(!loop->workers[i].live &&
		               !loop->workers[i].request);
	loop_destroy(loop);
}

static void expect_done(void)
{
	for (unsigned i = 0; i < sim.sent; i++)
		explore_assert(sim.done[i]);
}

static int64_t gap_ms;

/* A request, a gap about as long as it takes to fall asleep, and another. */
static void *client_gap(void *arg)
{
	wait_done(send_request(QUICK));
	pause_ms(gap_ms);
	wait_done(send_request(QUICK));
	sim.closed = true;
	return NULL;
}

static void scenario_gap(void)
{
	run_loop(client_gap);
	expect_done();
}

/* After the gap the mount ends. */
static void *client_close(void *arg)
{
	wait_done(send_request(QUICK));
	pause_ms(gap_ms);
	sim.closed = true;
	return NULL;
}

static void scenario_close(void)
{
	run_loop(client_close);
	expect_done();
}

/* After the gap come two, the first of which needs a second worker. */
static void *client_pair(void *arg)
{
	wait_done(send_request(QUICK));
	pause_ms(gap_ms);
	send_request(NEEDS_NEXT);
	wait_done(send_request(QUICK));
	wait_done(1);
	sim.closed = true;
	return NULL;
}

static void scenario_pair(void)
{
	run_loop(client_pair);
	expect_done();
}

/*
 * Workers that are no longer needed end, and the loop falls asleep; but one is
 * always there, and more are when they are needed again.
 */
static void *client_fewer(void *arg)
{
	send_request(NEEDS_NEXT);
	send_request(NEEDS_NEXT);
	wait_done(send_request(QUICK));
	wait_done(0);
	pause_ms(gap_ms);
	for (int i = 0; i < 3; i++)
		wait_done(send_request(QUICK));
	explore_assert(the_loop->live - the_loop->retiring >= 1);
	send_request(NEEDS_NEXT);
	wait_done(send_request(QUICK));
	wait_done(6);
	sim.closed = true;
	return NULL;
}

static void scenario_fewer(void)
{
	run_loop(client_fewer);
	expect_done();
}

/*
 * Requests all the time: the second worker ends without any pause.  A random
 * order can hold all workers up at once, again and again: then they seem to be
 * needed.  That ends long before the last of REQUESTS.
 */
static void *client_busy(void *arg)
{
	send_request(NEEDS_NEXT);
	wait_done(send_request(QUICK));
	while (the_loop->live > 1) {
		wait_done(send_request(QUICK));
		pause_ms(10);
	}
	sim.closed = true;
	return NULL;
}

static void scenario_busy(void)
{
	run_loop(client_busy);
	expect_done();
}

/* Told to stop while the device stays: whatever the workers are doing. */
static void *client_stop(void *arg)
{
	wait_done(send_request(QUICK));
	pause_ms(gap_ms);
	send_request(SLOW);
	loop_stop(the_loop);
	return NULL;
}

static void scenario_stop(void)
{
	run_loop(client_stop);
	for (unsigned i = 0; i < sim.taken; i++)
		explore_assert(sim.done[i]);
}

/* A request that takes long, alone, is inspected, and the next goes past it. */
static void *client_slow(void *arg)
{
	wait_done(send_request(QUICK));
	pause_ms(gap_ms);
	send_request(SLOW);
	pause_ms(1);
	wait_done(send_request(QUICK));
	explore_assert(!sim.done[1]);
	wait_done(1);
	explore_assert(sim.inspected_busy >= 2);
	sim.closed = true;
	return NULL;
}

static void scenario_slow(void)
{
	run_loop(client_slow);
	expect_done();
}

/* Time passes only when all threads wait. */
static bool undelayed;

/* Workers that announce that they stall are replaced before the next tick. */
static void *client_stalls(void *arg)
{
	int64_t begin;

	wait_done(send_request(QUICK));
	pause_ms(gap_ms);
	begin = explore_now();
	for (int i = 0; i < 3; i++)
		send_request(STALLS);
	wait_done(send_request(QUICK));
	explore_assert(!undelayed || explore_now() == begin);
	wait_done(1);
	explore_assert(atomic_load(&the_loop->stalled) == 0);
	sim.closed = true;
	return NULL;
}

static void scenario_stalls(void)
{
	run_loop(client_stalls);
	expect_done();
}

/* ---- Tests -------------------------------------------------------------- */

/* Orders differ from when the watcher may fall asleep. */
static void in_all_orders(void (*scenario)(void), unsigned delays)
{
	uint64_t runs = 0;

	for (gap_ms = IDLE_TICKS - 1; gap_ms <= IDLE_TICKS + 3; gap_ms++)
		runs += explore(scenario, delays, (gap_ms - 1) * MS);
	print_message("# %ju orders\n", (uintmax_t)runs);
}

static void test_gap(void **state)
{
	in_all_orders(scenario_gap, 3);
}

static void test_pair(void **state)
{
	in_all_orders(scenario_pair, 2);
}

static void test_close(void **state)
{
	in_all_orders(scenario_close, 3);
}

static void test_stop(void **state)
{
	slow_ns = 2 * MS;
	in_all_orders(scenario_stop, 2);
}

static void test_fewer(void **state)
{
	in_all_orders(scenario_fewer, 1);
}

static void test_start(void **state)
{
	gap_ms = 1;
	slow_ns = 2 * MS;
	print_message("# %ju orders\n",
	              (uintmax_t)(explore(scenario_gap, 2, 0) +
	                          explore(scenario_stop, 2, 0)));
}

static void test_random(void **state)
{
	static void (*const scenarios[])(void) = {
	        scenario_gap,  scenario_pair, scenario_fewer,
	        scenario_busy, scenario_stop, scenario_stalls,
	};
	uint64_t seed = scratch_seed();

	slow_ns = 2 * MS;
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
		gap_ms = IDLE_TICKS + (int64_t)i % 3;
		explore_random(scenarios[i], 300, seed);
	}
}

static void test_stalls(void **state)
{
	undelayed = true;
	in_all_orders(scenario_stalls, 0);
	undelayed = false;
	in_all_orders(scenario_stalls, 1);
}

static void test_slow(void **state)
{
	gap_ms = IDLE_TICKS + 1;
	slow_ns = 3500 * MS;
	explore(scenario_slow, 0, 0);
}

#ifdef __SANITIZE_THREAD__
/* Its threads are simulated in one: nothing for ThreadSanitizer to see. */
#undef cmocka_unit_test
#define cmocka_unit_test(fn)                                                   \
	{                                                                      \
#fn ": simulates threads", skipped, NULL, NULL, (void *)(fn)   \
	}

static void skipped(void **state)
{
	skip();
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_gap),    cmocka_unit_test(test_pair),
	        cmocka_unit_test(test_close),  cmocka_unit_test(test_stop),
	        cmocka_unit_test(test_fewer),  cmocka_unit_test(test_start),
	        cmocka_unit_test(test_random), cmocka_unit_test(test_slow),
	        cmocka_unit_test(test_stalls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
