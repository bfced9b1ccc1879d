/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A large intent log: runs of several entries, and how the file grows. */
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>

#include "intent_fixture.h"

static int log_now(struct store *store)
{
	uint64_t txg;

	store_lock(store);
	txg = store_txg(store);
	store_unlock(store);
	return store_log(store, txg);
}

/* More than one entry takes. */
enum { MANY_CHUNKS = 40, MANY_BYTES = 1 << 16 };

static void many_make(struct tree *tree, uint8_t first,
                      uint64_t ret_numbers[MANY_CHUNKS])
{
	static uint8_t bytes[MANY_BYTES];

	for (int i = 0; i < MANY_CHUNKS; i++) {
		bytes[0] = first;
		bytes[1] = (uint8_t)i;
		ret_numbers[i] = chunk_make(tree, bytes, sizeof(bytes));
	}
}

static void many_expect(struct store *store, uint8_t first,
                        const uint64_t numbers[MANY_CHUNKS])
{
	static uint8_t bytes[MANY_BYTES];

	for (int i = 0; i < MANY_CHUNKS; i++) {
		bytes[0] = first;
		bytes[1] = (uint8_t)i;
		chunk_expect(store, numbers[i], bytes, sizeof(bytes));
	}
}

/* Wait until the group of the last log_now() is closed; return its number. */
static uint64_t closed_group(struct store *store)
{
	uint64_t group;
	bool closed;

	do {
		sched_yield();
		store_lock(store);
		closed = store->syncing_txg;
		group = store->intent.number - 1;
		store_unlock(store);
	} while (!closed);
	return group;
}

/* The log grows for groups that are waited for, which take several entries. */
static void test_runs(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;
	struct tree tree = {.store = store, .list = 1, .owner = 1};
	uint64_t numbers[3][MANY_CHUNKS], entries, half, group;
	struct chunk *chunk;
	MDB_txn *txn;

	many_make(&tree, 0, numbers[0]);
	assert_int_equal(log_now(store), 0);
	assert_int_equal(stats_of(store).logged, 0);
	half = store->intent.half;
	assert_true(half > INTENT_HALF);
	assert_true(store_has_feature(store, STORE_FEATURE_LARGE_LOG));

	/* The commit waits for this transaction to end. */
	assert_int_equal(store_sync(store), 0);
	assert_int_equal(disk_write_begin(&store->disk, &txn), 0);
	many_make(&tree, 1, numbers[1]);
	put(store, "key", 1);
	assert_int_equal(log_now(store), 0);
	entries = stats_of(store).logged;
	assert_true(entries > 2);
	crash(&scratch);
	again = copy_open(entries);
	assert_false(store_has_feature(again, STORE_FEATURE_LARGE_LOG));
	many_expect(again, 0, numbers[0]);
	many_expect(again, 1, numbers[1]);
	assert_int_equal(get(again, "key"), 1);
	assert_int_equal(store_close(again), 0);

	/* All of a run is there, or nothing. */
	group = closed_group(store);
	for (uint64_t i = 0; i < entries; i++) {
		crash(&scratch);
		log_damage((off_t)(intent_start(group, half) +
		                   i * INTENT_ENTRY_MAX));
		again = copy_open(0);
		many_expect(again, 0, numbers[0]);
		assert_int_equal(chunk_load(again, numbers[1][0], &chunk),
		                 -ENOENT);
		assert_int_equal(get(again, "key"), -1);
		assert_int_equal(store_close(again), 0);
	}

	/* The next group while that one is being committed. */
	many_make(&tree, 2, numbers[2]);
	put(store, "key", 2);
	assert_int_equal(log_now(store), 0);
	crash(&scratch);
	mdb_txn_abort(txn);
	for (int i = 0; i < 2; i++) {
		again = open_store(crashed);
		assert_int_equal(stats_of(again).replayed > entries, !i);
		for (uint8_t j = 0; j < 3; j++)
			many_expect(again, j, numbers[j]);
		assert_int_equal(get(again, "key"), 2);
		assert_int_equal(store_close(again), 0);
	}
	assert_int_equal(store_sync(store), 0);
	end(store, &scratch);
}

/* A log that cannot grow goes on as it is: its file is not lost meanwhile. */
static void test_growth_fails(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;
	struct tree tree = {.store = store, .list = 1, .owner = 1};
	uint64_t numbers[MANY_CHUNKS];
	/* The halves that it has, and enough for LMDB. */
	struct rlimit all, some;

	put(store, "key", 1);
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(stats_of(store).logged, 1);
	assert_int_equal(store_sync(store), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &all), 0);
	some = all;
	some.rlim_cur = 3 * INTENT_HALF;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &some), 0);
	many_make(&tree, 0, numbers);
	assert_int_equal(log_now(store), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
	assert_int_equal(stats_of(store).logged, 1);
	assert_int_equal(store->intent.half, INTENT_HALF);
	put(store, "key", 2);
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(stats_of(store).logged, 2);
	crash(&scratch);
	again = copy_open(1);
	many_expect(again, 0, numbers);
	assert_int_equal(get(again, "key"), 2);
	assert_int_equal(store_close(again), 0);
	end(store, &scratch);
}

/* A log grows in place: the entries of the group before stay until then. */
static void test_growth_keeps_entries(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;
	struct tree tree = {.store = store, .list = 1, .owner = 1};
	uint64_t numbers[2][MANY_CHUNKS];

	put(store, "key", 1);
	assert_int_equal(sync_by_log(store), 0);
	many_make(&tree, 0, numbers[0]);
	/* The group has an entry, so the larger halves must wait. */
	assert_int_equal(log_now(store), 0);
	assert_int_equal(stats_of(store).logged, 1);
	assert_int_equal(store->intent.half, INTENT_HALF);
	assert_true(store->intent.room > INTENT_HALF);
	put(store, "key", 2);
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(stats_of(store).logged, 2);
	crash(&scratch);
	again = copy_open(1);
	many_expect(again, 0, numbers[0]);
	assert_int_equal(get(again, "key"), 2);
	assert_int_equal(store_close(again), 0);
	assert_int_equal(store_sync(store), 0);
	/* The next group without entries has them. */
	many_make(&tree, 1, numbers[1]);
	assert_int_equal(log_now(store), 0);
	assert_int_equal(store->intent.half, store->intent.room);
	many_make(&tree, 2, numbers[1]);
	assert_int_equal(log_now(store), 0);
	assert_true(stats_of(store).logged > 3);
	end(store, &scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_runs),
	        cmocka_unit_test(test_growth_fails),
	        cmocka_unit_test(test_growth_keeps_entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
