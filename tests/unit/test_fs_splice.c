/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files of several chunks that are rewritten with bytes inserted and removed,
 * while snapshots of them come and go: they are stored as splices.
 */
#include "file_history.h"

#include "chunk_codec.h"
#include "engine.h"
#include "splice.h"

enum {
	CHUNK_BITS = 12,
	SIZE = 24 << CHUNK_BITS, /* at first */
	MOST = HISTORY_BYTES,
	ROUNDS = 120,
};

static void random_fill(uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)scratch_random(&seed);
}

/* Insert bytes, remove some, or move a part to the end. */
static void edit(void)
{
	size_t len = 1 + random_below(3000), at = random_below(size - len);
	static uint8_t part[3000];

	if (random_below(3) && size + len <= MOST) {
		memmove(content + at + len, content + at, size - at);
		random_fill(content + at, len);
		size += len;
		return;
	}
	memcpy(part, content + at, len);
	memmove(content + at, content + at + len, size - at - len);
	size -= len;
	if (size < SIZE / 2 || random_below(2)) {
		memcpy(content + size, part, len);
		size += len;
	}
}

/* Write all of the file in one of the ways in which programs do. */
static void rewrite(void)
{
	node_t file = look(&w, w.main, "f");
	bool renamed = random_below(3) == 0;

	if (renamed)
		file = make(&w, w.main, "new", S_IFREG | 0644);
	else if (random_below(2))
		assert_int_equal(resize(&w, file, 0), 0);
	put(&w, file, 0, content, size);
	assert_int_equal(resize(&w, file, (off_t)size), 0);
	if (renamed)
		assert_int_equal(fs_rename(w.fs, w.main, "new", w.main, "f", 0,
		                           &fixture_cred),
		                 0);
}

/* Count the splices in the store, and check how much is read for each. */
static unsigned splices_stored(void)
{
	unsigned count = 0, several = 0;
	MDB_cursor *cursor;
	MDB_val key, value;
	uint64_t number;
	MDB_txn *txn;

	assert_int_equal(disk_read_begin(&w.store->disk, &txn), 0);
	assert_int_equal(mdb_cursor_open(txn, w.store->disk.blocks, &cursor),
	                 0);
	while (!mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		struct chunk_header h;

		memcpy(&number, key.mv_data, sizeof(number));
		if (number & (DISK_FRAGMENTS - 1) ||
		    *(uint8_t *)value.mv_data != BLOCK_TAG_SPLICE)
			continue;
		assert_int_equal(
		        chunk_header_decode(value.mv_data, value.mv_size, &h),
		        0);
		assert_true(h.depth >= h.base_count);
		assert_true(h.depth <= w.store->options.delta_depth);
		count++;
		several += h.base_count > 1;
	}
	mdb_cursor_close(cursor);
	disk_read_end(&w.store->disk, txn);
	return several ? count : 0;
}

static void test_rewritten(void **state)
{
	unsigned splices = 0;

	seed = scratch_seed();
	fixture_init(&w, CHUNK_BITS);
	size = SIZE;
	random_fill(content, SIZE);
	put(&w, make(&w, w.main, "f", S_IFREG | 0644), 0, content, SIZE);
	snapshot_replace(0);
	for (int i = 0; i < ROUNDS; i++) {
		for (size_t n = 1 + random_below(2); n; n--)
			edit();
		rewrite();
		if (random_below(8))
			assert_int_equal(store_sync(w.store), 0);
		splices = MAX(splices, splices_stored());
		if (random_below(4) == 0)
			snapshot_replace((int)random_below(HISTORY_SNAPSHOTS));
		if (random_below(10) == 0)
			expect_all();
		if (random_below(20) == 0) {
			assert_int_equal(store_sync(w.store), 0);
			fixture_crash(&w);
		}
	}
	assert_int_equal(store_sync(w.store), 0);
	expect_all();
	assert_true(splices > 10);
	assert_true(store_has_feature(w.store, STORE_FEATURE_SPLICES));
	assert_int_equal(forest_drain(w.forest), 0);
	fixture_reopen(&w);
	expect_all();
	fixture_release(&w);
}

/* Each way of rewriting a file costs about what was inserted. */
static void test_insertion_costs_little(void **state)
{
	enum { REVISIONS = 12, PIECE = 1000 };
	node_t parent;
	uint64_t before;
	MDB_envinfo info;
	char name[16];

	seed = scratch_seed();
	fixture_init(&w, 0);
	size = SIZE;
	random_fill(content, SIZE);
	put(&w, make(&w, w.main, "f", S_IFREG | 0644), 0, content, SIZE);
	parent = NODE(NODE_STATE(w.main), INO_SNAPDIR);
	make(&w, parent, "first", S_IFDIR | 0755);
	assert_int_equal(store_sync(w.store), 0);
	disk_info(&w.store->disk, &info);
	before = info.me_last_pgno;
	for (int i = 0; i < REVISIONS; i++) {
		size_t at = random_below(size);

		memmove(content + at + PIECE, content + at, size - at);
		random_fill(content + at, PIECE);
		size += PIECE;
		rewrite();
		/* A chunk that is never stored hands down the one it replaces.
		 */
		if (i % 2)
			rewrite();
		snprintf(name, sizeof(name), "r%d", i);
		make(&w, parent, name, S_IFDIR | 0755);
		assert_int_equal(store_sync(w.store), 0);
	}
	disk_info(&w.store->disk, &info);
	/* The file has 24 pages: without splices half of them a revision. */
	assert_in_range(info.me_last_pgno - before, 1, REVISIONS * 8);
	expect(look(&w, w.main, "f"), content, size);
	fixture_check(&w);
	fixture_release(&w);
}

static void reject(const uint8_t *payload, size_t len)
{
	struct splice splice;
	size_t head;

	assert_int_equal(splice_decode(payload, len, 100, 2, &splice, &head),
	                 -EUCLEAN);
}

static void test_codec(void **state)
{
	struct splice splice = {2, {{1, 300, 60}, {0, 0, 40}}}, read;
	uint8_t out[SPLICE_HEAD_MAX];
	size_t head, len = splice_encode(&splice, out);

	assert_int_equal(splice_own(&splice), 40);
	assert_int_equal(splice_decode(out, len, 100, 2, &read, &head), 0);
	assert_int_equal(head, len);
	assert_int_equal(read.count, 2);
	assert_memory_equal(read.pieces, splice.pieces,
	                    2 * sizeof(*read.pieces));
	for (size_t i = 0; i < len; i++)
		reject(out, i);
	/* Too short, too long, a base too many, an empty piece. */
	reject((const uint8_t[]){1, 0, 99}, 3);
	reject((const uint8_t[]){1, 0, 101}, 3);
	reject((const uint8_t[]){1, 3, 0, 100}, 4);
	reject((const uint8_t[]){2, 0, 100, 0, 0}, 5);
	/* More pieces than there may be. */
	reject((const uint8_t[]){129, 1, 0, 1}, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_rewritten),
	        cmocka_unit_test(test_insertion_costs_little),
	        cmocka_unit_test(test_codec),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
