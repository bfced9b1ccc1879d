/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The intent log: what makes changes durable without a commit, and what a
 * crash leaves of them.  Power cuts in the middle of writes are in
 * tests/crash/test_crash.c.
 */
#include "intent_fixture.h"

/* An entry for each fsync that has something to be written, and no commit. */
static void test_entries(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch);

	for (uint8_t i = 1; i <= 5; i++) {
		put(store, "key", i);
		assert_int_equal(sync_by_log(store), 0);
		assert_int_equal(stats_of(store).logged, i);
	}
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(stats_of(store).logged, 5);
	assert_int_equal(stats_of(store).commits, 1);
	assert_int_equal(store_sync(store), 0);
	assert_int_equal(stats_of(store).commits, 2);
	end(store, &scratch);
}

/* The file and the feature are there as long as the store is in use. */
static void test_clean_close(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch);

	assert_true(exists(scratch.store, "log"));
	assert_true(store_has_feature(store, STORE_FEATURE_LOG));
	put(store, "key", 7);
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(store_close(store), 0);
	assert_false(exists(scratch.store, "log"));
	store = open_store(scratch.store);
	assert_false(store_has_feature(store, STORE_FEATURE_LOG));
	assert_int_equal(stats_of(store).replayed, 0);
	assert_int_equal(get(store, "key"), 7);
	end(store, &scratch);
}

/* The file does not stay when its use ended before the store is closed. */
static void test_close_unused(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch);

	store_lock(store);
	assert_int_equal(intent_log_pause(store), 0);
	intent_log_resume(store);
	store_unlock(store);
	assert_true(exists(scratch.store, "log"));
	assert_int_equal(store_close(store), 0);
	assert_false(exists(scratch.store, "log"));
	scratch_release(&scratch);
}

static void test_replay(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;

	put(store, "key", 1);
	put(store, "gone", 1);
	assert_int_equal(sync_by_log(store), 0);
	put(store, "key", 2);
	store_lock(store);
	assert_int_equal(table_del(store, TABLE_NAME, "gone", 4), 0);
	assert_int_equal(table_del(store, TABLE_NAME, "first", 5), 0);
	store_unlock(store);
	assert_int_equal(sync_by_log(store), 0);
	put(store, "key", 3); /* and is not synced */
	crash(&scratch);
	for (int i = 0; i < 2; i++) {
		again = copy_open(i ? 0 : 2);
		assert_false(exists(crashed, "log"));
		assert_int_equal(get(again, "key"), 2);
		assert_int_equal(get(again, "gone"), -1);
		assert_int_equal(get(again, "first"), -1);
		assert_int_equal(store_close(again), 0);
		/* Replayed entries are void. */
		one_copy(scratch.store, crashed, "log");
	}
	end(store, &scratch);
}

/* Chunks that were changed, lengthened and dropped between entries. */
static void test_chunks(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;
	struct tree tree = {.store = store, .list = 1, .owner = 1};
	uint64_t kept = chunk_make(&tree, "some bytes", 10),
	         dropped = chunk_make(&tree, "others", 6);
	struct chunk *chunk;

	assert_int_equal(sync_by_log(store), 0);
	store_lock(store);
	chunk = chunk_find(store, kept, NULL);
	assert_int_equal(chunk_resize(chunk, 20), 0);
	memcpy(chunk_data(chunk) + 5, "BYTES AND MORE.", 15);
	chunk_changed(chunk, 5, 20);
	chunk_unref(chunk);
	store_unlock(store);
	drop(&tree, dropped);
	assert_int_equal(sync_by_log(store), 0);
	crash(&scratch);
	again = copy_open(2);
	chunk_expect(again, kept, "some BYTES AND MORE.", 20);
	assert_int_equal(chunk_load(again, dropped, &chunk), -ENOENT);
	assert_int_equal(store_close(again), 0);
	end(store, &scratch);
}

/* Replace a stored chunk by a patch with one other page. */
static uint64_t patch_make(struct tree *tree, uint64_t number, uint32_t len,
                           uint32_t at, const uint8_t *page)
{
	struct store *store = tree->store;
	struct chunk *patch;

	assert_int_equal(
	        chunk_patch(store, number, len, at, at + 4096, page, &patch),
	        0);
	store_lock(store);
	tree_drop(tree, number);
	number = chunk_add(tree, patch, number);
	store_unlock(store);
	chunk_unref(patch);
	return number;
}

