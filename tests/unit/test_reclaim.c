/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Count the work of freeing the space of deleted states, and interrupt it
 * anywhere.
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

#include "engine.h"
#include "gc.h"
#include "scratch.h"
#include "util.h"
#include "forest.h"
#include "reap.h"

enum { ITEMS = 4000 };

struct fixture {
	struct scratch scratch;
	struct store *store;
	struct forest *forest;
	uint64_t rng;
};

static void fixture_open(struct fixture *h)
{
	/* Commit only when asked. */
	struct store_options options = {.commit_ms = 3600 * 1000};

	assert_int_equal(store_open(h->scratch.store, &options, &h->store), 0);
	assert_int_equal(forest_open(h->store, &h->forest), 0);
}

static void fixture_close(struct fixture *h)
{
	forest_close(h->forest);
	assert_int_equal(store_close(h->store), 0);
}

static void fixture_init(struct fixture *h)
{
	h->rng = scratch_seed();
	scratch_init(&h->scratch);
	assert_int_equal(store_create(h->scratch.store, NULL), 0);
	assert_int_equal(store_open(h->scratch.store, NULL, &h->store), 0);
	assert_int_equal(forest_create(h->store, 0, 0, 0755), 0);
	assert_int_equal(store_close(h->store), 0);
	fixture_open(h);
}

static void fixture_release(struct fixture *h)
{
	fixture_close(h);
	scratch_release(&h->scratch);
}

static struct state *find(struct fixture *h, uint64_t fork, const char *name)
{
	struct state *s;

	assert_int_equal(state_find(h->forest, fork, name, &s), 0);
	return s;
}

/* Lock held. */
static void items_change(struct fixture *h, struct state *s, int count)
{
	uint64_t value = scratch_random(&h->rng);
	struct tree *tree;

	assert_int_equal(state_edit(s, &tree), 0);
	for (int i = 0; i < count; i++) {
		uint64_t n = scratch_random(&h->rng) % ITEMS;
		struct key key = {1000 + n, 2, 0};

		assert_int_equal(tree_put(tree, &key, &value, sizeof(value)),
		                 0);
	}
}

static void snapshot_name(char name[16], int i)
{
	snprintf(name, 16, "s%06d", i);
}

/* Snapshots of the fork, with so many changes between each two. */
static void snapshots_make(struct fixture *h, const char *fork, int count,
                           int changes)
{
	for (int i = 0; i < count; i++) {
		struct state *s, *made;
		char name[16];

		snapshot_name(name, i);
		store_lock(h->store);
		s = find(h, 0, fork);
		if (changes)
			items_change(h, s, changes);
		assert_int_equal(state_snapshot(h->forest, s, name, &made), 0);
		store_unlock(h->store);
	}
	assert_int_equal(store_sync(h->store), 0);
}

static void fork_make(struct fixture *h, const char *name)
{
	struct state *s;

	store_lock(h->store);
	assert_int_equal(state_fork(h->forest, find(h, 0, "main"), name, &s),
	                 0);
	store_unlock(h->store);
}

static void fork_delete(struct fixture *h, const char *name)
{
	store_lock(h->store);
	assert_int_equal(state_delete(h->forest, find(h, 0, name), true), 0);
	store_unlock(h->store);
}

/* From the oldest on; main's. */
static void snapshots_delete(struct fixture *h, int from, int to)
{
	store_lock(h->store);
	for (int i = from; i < to; i++) {
		char name[16];

		snapshot_name(name, i);
		assert_int_equal(
		        state_delete(h->forest, find(h, 1, name), false), 0);
	}
	store_unlock(h->store);
}

/* The trees have items that are none of a file system's. */
static int finding_fail(void *arg, const struct finding *finding)
{
	if (finding->ino)
		return 0;
	fail_msg("%s: %s", finding->kind, finding->text);
	return 0;
}

static void fixture_check(struct fixture *h)
{
	const struct check_options options = {.data = true,
	                                      .found = finding_fail};

	assert_int_equal(forest_check(h->store, &options), 0);
}

static uint64_t passed(struct fixture *h)
{
	uint64_t n;

	store_lock(h->store);
	n = h->store->passed;
	store_unlock(h->store);
	return n;
}

static uint64_t commits(struct fixture *h)
{
	struct store_stats stats;

	store_stats(h->store, &stats);
	return stats.commits;
}

/* Each snapshot of a fork that goes is found without those gone before. */
static void test_clearing_is_linear(void **state)
{
	enum { MANY = 20000 };
	struct fixture h;
	uint64_t before;

	(void)state;
	fixture_init(&h);
	fork_make(&h, "try");
	snapshots_make(&h, "try", MANY, 0);
	before = passed(&h);
	fork_delete(&h, "try");
	assert_int_equal(forest_drain(h.forest), 0);
	assert_true(passed(&h) - before < 4 * MANY);
	store_lock(h.store);
	assert_int_equal(forest_count(h.forest), 1);
	assert_int_equal(forest_backlog(h.forest), 0);
	store_unlock(h.store);
	fixture_check(&h);
	fixture_release(&h);
}

