/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * When a txg is committed, and who learns of it.  Commits that fail are in
 * tests/crash/test_retry.c.
 */
#include <stdatomic.h>

#include "store_fixture.h"

static void change(struct store *store, uint8_t value)
{
	store_lock(store);
	assert_int_equal(table_put(store, TABLE_NAME, "key", 3, &value, 1), 0);
	store_unlock(store);
}

static uint8_t value_get(struct store *store)
{
	struct record record;

	store_lock(store);
	assert_int_equal(table_get(store, TABLE_NAME, "key", 3, &record), 0);
	store_unlock(store);
	assert_int_equal(record.len, 1);
	return record.value[0];
}

static uint64_t txg_open(struct store *store)
{
	uint64_t txg;

	store_lock(store);
	txg = store_txg(store);
	store_unlock(store);
	return txg;
}

static uint64_t commits(struct store *store)
{
	struct store_stats stats;

	store_stats(store, &stats);
	return stats.commits;
}

/* A sync commits what has changed, and does nothing if nothing has. */
static void test_sync(void **state)
{
	struct scratch scratch;
	struct store *store = fresh_store(&scratch);
	uint64_t before, txg;

	assert_int_equal(store_sync(store), 0);
	before = commits(store);
	change(store, 1);
	txg = txg_open(store);
	assert_int_equal(store_sync(store), 0);
	assert_int_equal(commits(store), before + 1);
	assert_true(txg_open(store) > txg);
	assert_int_equal(store_wait(store, txg), 0);
	assert_int_equal(store_sync(store), 0);
	assert_int_equal(commits(store), before + 1);
	assert_int_equal(store_close(store), 0);
	scratch_release(&scratch);
}

/* All changes of one hold of the lock are in one txg. */
static void test_one_txg(void **state)
{
	struct scratch scratch;
	struct store *store = fresh_store(&scratch);

	for (uint8_t i = 0; i < 100; i++) {
		uint64_t txg;

		store_commit_start(store);
		store_lock(store);
		txg = store_txg(store);
		for (uint8_t j = 0; j < 10; j++)
			assert_int_equal(
			        table_put(store, TABLE_NAME, &j, 1, &i, 1), 0);
		assert_int_equal(store_txg(store), txg);
		store_unlock(store);
	}
	assert_int_equal(store_close(store), 0);
	scratch_release(&scratch);
}

struct waits {
	struct store *store;
	_Atomic int called;
	_Atomic int err;
};

static void on_durable(void *arg, int err)
{
	struct waits *waits = arg;

	waits->err = err;
	waits->called++;
}

static void test_fsync(void **state)
{
	struct scratch scratch;
	struct store *store = fresh_store(&scratch);
	struct waits waits = {.err = -1};

	change(store, 2);
	store_fsync(store, on_durable, &waits);
	store_fsync(store, on_durable, &waits);
	/* Closing the store calls the waiters first. */
	assert_int_equal(store_close(store), 0);
	assert_int_equal(waits.called, 2);
	assert_int_equal(waits.err, 0);
	scratch_release(&scratch);
}

static void on_close(void *arg)
{
	struct waits *waits = arg;
	uint8_t value = 7;

	waits->called++;
	assert_int_equal(
	        table_put(waits->store, TABLE_NAME, "key", 3, &value, 1), 0);
}

/* Records that the hook puts belong to the txg that is closed. */
static void test_close_hook(void **state)
{
	struct scratch scratch;
	struct store *store = fresh_store(&scratch);
	struct waits waits = {.store = store};

	store_on_txg_close(store, on_close, &waits);
	store_lock(store);
	store_changed(store);
	store_unlock(store);
	assert_int_equal(store_sync(store), 0);
	assert_int_equal(waits.called, 1);
	store_on_txg_close(store, NULL, NULL);
	assert_int_equal(store_close(store), 0);
	store = open_store(scratch.store);
	assert_int_equal(value_get(store), 7);
	assert_int_equal(store_close(store), 0);
	scratch_release(&scratch);
}

/* A txg is committed when it is old enough, without being asked for. */
static void test_age(void **state)
{
	struct store_options options = {.commit_ms = 1};
	struct scratch scratch;
	struct store *store = fresh_store(&scratch);
	struct store_stats stats;
	uint64_t before;

	assert_int_equal(store_close(store), 0);
	assert_int_equal(store_open(scratch.store, &options, &store), 0);
	before = commits(store);
	change(store, 3);
	do {
		store_yield(store);
		store_stats(store, &stats);
	} while (stats.commits == before);
	assert_int_equal(store_close(store), 0);
	scratch_release(&scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_sync),  cmocka_unit_test(test_one_txg),
	        cmocka_unit_test(test_fsync), cmocka_unit_test(test_close_hook),
	        cmocka_unit_test(test_age),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