/* Change a page of a patch, or of a chunk that was one. */
static void page_change(struct store *store, uint64_t number, uint32_t at,
                        const uint8_t *page)
{
	struct chunk *chunk;

	store_lock(store);
	chunk = chunk_find_patch(store, number);
	if (chunk) {
		assert_true(chunk_patch_fits(chunk, at, at + 4096));
		assert_int_equal(chunk_patch_write(chunk, at, at + 4096, page),
		                 0);
	} else {
		chunk = chunk_find(store, number, NULL);
		memcpy(chunk_data(chunk) + at, page, 4096);
		chunk_changed(chunk, at, at + 4096);
	}
	chunk_unref(chunk);
	store_unlock(store);
}

static void crash_expect(const struct scratch *scratch, uint64_t number,
                         const uint8_t *data, size_t len)
{
	struct store *again;

	crash(scratch);
	again = open_store(crashed);
	assert_true(stats_of(again).replayed > 0);
	chunk_expect(again, number, data, len);
	assert_int_equal(store_close(again), 0);
}

/* A patch is logged with its own pages, and with all once it is a chunk. */
static void test_patches(void **state)
{
	static uint8_t data[65536];
	const uint8_t page[4096] = "changed";
	struct scratch scratch;
	struct store *store = logged_store(&scratch);
	struct tree tree = {.store = store, .list = 1, .owner = 1};
	uint64_t number, seed = scratch_seed(), dropped;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)scratch_random(&seed);
	number = chunk_make(&tree, data, sizeof(data));
	dropped = chunk_make(&tree, data, sizeof(data));
	assert_int_equal(store_sync(store), 0);
	number = patch_make(&tree, number, sizeof(data), 8192, page);
	memcpy(data + 8192, page, sizeof(page));
	/* The first one comes with its feature, by a commit. */
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(stats_of(store).logged, 0);

	dropped = patch_make(&tree, dropped, sizeof(data), 4096, page);
	assert_int_equal(sync_by_log(store), 0);
	drop(&tree, dropped);
	number = patch_make(&tree, number, sizeof(data), 0, page);
	memcpy(data, page, sizeof(page));
	assert_int_equal(sync_by_log(store), 0);
	crash_expect(&scratch, number, data, sizeof(data));

	page_change(store, number, 12288, page);
	memcpy(data + 12288, page, sizeof(page));
	assert_int_equal(sync_by_log(store), 0);
	crash_expect(&scratch, number, data, sizeof(data));

	assert_int_equal(chunk_complete(store, number), 0);
	for (uint32_t at = 20480; at < 53248; at += 4096) {
		page_change(store, number, at, page);
		memcpy(data + at, page, sizeof(page));
		assert_int_equal(sync_by_log(store), 0);
	}
	assert_true(stats_of(store).logged > 10);
	crash_expect(&scratch, number, data, sizeof(data));
	end(store, &scratch);
}

/* A commit makes the entries before it void. */
static void test_commit(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;

	for (uint8_t i = 1; i <= 4; i++) {
		put(store, "key", i);
		assert_int_equal(sync_by_log(store), 0);
		put(store, "key", (uint8_t)(i + 10));
		assert_int_equal(store_sync(store), 0);
		crash(&scratch);
		again = copy_open(0);
		assert_int_equal(get(again, "key"), i + 10);
		assert_int_equal(store_close(again), 0);
	}
	end(store, &scratch);
}

