/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Snapshots found by position, against a plain list of their times, while
 * others are made and deleted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "engine.h"
#include "util.h"
#include "fixture.h"
#include "position.h"

enum { MANY = 4000 };

static struct fixture w;

/* The fork's snapshots, the oldest first. */
static struct {
	uint64_t fork;
	size_t count;
	int64_t times[MANY];
	uint64_t numbers[MANY];
} model;

static struct state *fork_of_model(void)
{
	struct state *fork;

	assert_int_equal(state_get(w.forest, model.fork, &fork), 0);
	return fork;
}

static void snapshot_make(uint64_t serial)
{
	struct state *s;
	char name[32];

	snprintf(name, sizeof(name), "s%ju", (uintmax_t)serial);
	store_lock(w.store);
	assert_int_equal(state_snapshot(w.forest, fork_of_model(), name, &s),
	                 0);
	model.times[model.count] = s->created;
	model.numbers[model.count++] = s->number;
	store_unlock(w.store);
}

static void snapshot_delete(size_t index)
{
	struct state *s;

	store_lock(w.store);
	assert_int_equal(state_get(w.forest, model.numbers[index], &s), 0);
	assert_int_equal(state_delete(w.forest, s, false), 0);
	store_unlock(w.store);
	model.count--;
	memmove(&model.times[index], &model.times[index + 1],
	        (model.count - index) * sizeof(*model.times));
	memmove(&model.numbers[index], &model.numbers[index + 1],
	        (model.count - index) * sizeof(*model.numbers));
}

/* Ask until there is an answer: each time a piece more has been read. */
static void expect_nth(uint64_t n)
{
	struct state *s;
	int r;

	do {
		store_lock(w.store);
		r = position_nth(w.forest, model.fork, n, &s);
		if (!r)
			assert_int_equal(s->number,
			                 model.numbers[model.count - n]);
		store_unlock(w.store);
	} while (r == -EAGAIN);
	assert_int_equal(r, n > model.count ? -ENOENT : 0);
}

static void expect_at(int64_t time)
{
	size_t newer = model.count;
	struct state *s;
	int r;

	while (newer && model.times[newer - 1] > time)
		newer--;
	do {
		store_lock(w.store);
		r = position_at(w.forest, model.fork, time, &s);
		if (!r)
			assert_int_equal(s->created, model.times[newer - 1]);
		store_unlock(w.store);
	} while (r == -EAGAIN);
	assert_int_equal(r, newer ? 0 : -ENOENT);
}

/* Walk from the oldest on, to a time, without the newest. */
static void expect_oldest(int64_t before, uint64_t keep)
{
	struct state_age_walk walk = {model.fork, INT64_MIN, before, keep};
	uint64_t numbers[STATE_WALK_PIECE];
	size_t found = 0, count, expected = 0;
	int r;

	while (expected + keep < model.count && model.times[expected] < before)
		expected++;
	do {
		store_lock(w.store);
		r = state_walk_oldest(w.forest, &walk, numbers, &count);
		store_unlock(w.store);
		assert_true(r == 0 || r == -EAGAIN);
		assert_true(found + count <= expected);
		for (size_t i = 0; i < count; i++)
			assert_int_equal(numbers[i], model.numbers[found++]);
	} while (r == -EAGAIN);
	assert_int_equal(found, expected);
}

static void expect_some(uint64_t *seed)
{
	uint64_t random = scratch_random(seed);

	switch (random % 6) {
	case 0:
		expect_nth(1 + random / 6 % 20);
		break;
	case 1:
		expect_nth(1 + random / 6 % (model.count + 2));
		break;
	case 2:
		if (model.count)
			expect_at(model.times[random / 6 % model.count] +
			          (int64_t)(random >> 40) % 3 - 1);
		break;
	case 3:
		expect_oldest(INT64_MAX, random / 6 % (model.count + 2));
		break;
	case 4:
		if (model.count)
			expect_oldest(model.times[random / 6 % model.count] +
			                      (int64_t)(random >> 40) % 3 - 1,
			              random >> 60 & 1 ? random >> 61 : 0);
		break;
	default:
		expect_at(random >> 40 & 1 ? INT64_MAX : INT64_MIN);
		break;
	}
}

/* Forget what was read, or let it all be read from the disk. */
static void disturb(uint64_t random)
{
	if (random % 2) {
		store_lock(w.store);
		positions_forget(w.forest, model.fork);
		store_unlock(w.store);
	} else {
		assert_int_equal(store_sync(w.store), 0);
	}
}

static void setup_model(uint64_t fork)
{
	memset(&model, 0, sizeof(model));
	model.fork = fork;
}

