/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The loop of requests with threads and a clock that are real. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "loop.h"
#include "scratch.h"
#include "util.h"

enum {
	MOUNTS = 8,
	ROUNDS = 50,
	CROWD = 6,
	PATIENCE_MS = 60000, /* after that it hangs */
};

enum what { ANSWER, GATHER, HOLD, ENDLESS, INTERRUPT };

struct request {
	enum what what;
	uint64_t number;
};

/* A device, the loop that reads it, and whoever asks. */
struct mount {
	struct loop *loop;
	int ends[2]; /* the asker's and the loop's */
	pthread_t watcher;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned gathered; /* lock */
	bool held, let_go; /* lock */
	atomic_uint inspections;
	uint64_t seed;
};

static void gather(struct mount *m)
{
	pthread_mutex_lock(&m->lock);
	m->gathered++;
	pthread_cond_broadcast(&m->changed);
	while (m->gathered < CROWD)
		pthread_cond_wait(&m->changed, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

static void hold(struct mount *m)
{
	pthread_mutex_lock(&m->lock);
	m->held = true;
	pthread_cond_broadcast(&m->changed);
	while (!m->let_go)
		pthread_cond_wait(&m->changed, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

static void reset(struct mount *m)
{
	pthread_mutex_lock(&m->lock);
	m->gathered = 0;
	m->held = m->let_go = false;
	pthread_mutex_unlock(&m->lock);
}

static bool handle(void *arg, void *data, size_t len)
{
	struct mount *m = arg;
	const struct request *request = data;

	if (loop_request() != data || len != sizeof(*request))
		return false;
	if (request->what == GATHER)
		gather(m);
	if (request->what == HOLD)
		hold(m);
	loop_set_number(request->number);
	while (request->what == ENDLESS && !loop_interrupted())
		sched_yield();
	if (request->what == INTERRUPT)
		loop_interrupt(m->loop, request->number - 1000);
	return send(m->ends[1], &request->number, sizeof(request->number),
	            MSG_NOSIGNAL) > 0;
}

static bool inspect(void *arg, const struct loop_busy *busy, size_t count)
{
	struct mount *m = arg;

	atomic_fetch_add(&m->inspections, 1);
	return false;
}

static const struct loop_ops ops = {.handle = handle, .inspect = inspect};

static void *watch(void *arg)
{
	struct mount *m = arg;

	loop_run(m->loop, m->ends[1]);
	return NULL;
}

static void mount_init(struct mount *m)
{
	*m = (struct mount){0};
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->changed, NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, m->ends), 0);
	assert_int_equal(loop_create(&ops, m, &m->loop), 0);
	assert_int_equal(pthread_create(&m->watcher, NULL, watch, m), 0);
}

/* The device goes, unless the loop has ended before. */
static void mount_release(struct mount *m)
{
	shutdown(m->ends[0], SHUT_RDWR);
	pthread_join(m->watcher, NULL);
	loop_destroy(m->loop);
	close(m->ends[0]);
	close(m->ends[1]);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->lock);
}

static void ask(struct mount *m, enum what what, uint64_t number)
{
	struct request request = {what, number};

	if (send(m->ends[0], &request, sizeof(request), MSG_NOSIGNAL) < 0)
		abort();
}

static uint64_t answer(struct mount *m)
{
	struct pollfd p = {m->ends[0], POLLIN, 0};
	uint64_t number;

	if (poll(&p, 1, PATIENCE_MS) != 1 ||
	    recv(m->ends[0], &number, sizeof(number), 0) != sizeof(number)) {
		fprintf(stderr, "a request is not answered\n");
		abort();
	}
	return number;
}

/* Longer than the watcher takes to fall asleep. */
static void *ask_with_pauses(void *arg)
{
	struct mount *m = arg;

	for (uint64_t i = 0; i < ROUNDS; i++) {
		long us = 19000 + (long)(scratch_random(&m->seed) % 7000);

		ask(m, ANSWER, i);
		if (answer(m) != i)
			abort();
		nanosleep(&(struct timespec){0, us * 1000}, NULL);
	}
	return NULL;
}

static void test_pauses(void **state)
{
	uint64_t seed = scratch_seed();
	struct mount mounts[MOUNTS];
	pthread_t askers[MOUNTS];

	for (size_t i = 0; i < MOUNTS; i++) {
		mount_init(&mounts[i]);
		mounts[i].seed = scratch_random(&seed);
		pthread_create(&askers[i], NULL, ask_with_pauses, &mounts[i]);
	}
	for (size_t i = 0; i < MOUNTS; i++) {
		pthread_join(askers[i], NULL);
		mount_release(&mounts[i]);
	}
}

/* More requests than processors wait for each other, twice. */
static void test_growth(void **state)
{
	struct mount m;
	uint64_t sum = 0;

	mount_init(&m);
	for (int round = 0; round < 2; round++) {
		for (uint64_t i = 0; i < CROWD; i++)
			ask(&m, GATHER, 1);
		for (uint64_t i = 0; i < CROWD; i++)
			sum += answer(&m);
		reset(&m);
		/* Surplus threads end one by one. */
		for (uint64_t i = 0; i < 3 * CROWD; i++) {
			ask(&m, ANSWER, i);
			assert_int_equal(answer(&m), i);
			nanosleep(&(struct timespec){0, 10000000}, NULL);
		}
	}
	assert_int_equal(sum, 2 * CROWD);
	assert_true(atomic_load(&m.inspections) > 0);
	mount_release(&m);
}

/* A request that stays in its handler does not hold up others. */
static void test_one_stays(void **state)
{
	struct mount m;

	mount_init(&m);
	for (uint64_t i = 0; i < 3; i++) {
		reset(&m);
		nanosleep(&(struct timespec){0, 25000000}, NULL);
		ask(&m, HOLD, 100);
		ask(&m, ANSWER, i);
		assert_int_equal(answer(&m), i);
		pthread_mutex_lock(&m.lock);
		m.let_go = true;
		pthread_cond_broadcast(&m.changed);
		pthread_mutex_unlock(&m.lock);
		assert_int_equal(answer(&m), 100);
	}
	mount_release(&m);
}

/* The one that is named ends, and no other. */
static void test_interrupt(void **state)
{
	struct mount m;

	mount_init(&m);
	ask(&m, ENDLESS, 5);
	ask(&m, ENDLESS, 6);
	ask(&m, INTERRUPT, 1000 + 7);
	assert_int_equal(answer(&m), 1000 + 7);
	ask(&m, INTERRUPT, 1000 + 6);
	assert_int_equal(answer(&m) + answer(&m), 1000 + 6 + 6);
	/* The number is not the next one's. */
	ask(&m, ANSWER, 8);
	assert_int_equal(answer(&m), 8);
	ask(&m, INTERRUPT, 1000 + 5);
	assert_int_equal(answer(&m) + answer(&m), 1000 + 5 + 5);
	mount_release(&m);
}

static void test_stop(void **state)
{
	struct mount m;

	/* Asleep, or before it has begun. */
	for (int i = 0; i < 20; i++) {
		mount_init(&m);
		if (i % 2) {
			ask(&m, ANSWER, 1);
			assert_int_equal(answer(&m), 1);
			nanosleep(&(struct timespec){0, i * 1500000}, NULL);
		}
		loop_stop(m.loop);
		mount_release(&m);
	}
	/* Requests that are being handled are finished. */
	mount_init(&m);
	ask(&m, HOLD, 7);
	pthread_mutex_lock(&m.lock);
	while (!m.held)
		pthread_cond_wait(&m.changed, &m.lock);
	loop_stop(m.loop);
	m.let_go = true;
	pthread_cond_broadcast(&m.changed);
	pthread_mutex_unlock(&m.lock);
	assert_int_equal(answer(&m), 7);
	mount_release(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_pauses),
	        cmocka_unit_test(test_growth),
	        cmocka_unit_test(test_one_stays),
	        cmocka_unit_test(test_interrupt),
	        cmocka_unit_test(test_stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