/* While a group is being committed, the log has all of it and of the next. */
static void test_chain(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;
	uint64_t txg;
	MDB_txn *txn;

	/* The commit waits for this transaction to end. */
	assert_int_equal(disk_write_begin(&store->disk, &txn), 0);
	put(store, "key", 1);
	assert_int_equal(sync_by_log(store), 0);
	put(store, "key", 2);
	put(store, "other", 2);
	store_lock(store);
	txg = store_txg(store);
	store_unlock(store);
	store_commit_start(store);
	for (bool closed = false; !closed;) {
		store_lock(store);
		closed = store->syncing_txg;
		store_unlock(store);
	}
	for (uint8_t i = 3; i < 6; i++) {
		put(store, "key", i);
		assert_int_equal(sync_by_log(store), 0);
	}
	assert_int_equal(stats_of(store).commits, 1);
	crash(&scratch);
	mdb_txn_abort(txn);
	assert_int_equal(store_wait(store, txg), 0);
	again = copy_open(5);
	assert_int_equal(get(again, "key"), 5);
	assert_int_equal(get(again, "other"), 2);
	assert_int_equal(store_close(again), 0);
	/* The entries of the open group follow the commit. */
	crash(&scratch);
	again = copy_open(3);
	assert_int_equal(get(again, "key"), 5);
	assert_int_equal(get(again, "other"), 2);
	assert_int_equal(store_close(again), 0);
	end(store, &scratch);
}

/* An entry that is not complete ends the log. */
static void test_torn(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;
	uint64_t at;

	put(store, "key", 1);
	assert_int_equal(sync_by_log(store), 0);
	at = intent_start(2, INTENT_HALF) + store->open_txg->intent.end;
	put(store, "key", 2);
	assert_int_equal(sync_by_log(store), 0);
	for (off_t i = 0; i < INTENT_HEADER + 5; i += 3) {
		crash(&scratch);
		log_damage((off_t)at + i);
		again = copy_open(1);
		assert_int_equal(get(again, "key"), 1);
		assert_int_equal(store_close(again), 0);
	}
	/* An entry behind a missing one is not replayed either. */
	crash(&scratch);
	log_damage((off_t)intent_start(2, INTENT_HALF));
	again = copy_open(0);
	assert_int_equal(get(again, "key"), -1);
	assert_int_equal(store_close(again), 0);
	end(store, &scratch);
}

/* A log of another use, be it of the same store, is not replayed. */
static void test_foreign(void **state)
{
	struct scratch scratch, other_scratch;
	struct store *store = logged_store(&scratch), *again;
	struct store *other = logged_store(&other_scratch);

	put(store, "key", 1);
	assert_int_equal(sync_by_log(store), 0);
	put(other, "key", 2);
	assert_int_equal(sync_by_log(other), 0);
	crash(&scratch);
	one_copy(other_scratch.store, crashed, "log");
	again = copy_open(0);
	assert_int_equal(get(again, "key"), -1);
	assert_int_equal(store_close(again), 0);
	end(other, &other_scratch);
	end(store, &scratch);
}

/* Blocks in memory have the sizes that the store had when it was opened. */
static void test_other_sizes(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;

	for (int i = 0; i < 2; i++) {
		struct geometry g = store->geometry;
		uint8_t value[GEOMETRY_LEN_MAX];

		g.node_size += i ? 0 : 8;
		g.chunk_bits -= i ? 1 : 0;
		store_lock(store);
		assert_int_equal(
		        table_put(store, TABLE_META, "store", 5, value,
		                  geometry_encode(&g, value, sizeof(value))),
		        0);
		store_unlock(store);
		assert_int_equal(sync_by_log(store), 0);
		crash(&scratch);
		assert_int_equal(store_open(crashed, NULL, &again), -EUCLEAN);
		assert_true(exists(crashed, "log"));
	}
	end(store, &scratch);
}

/* A reader sees what the log has, and leaves both files as they are. */
static void test_readonly(void **state)
{
	const struct store_options options = {.readonly = true};
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;

	put(store, "key", 4);
	assert_int_equal(sync_by_log(store), 0);
	crash(&scratch);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(store_open(crashed, &options, &again), 0);
		assert_int_equal(stats_of(again).replayed, 1);
		assert_int_equal(get(again, "key"), 4);
		assert_int_equal(store_close(again), 0);
		assert_true(exists(crashed, "log"));
	}
	/* For the check it is committed. */
	assert_int_equal(store_open_committed(crashed, &again), 0);
	assert_int_equal(get(again, "key"), 4);
	assert_int_equal(stats_of(again).replayed, 0);
	assert_int_equal(store_close(again), 0);
	assert_false(exists(crashed, "log"));
	end(store, &scratch);
}

