/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files whose chunks are gone from the store: an error, at once. */
#include "fs_fixture.h"

#include "engine.h"
#include "node_codec.h"

/* Everything that is no tree node goes. */
static void chunks_lose(struct fixture *w)
{
	struct disk disk;
	MDB_cursor *cursor;
	MDB_val key, value;
	MDB_txn *txn;
	unsigned lost = 0;

	assert_int_equal(
	        disk_open(&disk, w->scratch.store, 1 << 30, false, false), 0);
	assert_int_equal(disk_open_tables(&disk, false, false), 0);
	assert_int_equal(mdb_txn_begin(disk.opening->env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_cursor_open(txn, disk.blocks, &cursor), 0);
	while (!mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		if (block_tag_is_node(&value))
			continue;
		assert_int_equal(mdb_cursor_del(cursor, 0), 0);
		lost++;
	}
	mdb_cursor_close(cursor);
	assert_int_equal(mdb_txn_commit(txn), 0);
	disk_close(&disk);
	assert_true(lost > 0);
}

static void test_missing_chunks(void **state)
{
	struct fs_entry link;
	struct fs_data data;
	struct fixture w;
	char target[2000], got[4096];
	uint8_t bytes[100000];
	node_t file;

	memset(target, 'x', sizeof(target));
	target[sizeof(target) - 1] = 0;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * i >> 9);
	fixture_init(&w, 0);
	file = make(&w, w.main, "file", S_IFREG | 0644);
	put(&w, file, 0, bytes, sizeof(bytes));
	assert_int_equal(fs_make(w.fs, w.main, "link", S_IFLNK | 0777, 0,
	                         target, &fixture_cred, &link),
	                 0);
	fixture_close(&w);
	chunks_lose(&w);
	fixture_open(&w);
	assert_int_equal(fs_read(w.fs, file, 0, 100, &data), -EUCLEAN);
	assert_int_equal(fs_write(w.fs, file, 70000, "x", 1, 0), -EUCLEAN);
	assert_int_equal(fs_readlink(w.fs, link.node, got), -EUCLEAN);
	/* A write that needs nothing of the old content succeeds. */
	assert_int_equal(fs_write(w.fs, file, 0, bytes, 65536, 0), 0);
	assert_int_equal(fs_read(w.fs, file, 0, 100, &data), 0);
	fs_data_release(&data);
	fixture_close(&w);
	scratch_release(&w.scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_missing_chunks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
