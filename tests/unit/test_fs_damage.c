/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files whose chunks are missing, or are not as the store or the file says: an
 * error, at once.
 */
#include "fs_fixture.h"

#include "engine.h"
#include "fs_struct.h"
#include "node_codec.h"

/* Delete all chunks from the store. */
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

/* The chunks are longer than those of the store. */
static void test_long_chunks(void **state)
{
	static uint8_t bytes[1 << 17];
	uint8_t value[GEOMETRY_LEN_MAX];
	struct geometry g;
	struct fs_data data;
	struct fixture w;
	node_t file;

	memset(bytes, 'x', sizeof(bytes));
	fixture_init(&w, 17);
	file = make(&w, w.main, "file", S_IFREG | 0644);
	put(&w, file, 0, bytes, sizeof(bytes));
	store_lock(w.store);
	g = w.store->geometry;
	g.chunk_bits = 12;
	assert_int_equal(table_put(w.store, TABLE_META, "store", 5, value,
	                           geometry_encode(&g, value, sizeof(value))),
	                 0);
	store_unlock(w.store);
	fixture_reopen(&w);
	assert_int_equal(store_chunk_size(w.store), 4096);
	assert_int_equal(fs_write(w.fs, file, 100, "x", 1, 0), -EUCLEAN);
	assert_int_equal(fs_read(w.fs, file, 0, 100, &data), -EUCLEAN);
	fixture_close(&w);
	scratch_release(&w.scratch);
}

/*
 * Extents name a chunk before it is made, and say that it is longer than it
 * then is.
 */
static void test_short_chunk(void **state)
{
	enum { NUMBERS = 64 };
	struct state *s;
	struct fixture w;
	char text[300];
	uint64_t first;
	node_t file;

	memset(text, 'x', sizeof(text));
	fixture_init(&w, 0);
	file = make(&w, w.main, "file", S_IFREG | 0644);
	assert_int_equal(
	        resize(&w, file, (off_t)NUMBERS * store_chunk_size(w.store)),
	        0);
	make(&w, w.main, "other", S_IFREG | 0644);
	store_lock(w.store);
	first = w.store->seq + 1;
	assert_int_equal(state_get(w.forest, NODE_STATE(file), &s), 0);
	for (uint64_t i = 0; i < NUMBERS; i++) {
		struct extent e = {EXTENT_CHUNK, store_chunk_size(w.store),
		                   first + i, NULL};
		struct key key = {
		        .ino = NODE_INO(file), .kind = ITEM_EXTENT, .off = i};
		uint8_t value[TREE_VALUE_MAX];

		assert_int_equal(tree_put(state_tree(s), &key, value,
		                          extent_encode(&e, value)),
		                 0);
	}
	store_unlock(w.store);
	put(&w, look(&w, w.main, "other"), 0, text, sizeof(text));
	assert_true(w.store->seq < first + NUMBERS);
	for (uint64_t i = 0; i < NUMBERS; i++)
		assert_int_equal(
		        fs_write(w.fs, file,
		                 (off_t)(i * store_chunk_size(w.store)) + 60000,
		                 "x", 1, 0),
		        -EUCLEAN);
	fixture_close(&w);
	scratch_release(&w.scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_missing_chunks),
	        cmocka_unit_test(test_long_chunks),
	        cmocka_unit_test(test_short_chunk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