/* A change too large for the log is committed, and the log goes on. */
static void test_large(void **state)
{
	static uint8_t bytes[1 << 16];
	struct scratch scratch;
	struct store *store = logged_store(&scratch);
	struct tree tree = {.store = store, .list = 1, .owner = 1};

	for (int i = 0; i < 20; i++) {
		bytes[0] = (uint8_t)i;
		chunk_make(&tree, bytes, sizeof(bytes));
	}
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(stats_of(store).logged, 0);
	assert_int_equal(stats_of(store).commits, 2);
	put(store, "key", 1);
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(stats_of(store).logged, 1);
	assert_int_equal(stats_of(store).commits, 2);
	end(store, &scratch);
}

/* The entries go on in the other half before one is full. */
static void test_halves(void **state)
{
	static uint8_t bytes[1 << 16];
	struct scratch scratch;
	struct store *store = logged_store(&scratch);
	struct tree tree = {.store = store, .list = 1, .owner = 1};

	for (int i = 0; i < 300; i++) {
		bytes[0] = (uint8_t)i;
		chunk_make(&tree, bytes, sizeof(bytes));
		put(store, "key", (uint8_t)i);
		assert_int_equal(sync_by_log(store), 0);
	}
	assert_true(stats_of(store).logged > 290);
	assert_true(stats_of(store).commits > 3);
	end(store, &scratch);
}

/* Without the log each fsync is a commit. */
static void test_off(void **state)
{
	const struct store_options options = {.no_log = true};
	struct scratch scratch;
	struct store *store;

	scratch_init(&scratch);
	assert_int_equal(store_create(scratch.store, NULL), 0);
	assert_int_equal(store_open(scratch.store, &options, &store), 0);
	for (uint8_t i = 1; i <= 3; i++) {
		put(store, "key", i);
		assert_int_equal(sync_by_log(store), 0);
		assert_int_equal(stats_of(store).commits, i);
	}
	assert_int_equal(stats_of(store).logged, 0);
	assert_false(exists(scratch.store, "log"));
	end(store, &scratch);
}

/* The log does not go with a copy of the store, which does without. */
static int no_progress(void *arg, uint64_t done, uint64_t all)
{
	return 0;
}

static void test_copy(void **state)
{
	const struct copy_options options = {.progress = no_progress};
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *copy;
	char path[100], file[120];
	uint64_t bytes;
	int fd;

	put(store, "key", 9);
	assert_int_equal(sync_by_log(store), 0);
	snprintf(path, sizeof(path), "%s/copy", scratch.dir);
	snprintf(file, sizeof(file), "%s/data.mdb", path);
	assert_int_equal(mkdir(path, 0700), 0);
	fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(store_copy(store, fd, &options, &bytes), 0);
	close(fd);
	copy = open_store(path);
	assert_false(store_has_feature(copy, STORE_FEATURE_LOG));
	assert_int_equal(get(copy, "key"), 9);
	assert_int_equal(store_close(copy), 0);
	/* The store itself begins to use it again. */
	put(store, "key", 10);
	assert_int_equal(sync_by_log(store), 0);
	put(store, "key", 11);
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(stats_of(store).logged, 2);
	crash(&scratch);
	copy = open_store(crashed);
	assert_int_equal(get(copy, "key"), 11);
	assert_int_equal(store_close(copy), 0);
	end(store, &scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_entries),
	        cmocka_unit_test(test_clean_close),
	        cmocka_unit_test(test_close_unused),
	        cmocka_unit_test(test_replay),
	        cmocka_unit_test(test_chunks),
	        cmocka_unit_test(test_patches),
	        cmocka_unit_test(test_commit),
	        cmocka_unit_test(test_chain),
	        cmocka_unit_test(test_torn),
	        cmocka_unit_test(test_foreign),
	        cmocka_unit_test(test_other_sizes),
	        cmocka_unit_test(test_readonly),
	        cmocka_unit_test(test_large),
	        cmocka_unit_test(test_halves),
	        cmocka_unit_test(test_off),
	        cmocka_unit_test(test_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
