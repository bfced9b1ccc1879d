/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Held trees against copies of what their states had when they were held, while
 * random changes go on: writes, forks, snapshots, deletions, commits, other
 * holds, and crashes.  After the last release nothing may be left over.
 *
 * COPPICE_SEED and COPPICE_OPS choose another history, or a longer one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "util.h"
#include "fixture.h"

enum { HOLDS = 12 };

struct held {
	struct state_hold hold;
	struct model model; /* of the state when it was held */
};

static struct held holds[HOLDS];

static uint64_t below(struct fixture *w, uint64_t n)
{
	return scratch_random(&w->rng) % n;
}

static void take(struct fixture *w, struct held *held)
{
	const struct model *t = &w->model[below(w, w->len)];
	struct state *s;

	store_lock(w->store);
	s = fixture_get(w, t);
	assert_int_equal(state_hold(s, &held->hold), 0);
	assert_true(version_is_held(w->forest, hold_version(&held->hold)));
	store_unlock(w->store);
	held->model = *t;
}

static void let_go(struct fixture *w, struct held *held)
{
	store_lock(w->store);
	hold_release(w->forest, &held->hold);
	hold_release(w->forest, &held->hold);
	store_unlock(w->store);
}

static void let_all_go(struct fixture *w)
{
	for (int i = 0; i < HOLDS; i++)
		let_go(w, &holds[i]);
}

static void compare_held(struct fixture *w, const struct held *held)
{
	if (held->hold.version)
		fixture_compare_tree(w, hold_tree(&held->hold), &held->model);
}

/* Count the findings on the lineage: the fixture's files are simplified. */
static int found_one(void *arg, const struct finding *finding)
{
	static const char *const kinds[] = {
	        "version", "task", "state", "record", "name", "time", "block"};
	bool counts = false;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		counts |= !strcmp(finding->kind, kinds[i]);
	if (!counts)
		return 0;
	printf("# %s: %s\n", finding->kind, finding->text);
	++*(int *)arg;
	return 0;
}

/* Check the store as a crash has left it, before any of it is mended. */
static void check(struct fixture *w)
{
	const struct store_options readonly = {.readonly = true};
	int found = 0;
	const struct check_options options = {.found = found_one,
	                                      .arg = &found};

	assert_int_equal(store_open(w->scratch.store, &readonly, &w->store), 0);
	assert_int_equal(forest_check(w->store, &options), 0);
	assert_int_equal(found, 0);
	assert_int_equal(store_close(w->store), 0);
}

static void step(struct fixture *w)
{
	struct held *held = &holds[below(w, HOLDS)];
	uint64_t how = below(w, 1000);

	if (how < 20 && !held->hold.version)
		take(w, held);
	else if (how < 30)
		let_go(w, held);
	else if (how < 45)
		compare_held(w, held);
	else if (how < 48)
		assert_int_equal(store_sync(w->store), 0);
	else if (how == 48 && !below(w, 3))
		assert_int_equal(forest_drain(w->forest), 0);
	fixture_change(w);
}

static void test_history(void **state)
{
	uint64_t ops = scratch_ops(20000);
	struct fixture w;

	(void)state;
	fixture_init(&w, scratch_seed(), true);
	for (uint64_t i = 0; i < ops; i++) {
		step(&w);
		if (i % 5000 != 4999)
			continue;
		for (int k = 0; k < HOLDS; k++)
			compare_held(&w, &holds[k]);
		let_all_go(&w);
		fixture_compare(&w);
		fixture_fsck(&w);
	}
	let_all_go(&w);
	fixture_end(&w);
	fixture_release(&w);
}

/* A process is killed while it holds trees. */
static void test_crashes(void **state)
{
	uint64_t rounds = 1 + scratch_ops(20000) / 2500;
	uint64_t seed = scratch_seed();
	struct fixture w;

	(void)state;
	fixture_init(&w, seed, true);
	fixture_close(&w);
	for (uint64_t i = 0; i < rounds; i++) {
		w.rng = seed + i;
		w.names = (i + 1) * 100000;
		w.seeds = (uint32_t)(i + 1) * 100000;
		fixture_crash(&w, 200 + scratch_random(&w.rng) % 1500, step,
		              true);
		check(&w);
		fixture_open(&w);
		fixture_believe(&w);
		fixture_compare(&w);
		fixture_fsck(&w);
		fixture_close(&w);
	}
	fixture_open(&w);
	fixture_end(&w);
	fixture_release(&w);
}

/* ---- One fork ----------------------------------------------------------- */

static struct state *main_state(struct fixture *w)
{
	return fixture_get(w, fixture_model(w, 1));
}

