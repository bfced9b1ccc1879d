/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Large files that are changed a little at a time, with a commit after each
 * few changes: they are stored as patches.  Changes of whole pages are patches
 * in memory, too.
 */
#include "file_history.h"

#include "engine.h"

enum { CHUNK = 1 << 16, SIZE = HISTORY_BYTES, ROUNDS = 400 };

static void random_fill(uint8_t *data, size_t len, bool text)
{
	static const char letters[] = "etaoin shrdlu";

	for (size_t i = 0; i < len; i++)
		data[i] = text ? (uint8_t)letters[random_below(13)]
		               : (uint8_t)scratch_random(&seed);
}

static void change(node_t file, bool text)
{
	static uint8_t bytes[20000];
	size_t len = 1 + random_below(random_below(5) ? 3000 : sizeof(bytes));
	size_t at = random_below(SIZE - len);

	switch (random_below(12)) {
	case 0:
		if (at > size)
			memset(content + size, 0, at - size);
		size = at;
		assert_int_equal(resize(&w, file, (off_t)size), 0);
		return;
	case 1:
		/* as a log is written */
		at = MIN(size, SIZE - len);
		break;
	case 2:
		at &= ~(size_t)1023;
		len = MIN(1024, len);
		break;
	case 3:
	case 4:
	case 5:
		len = 4096 * (1 + random_below(2));
		at = MIN(at & ~(size_t)4095, SIZE - len);
		break;
	}
	random_fill(bytes, len, text);
	put(&w, file, (off_t)at, bytes, len);
	if (at > size)
		memset(content + size, 0, at - size);
	memcpy(content + at, bytes, len);
	size = MAX(size, at + len);
}

static unsigned patches_stored(void)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	unsigned count = 0;
	uint64_t number;
	MDB_txn *txn;

	assert_int_equal(disk_read_begin(&w.store->disk, &txn), 0);
	assert_int_equal(mdb_cursor_open(txn, w.store->disk.blocks, &cursor),
	                 0);
	while (!mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		memcpy(&number, key.mv_data, sizeof(number));
		if (!(number & ((1 << DISK_FRAGMENT_BITS) - 1)) &&
		    *(uint8_t *)value.mv_data == BLOCK_TAG_PATCH)
			count++;
	}
	mdb_cursor_close(cursor);
	disk_read_end(&w.store->disk, txn);
	return count;
}

static void run(bool text)
{
	unsigned patches = 0;
	node_t file;

	memset(old, 0, sizeof(old));
	fixture_init(&w, 0);
	file = make(&w, w.main, "f", S_IFREG | 0644);
	size = SIZE;
	random_fill(content, SIZE, text);
	put(&w, file, 0, content, SIZE);
	for (int i = 0; i < ROUNDS; i++) {
		for (size_t n = 1 + random_below(3); n; n--)
			change(file, text);
		/* The next changes may come while these are written. */
		if (random_below(3))
			assert_int_equal(store_sync(w.store), 0);
		else
			store_commit_start(w.store);
		patches = MAX(patches, patches_stored());
		if (random_below(10) == 0)
			snapshot_replace((int)random_below(HISTORY_SNAPSHOTS));
		if (random_below(40) == 0)
			fixture_crash(&w); /* all is on disk */
		if (random_below(20) == 0)
			expect_all();
		else if (random_below(5) == 0)
			expect(file, content, size);
	}
	expect_all();
	assert_int_equal(forest_drain(w.forest), 0);
	fixture_reopen(&w);
	expect_all();
	assert_true(patches >= 6);
	fixture_release(&w);
}

static void test_text(void **state)
{
	seed = scratch_seed();
	run(true);
}

static void test_noise(void **state)
{
	seed = scratch_seed();
	run(false);
}

/* A little of a megabyte, over and over: not all of it each time. */
static void test_little_is_written(void **state)
{
	static uint8_t data[16 * CHUNK];
	uint64_t before;
	MDB_envinfo info;
	node_t file;

	seed = scratch_seed();
	fixture_init(&w, 0);
	file = make(&w, w.main, "f", S_IFREG | 0644);
	random_fill(data, sizeof(data), false);
	put(&w, file, 0, data, sizeof(data));
	assert_int_equal(store_sync(w.store), 0);
	disk_info(&w.store->disk, &info);
	before = info.me_last_pgno;
	for (size_t at = 500; at < sizeof(data); at += CHUNK) {
		data[at]++;
		put(&w, file, (off_t)at, data + at, 1);
	}
	assert_int_equal(store_sync(w.store), 0);
	disk_info(&w.store->disk, &info);
	/* Two pages each, and what nodes and tables take. */
	assert_true(info.me_last_pgno - before < 64);
	fixture_reopen(&w);
	for (size_t i = 0; i < 16; i++) {
		assert_int_equal(get(&w, file, (off_t)(i * CHUNK), got, CHUNK),
		                 CHUNK);
		assert_memory_equal(got, data + i * CHUNK, CHUNK);
	}
	fixture_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_text),
	        cmocka_unit_test(test_noise),
	        cmocka_unit_test(test_little_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
