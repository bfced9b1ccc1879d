/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * States of a real store against plain copies: random histories of writes,
 * removals, forks, snapshots, renames, deletions, commits and reopenings; and
 * crashes, after which there is a store that keeps all the rules.  Nothing may
 * be lost, freed while used, or left over.
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

/* ---- Histories ---------------------------------------------------------- */

static void run_history(bool sharing)
{
	uint64_t ops = scratch_ops(20000);
	struct fixture w;

	fixture_init(&w, scratch_seed(), sharing);
	for (uint64_t i = 0; i < ops; i++) {
		fixture_change(&w);
		fixture_look(&w);
	}
	fixture_compare(&w);
	fixture_fsck(&w);
	fixture_compare(&w);
	printf("# %llu forks, %llu trees, %llu snapshots, %llu deletions, %llu "
	       "reopenings, "
	       "%llu checks; %zu states at the end\n",
	       (unsigned long long)w.forks, (unsigned long long)w.trees,
	       (unsigned long long)w.snapshots, (unsigned long long)w.deletions,
	       (unsigned long long)w.reopenings, (unsigned long long)w.checks,
	       w.len);
	fixture_end(&w);
	fixture_release(&w);
}

static void test_history(void **state)
{
	(void)state;
	run_history(false);
}

static void test_history_with_sharing(void **state)
{
	(void)state;
	run_history(true);
}

/* ---- Crashes ------------------------------------------------------------ */

/*
 * A process works on the store until it is killed in the middle of a change.
 * The store then has the content of some instant before.
 */
static void test_crashes(void **state)
{
	uint64_t rounds = 1 + scratch_ops(20000) / 1000;
	uint64_t seed = scratch_seed();
	struct fixture w;

	(void)state;
	fixture_init(&w, seed, true);
	fixture_close(&w);
	for (uint64_t i = 0; i < rounds; i++) {
		w.rng = seed + i;
		w.names = (i + 1) * 100000;
		w.seeds = (uint32_t)(i + 1) * 100000;
		fixture_crash(&w, 500 + scratch_random(&w.rng) % 2000,
		              fixture_change, false);
		/* Sometimes the next one is killed while it still tidies. */
		if (i % 3 == 2 && i + 1 < rounds)
			fixture_crash(&w, 0, fixture_change, false);
		fixture_open(&w);
		fixture_believe(&w);
		fixture_compare(&w);
		if (i % 2)
			fixture_fsck(&w);
		fixture_close(&w);
	}
	fixture_open(&w);
	fixture_end(&w);
	fixture_release(&w);
}

/* ---- Many --------------------------------------------------------------- */

static struct state *get(struct fixture *w, uint64_t number)
{
	struct state *s;

	assert_int_equal(state_get(w->forest, number, &s), 0);
	return s;
}

/* Sorts with the number. */
static void numbered(char name[NAME_LEN_MAX + 1], char first, uint64_t i)
{
	snprintf(name, NAME_LEN_MAX + 1, "%c%09llu", first,
	         (unsigned long long)i);
}

/* Memory holds some of the states, the store all of them. */
static void test_many_states(void **state)
{
	enum { MANY = 3 * STATES_CACHED };
	char name[NAME_LEN_MAX + 1];
	struct fixture w;
	struct state *s;
	uint64_t left = 0;

	(void)state;
	fixture_init(&w, scratch_seed(), false);
	for (uint64_t i = 0; i < MANY; i++) {
		store_lock(w.store);
		numbered(name, i % 2 ? 's' : 'f', i);
		if (i % 2)
			assert_int_equal(
			        state_snapshot(w.forest, get(&w, 1), name, &s),
			        0);
		else
			assert_int_equal(
			        state_fork(w.forest, get(&w, 1), name, &s), 0);
		store_unlock(w.store);
	}
	assert_int_equal(store_sync(w.store), 0);
	for (int i = 0; forest_crowded(w.forest) && i < 1000; i++) {
		store_lock(w.store);
		forest_evict(w.forest);
		store_unlock(w.store);
	}
	assert_false(forest_crowded(w.forest));
	fixture_close(&w);
	fixture_open(&w);
	store_lock(w.store);
	assert_int_equal(forest_count(w.forest), MANY + 1);
	for (uint64_t i = 0; i < MANY; i++) {
		numbered(name, i % 2 ? 's' : 'f', i);
		assert_int_equal(state_find(w.forest, i % 2, name, &s), 0);
		assert_int_equal(s->origin, 1);
		assert_int_equal(s->version->parent != 0, i % 2 == 0);
		assert_true(state_is_redundant(w.forest, s));
	}
	assert_int_equal(state_resolve(w.forest, "main~1000", &s), 0);
	numbered(name, 's', MANY + 1 - 2 * 1000);
	assert_string_equal(s->name, name);
	/* Forks go one by one, and the snapshots with the last of them. */
	assert_int_equal(state_find(w.forest, 0, "f000000000", &s), 0);
	assert_int_equal(state_set_default(w.forest, s), 0);
	assert_int_equal(state_delete(w.forest, get(&w, 1), false), -ENOTEMPTY);
	assert_int_equal(state_delete(w.forest, get(&w, 1), true), 0);
	assert_int_equal(forest_count(w.forest), MANY / 2);
	assert_int_equal(state_get(w.forest, 1, &s), -ESTALE);
	assert_int_equal(state_get(w.forest, 3, &s), -ESTALE);
	name[0] = 0;
	while (!state_next(w.forest, 0, name, &s)) {
		memcpy(name, s->name, sizeof(name));
		left++;
		if (strcmp(name, "f000000000"))
			assert_int_equal(state_delete(w.forest, s, false), 0);
	}
	assert_int_equal(left, MANY / 2);
	assert_int_equal(forest_count(w.forest), 1);
	store_unlock(w.store);
	fixture_fsck(&w);
	fixture_close(&w);
	fixture_release(&w);
}