static void write_file(struct fixture *w, int file, uint32_t seed)
{
	store_lock(w->store);
	fixture_put(w, fixture_model(w, 1), file, seed);
	store_unlock(w->store);
}

static bool main_unchanged(struct fixture *w)
{
	struct state_info info;

	store_lock(w->store);
	assert_int_equal(state_info(w->forest, main_state(w), &info), 0);
	store_unlock(w->store);
	return info.unchanged;
}

/* A hold leaves no trace: not while it lasts, nor afterwards. */
static void test_trace(void **state)
{
	struct fixture w;
	struct held held, again;
	struct state *s;
	uint64_t id, parent;

	(void)state;
	fixture_init(&w, scratch_seed(), false);
	store_lock(w.store);
	assert_int_equal(state_snapshot(w.forest, main_state(&w), "old", &s),
	                 0);
	parent = state_parent_id(main_state(&w));
	store_unlock(w.store);
	assert_true(main_unchanged(&w));
	write_file(&w, 1, 4);
	assert_false(main_unchanged(&w));
	store_lock(w.store);
	assert_int_equal(state_hold(main_state(&w), &held.hold), 0);
	assert_int_equal(state_hold(main_state(&w), &again.hold), 0);
	assert_int_equal(hold_version(&held.hold), hold_version(&again.hold));
	id = hold_version(&held.hold);
	held.model = *fixture_model(&w, 1);
	assert_false(state_is_redundant(w.forest, main_state(&w)));
	store_unlock(w.store);
	assert_false(main_unchanged(&w));
	write_file(&w, 1, 8);
	write_file(&w, 2, 12);
	assert_int_equal(forest_drain(w.forest), 0);
	compare_held(&w, &held);
	let_go(&w, &held);
	assert_int_equal(forest_drain(w.forest), 0);
	store_lock(w.store);
	assert_true(version_is_held(w.forest, id));
	assert_true(forest_backlog(w.forest) > 0);
	store_unlock(w.store);
	let_go(&w, &again);
	assert_int_equal(forest_drain(w.forest), 0);
	store_lock(w.store);
	assert_int_equal(forest_backlog(w.forest), 0);
	assert_int_equal(state_parent_id(main_state(&w)), parent);
	assert_int_equal(state_find(w.forest, 1, "old", &s), 0);
	assert_int_equal(state_delete(w.forest, s, false), 0);
	store_unlock(w.store);
	fixture_fsck(&w);
	fixture_end(&w);
	fixture_release(&w);
}

/* The state is deleted while it is held. */
static void test_deleted(void **state)
{
	struct fixture w;
	struct held held;
	struct state *s;

	(void)state;
	fixture_init(&w, scratch_seed(), false);
	for (int i = 0; i < 40; i++)
		write_file(&w, i, (uint32_t)i + 4);
	store_lock(w.store);
	assert_int_equal(state_fork(w.forest, main_state(&w), "try", &s), 0);
	held.model = *fixture_model(&w, 1);
	assert_int_equal(state_hold(s, &held.hold), 0);
	assert_int_equal(state_delete(w.forest, s, false), 0);
	assert_int_equal(state_hold(s, &holds[0].hold), -ESTALE);
	store_unlock(w.store);
	for (int i = 0; i < 40; i++)
		write_file(&w, i, (uint32_t)i + 400);
	assert_int_equal(forest_drain(w.forest), 0);
	compare_held(&w, &held);
	let_go(&w, &held);
	fixture_fsck(&w);
	fixture_end(&w);
	fixture_release(&w);
}

/* A store that was opened read-only is not written to. */
static void test_readonly(void **state)
{
	const struct store_options options = {.readonly = true};
	struct state_hold hold;
	struct fixture w;
	struct state *s;

	(void)state;
	fixture_init(&w, scratch_seed(), false);
	write_file(&w, 1, 4);
	fixture_close(&w);
	assert_int_equal(store_open(w.scratch.store, &options, &w.store), 0);
	assert_int_equal(forest_open(w.store, &w.forest), 0);
	store_lock(w.store);
	assert_int_equal(state_get(w.forest, 1, &s), 0);
	assert_int_equal(state_hold(s, &hold), 0);
	store_unlock(w.store);
	fixture_compare_tree(&w, hold_tree(&hold), fixture_model(&w, 1));
	store_lock(w.store);
	hold_release(w.forest, &hold);
	store_unlock(w.store);
	fixture_close(&w);
	fixture_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_history),  cmocka_unit_test(test_crashes),
	        cmocka_unit_test(test_trace),    cmocka_unit_test(test_deleted),
	        cmocka_unit_test(test_readonly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