/* Nor is the work that their versions make. */
static void test_tasks_are_linear(void **state)
{
	enum { MANY = 2000 };
	struct fixture h;
	uint64_t before;

	(void)state;
	fixture_init(&h);
	fork_make(&h, "try");
	snapshots_make(&h, "try", MANY, 1);
	before = passed(&h);
	fork_delete(&h, "try");
	assert_int_equal(forest_drain(h.forest), 0);
	assert_true(passed(&h) - before < 20 * MANY);
	fixture_check(&h);
	fixture_release(&h);
}

/* Versions that expire one by one do not take a commit each. */
static void test_merges_share_commits(void **state)
{
	enum { SLOTS = 400, CHANGES = 20 };
	struct fixture h;
	uint64_t before;

	(void)state;
	fixture_init(&h);
	store_lock(h.store);
	items_change(&h, find(&h, 0, "main"), 2 * ITEMS);
	store_unlock(h.store);
	snapshots_make(&h, "main", SLOTS, CHANGES);
	before = commits(&h);
	snapshots_delete(&h, 0, SLOTS);
	assert_int_equal(forest_drain(h.forest), 0);
	assert_true(commits(&h) - before < SLOTS / 8);
	fixture_check(&h);
	fixture_release(&h);
}

/* Deadlists too long for one commit are tidied up in several. */
static void test_long_lists(void **state)
{
	enum { SLOTS = 12 };
	struct fixture h;

	(void)state;
	fixture_init(&h);
	h.store->ops_most = h.store->ops_most_alone = 30;
	store_lock(h.store);
	items_change(&h, find(&h, 0, "main"), 2 * ITEMS);
	store_unlock(h.store);
	snapshots_make(&h, "main", SLOTS, 200);
	snapshots_delete(&h, 3, 6);
	snapshots_delete(&h, 0, 2);
	assert_int_equal(forest_drain(h.forest), 0);
	fixture_check(&h);
	snapshots_delete(&h, 6, SLOTS);
	snapshots_delete(&h, 2, 3);
	assert_int_equal(forest_drain(h.forest), 0);
	fixture_check(&h);
	fixture_release(&h);
}

/*
 * A version is left with one child, of which a part has been reaped already:
 * what it shares with that must not be taken for the child's own then.
 */
static void test_merge_into_a_torn_tree(void **state)
{
	struct task task;
	struct fixture h;
	struct state *s;

	(void)state;
	fixture_init(&h);
	fork_make(&h, "try");
	gc_stop(h.forest);
	store_lock(h.store);
	items_change(&h, find(&h, 0, "try"), 2 * ITEMS);
	assert_int_equal(state_fork(h.forest, find(&h, 0, "try"), "torn", &s),
	                 0);
	items_change(&h, find(&h, 0, "torn"), 20);
	assert_int_equal(state_delete(h.forest, find(&h, 0, "torn"), false), 0);
	assert_int_equal(task_first(h.forest, &task), 0);
	assert_int_equal(task.kind, TASK_REAP);
	h.forest->gc.limit = 8;
	assert_int_equal(reap_step(h.forest, &task), 0);
	assert_int_equal(task_first(h.forest, &task), 0);
	assert_true(task.record.len > 0);
	assert_int_equal(state_delete(h.forest, find(&h, 0, "try"), false), 0);
	store_unlock(h.store);
	assert_int_equal(gc_start(h.forest), 0);
	assert_int_equal(forest_drain(h.forest), 0);
	fixture_check(&h);
	fixture_release(&h);
}

/* A process reclaims until it is killed; another one goes on, and so forth. */
static void test_killed_while_reclaiming(void **state)
{
	enum { SLOTS = 150, KILLS = 12 };
	struct fixture h;
	int status;

	(void)state;
	fixture_init(&h);
	store_lock(h.store);
	items_change(&h, find(&h, 0, "main"), 2 * ITEMS);
	store_unlock(h.store);
	snapshots_make(&h, "main", SLOTS, 50);
	fork_make(&h, "try");
	snapshots_make(&h, "try", SLOTS, 50);
	fixture_close(&h);
	for (int i = 0; i < KILLS; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (!pid) {
			fixture_open(&h);
			h.store->ops_most = h.store->ops_most_alone =
			        i % 3 ? 500 : 20;
			if (i == KILLS / 2)
				fork_delete(&h, "try");
			snapshots_delete(&h, i * SLOTS / KILLS,
			                 (i + 1) * SLOTS / KILLS);
			store_sync(h.store);
			usleep((useconds_t)(scratch_random(&h.rng) % 20000));
			kill(getpid(), SIGKILL);
		}
		scratch_random(&h.rng);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		fixture_open(&h);
		fixture_check(&h);
		fixture_close(&h);
	}
	fixture_open(&h);
	assert_int_equal(forest_drain(h.forest), 0);
	store_lock(h.store);
	assert_int_equal(forest_count(h.forest), 1);
	assert_int_equal(forest_backlog(h.forest), 0);
	store_unlock(h.store);
	fixture_check(&h);
	fixture_release(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_clearing_is_linear),
	        cmocka_unit_test(test_tasks_are_linear),
	        cmocka_unit_test(test_merges_share_commits),
	        cmocka_unit_test(test_long_lists),
	        cmocka_unit_test(test_merge_into_a_torn_tree),
	        cmocka_unit_test(test_killed_while_reclaiming),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