/* A fork deleted with its snapshots, and the name at once given to another. */
static void test_names_come_free(void **state)
{
	struct fixture w;
	struct state *s, *t;
	uint64_t number;

	(void)state;
	fixture_init(&w, scratch_seed(), false);
	store_lock(w.store);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(state_fork(w.forest, get(&w, 1), "try", &s),
		                 0);
		number = s->number;
		assert_int_equal(state_snapshot(w.forest, s, "monday", &t), 0);
		assert_int_equal(state_snapshot(w.forest, get(&w, number),
		                                "tuesday", &t),
		                 0);
		assert_int_equal(state_delete(w.forest, get(&w, number), true),
		                 0);
		assert_int_equal(state_get(w.forest, t->number, &s), -ESTALE);
		assert_int_equal(state_find(w.forest, number, "monday", &s),
		                 -ENOENT);
		assert_int_equal(state_find(w.forest, 0, "try", &s), -ENOENT);
		assert_int_equal(state_resolve(w.forest, "try~monday", &s),
		                 -ENOENT);
	}
	assert_int_equal(forest_count(w.forest), 1);
	store_unlock(w.store);
	fixture_fsck(&w);
	fixture_end(&w);
	fixture_release(&w);
}

/* The default state is not deleted, nor a fork with the default in it. */
static void test_default(void **state)
{
	struct fixture w;
	struct state *s, *t, *d;

	(void)state;
	fixture_init(&w, scratch_seed(), false);
	store_lock(w.store);
	assert_int_equal(state_delete(w.forest, get(&w, 1), true), -EBUSY);
	assert_int_equal(state_set_default(w.forest, NULL), 0);
	assert_int_equal(state_default(w.forest, &d), -ENOENT);
	assert_int_equal(state_fork(w.forest, get(&w, 1), "golden", &s), 0);
	assert_int_equal(state_snapshot(w.forest, s, "v1", &t), 0);
	assert_int_equal(state_set_default(w.forest, t), 0);
	assert_int_equal(state_default(w.forest, &d), 0);
	assert_ptr_equal(d, t);
	assert_int_equal(state_delete(w.forest, t, false), -EBUSY);
	assert_int_equal(state_delete(w.forest, s, true), -EBUSY);
	assert_int_equal(state_delete(w.forest, s, false), -EBUSY);
	store_unlock(w.store);
	fixture_close(&w);
	fixture_open(&w);
	store_lock(w.store);
	assert_int_equal(state_default(w.forest, &d), 0);
	assert_string_equal(d->name, "v1");
	assert_int_equal(state_set_default(w.forest, get(&w, 1)), 0);
	assert_int_equal(state_find(w.forest, 0, "golden", &s), 0);
	assert_int_equal(state_delete(w.forest, s, true), 0);
	store_unlock(w.store);
	fixture_end(&w);
	fixture_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_history),
	        cmocka_unit_test(test_history_with_sharing),
	        cmocka_unit_test(test_crashes),
	        cmocka_unit_test(test_many_states),
	        cmocka_unit_test(test_names_come_free),
	        cmocka_unit_test(test_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
