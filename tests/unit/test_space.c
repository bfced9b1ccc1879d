/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The space of states over random histories: what deleting a set of states is
 * said to free against what is charged to all versions before and after they
 * are deleted, and what a state is said to reference against a walk of its
 * tree.
 *
 * COPPICE_SEED and COPPICE_OPS choose another history, or a longer one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "chunk_codec.h"
#include "engine.h"
#include "fixture.h"
#include "stored_block.h"
#include "util.h"

/* Commit all, and free what was deleted. */
static void settle(struct fixture *w)
{
	assert_int_equal(forest_drain(w->forest), 0);
	assert_int_equal(store_sync(w->store), 0);
}

/* Return the stored bytes that are charged to all versions. */
static uint64_t charged(struct fixture *w)
{
	struct record record = {.key_len = 0};
	struct list_info info;
	uint64_t bytes = 0;

	store_lock(w->store);
	while (!table_next(w->store, TABLE_VERSION, record.key, record.key_len,
	                   &record)) {
		assert_int_equal(
		        list_info(w->store, be64_get(record.key), &info), 0);
		bytes += info.unique_bytes;
	}
	store_unlock(w->store);
	return bytes;
}

/* ---- Referenced --------------------------------------------------------- */

struct walk {
	struct store *store;
	uint64_t bytes;
};

static void walk_block(struct walk *walk, uint64_t number)
{
	struct stored_block b;
	MDB_txn *txn;

	assert_int_equal(store_reader(walk->store, &txn), 0);
	assert_int_equal(stored_block_get(walk->store, txn, number, &b), 0);
	walk->bytes += b.bytes;
}

static bool walk_enter(void *arg, uint64_t number, int level, bool is_private)
{
	(void)level, (void)is_private;
	walk_block(arg, number);
	return true;
}

static void walk_item(void *arg, uint64_t number, const struct item *item)
{
	struct extent e;

	(void)number;
	if (item->key.kind != ITEM_EXTENT)
		return;
	assert_int_equal(extent_decode(item->value, item->len, &e), 0);
	if (e.kind == EXTENT_CHUNK)
		walk_block(arg, e.chunk);
}

static void walk_damage(void *arg, uint64_t number, int level, const char *what)
{
	(void)arg;
	fail_msg("node %llu on level %d: %s", (unsigned long long)number, level,
	         what);
}

static void compare_referenced(struct fixture *w)
{
	struct space *space;

	store_lock(w->store);
	assert_int_equal(space_create(w->forest, &space), 0);
	for (size_t i = 0; i < w->len; i++) {
		struct walk walk = {.store = w->store};
		struct tree_checker checker = {walk_enter, walk_item,
		                               walk_damage, &walk};
		struct key from = {0};
		uint64_t bytes;
		int r;

		do {
			r = tree_check(state_tree(fixture_get(w, &w->model[i])),
			               &from, 1000, &checker);
		} while (r == -EAGAIN);
		assert_int_equal(r, 0);
		assert_int_equal(
		        space_referenced(space, w->model[i].number, &bytes), 0);
		assert_int_equal(bytes, walk.bytes);
	}
	store_unlock(w->store);
	space_destroy(space);
}

/* ---- Freed -------------------------------------------------------------- */

/* Choose states that can be deleted: of each fork no snapshot may be left. */
static size_t choose(struct fixture *w, bool *chosen)
{
	uint64_t percent = 1 + scratch_random(&w->rng) % 100;
	size_t count = 0;

	for (size_t i = 0; i < w->len; i++)
		chosen[i] = w->model[i].number != 1 &&
		            scratch_random(&w->rng) % 100 < percent;
	if (percent < 25) {
		size_t one = scratch_random(&w->rng) % w->len;

		memset(chosen, 0, w->len * sizeof(*chosen));
		chosen[one] = w->model[one].number != 1;
	}
	for (size_t i = 0; i < w->len; i++)
		for (size_t j = 0; j < w->len && chosen[i]; j++)
			if (w->model[j].fork == w->model[i].number &&
			    !chosen[j])
				chosen[i] = false;
	for (size_t i = 0; i < w->len; i++)
		count += chosen[i];
	return count;
}

static void delete_chosen(struct fixture *w, const bool *chosen, bool forks)
{
	for (size_t i = 0; i < w->len; i++)
		if (chosen[i] && !w->model[i].fork == forks)
			assert_int_equal(
			        state_delete(w->forest,
			                     fixture_get(w, &w->model[i]),
			                     false),
			        0);
}

/* Delete some states, and add what that frees to *sum. */
static void compare_frees(struct fixture *w, uint64_t *sum)
{
	bool chosen[STATES_MAX];
	struct state_info info;
	struct space *space;
	uint64_t before, bytes, again;
	size_t count, at = 0;

	settle(w);
	before = charged(w);
	count = choose(w, chosen);
	store_lock(w->store);
	assert_int_equal(space_create(w->forest, &space), 0);
	for (int round = 0; round < 2; round++) {
		space_clear(space);
		for (size_t i = 0; i < w->len; i++) {
			if (!chosen[i])
				continue;
			at = i;
			assert_int_equal(
			        space_add(space, fixture_get(w, &w->model[i])),
			        0);
			assert_int_equal(
			        space_add(space, fixture_get(w, &w->model[i])),
			        0);
		}
		assert_int_equal(space_frees(space, round ? &again : &bytes),
		                 0);
	}
	assert_int_equal(bytes, again);
	if (count == 1) {
		assert_int_equal(state_info(w->forest,
		                            fixture_get(w, &w->model[at]),
		                            &info),
		                 0);
		assert_int_equal(info.exclusive, bytes);
	}
	delete_chosen(w, chosen, false);
	delete_chosen(w, chosen, true);
	store_unlock(w->store);
	space_destroy(space);
	settle(w);
	assert_int_equal(before - charged(w), bytes);
	fixture_believe(w);
	*sum += bytes;
}

static void run_history(bool sharing)
{
	uint64_t ops = scratch_ops(20000), rounds = 0, sum = 0;
	struct fixture w;

	fixture_init(&w, scratch_seed(), sharing);
	for (uint64_t i = 0; i < ops; i++) {
		fixture_change(&w);
		if (scratch_random(&w.rng) % 120)
			continue;
		compare_frees(&w, &sum);
		compare_referenced(&w);
		rounds++;
	}
	fixture_compare(&w);
	fixture_fsck(&w);
	printf("# %llu deletions of %llu bytes\n", (unsigned long long)rounds,
	       (unsigned long long)sum);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_history),
	        cmocka_unit_test(test_history_with_sharing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