static uint64_t fork_make(const char *name)
{
	struct state *main, *fork;
	uint64_t number;

	store_lock(w.store);
	assert_int_equal(state_default(w.forest, &main), 0);
	assert_int_equal(state_fork(w.forest, main, name, &fork), 0);
	number = fork->number;
	store_unlock(w.store);
	return number;
}

static void test_model(void **state)
{
	uint64_t seed = scratch_seed(), ops = scratch_ops(20000);

	setup_model(fork_make("main@model"));
	for (uint64_t i = 0; i < ops; i++) {
		uint64_t random = scratch_random(&seed);
		/* Grow for a while, then shrink to nothing, and again. */
		bool grow = i % 4000 < 2200;
		unsigned kind = random % 100;

		random >>= 8;
		if (kind < (grow ? 70 : 10) && model.count < MANY)
			snapshot_make(i);
		else if (kind < 80 && model.count)
			/* The newest, the oldest, or any. */
			snapshot_delete(random % 3 == 0 ? 0
			                : random % 3 == 1
			                        ? model.count - 1
			                        : random / 3 % model.count);
		else if (kind == 80)
			disturb(random);
		else
			expect_some(&seed);
	}
}

/* However many were just deleted, a look goes past few of them at a time. */
static void test_gap(void **state)
{
	uint64_t before, most = 0;
	struct state *s;
	int r;

	setup_model(fork_make("main@gap"));
	for (uint64_t i = 0; i < 3000; i++)
		snapshot_make(i);
	assert_int_equal(store_sync(w.store), 0);
	for (uint64_t i = 0; i < 2990; i++)
		snapshot_delete(model.count - 1);
	do {
		store_lock(w.store);
		before = w.store->passed;
		r = position_nth(w.forest, model.fork, 1, &s);
		if (!r)
			assert_int_equal(s->number, model.numbers[9]);
		most = MAX(most, w.store->passed - before);
		store_unlock(w.store);
	} while (r == -EAGAIN);
	assert_int_equal(r, 0);
	assert_true(most <= 512);
	/* To make one looks at one. */
	before = w.store->passed;
	snapshot_make(10000);
	assert_true(w.store->passed - before <= 1);
	expect_nth(1);
	expect_nth(2);
	expect_nth(11);
	expect_nth(12);
}

/* Return the work done so far; 0 in a release build, which counts none. */
static uint64_t work_done(void)
{
#ifdef NDEBUG
	return 0;
#else
	return w.store->work;
#endif
}

/* Walk over the oldest that are not among the newest; return the work. */
static uint64_t oldest_work(uint64_t keep, size_t expected)
{
	struct state_age_walk walk = {model.fork, INT64_MIN, INT64_MAX, keep};
	uint64_t numbers[STATE_WALK_PIECE], work;
	size_t count;

	store_lock(w.store);
	work = work_done();
	assert_int_equal(state_walk_oldest(w.forest, &walk, numbers, &count),
	                 0);
	work = work_done() - work;
	store_unlock(w.store);
	assert_int_equal(count, expected);
	return work;
}

/* With many snapshots, the one that expires costs as much as with few. */
static void test_oldest_costs_little(void **state)
{
	enum { EACH = 2500 };

	setup_model(fork_make("main@oldest"));
	for (uint64_t i = 0; i < EACH; i++)
		snapshot_make(i);
	/* All times are read once. */
	expect_oldest(INT64_MAX, EACH - 1);
	for (uint64_t i = 0; i < 20; i++) {
		snapshot_make(EACH + i);
		assert_true(oldest_work(EACH, 1) <= 8);
		snapshot_delete(0);
		assert_true(oldest_work(EACH, 0) <= 2);
	}
}

/* Many forks at once, each asked for its oldest. */
static void test_many_forks(void **state)
{
	enum { FORKS = 12 };
	uint64_t forks[FORKS];
	struct state *s;
	char name[32];
	int left = FORKS;
	bool done[FORKS] = {false};

	for (int i = 0; i < FORKS; i++) {
		snprintf(name, sizeof(name), "main@many%d", i);
		setup_model(forks[i] = fork_make(name));
		for (uint64_t j = 0; j < 600; j++)
			snapshot_make(j);
	}
	while (left) {
		for (int i = 0; i < FORKS; i++) {
			int r;

			store_lock(w.store);
			r = position_nth(w.forest, forks[i], 600, &s);
			store_unlock(w.store);
			assert_true(r == 0 || r == -EAGAIN);
			left -= !r && !done[i];
			done[i] |= !r;
		}
	}
}

static int setup(void **state)
{
	fixture_init(&w, scratch_seed(), false);
	return 0;
}

static int teardown(void **state)
{
	fixture_release(&w);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_model),
	        cmocka_unit_test(test_gap),
	        cmocka_unit_test(test_oldest_costs_little),
	        cmocka_unit_test(test_many_forks),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
