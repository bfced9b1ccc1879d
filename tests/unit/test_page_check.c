/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pages that a transaction is about to change are looked at: what LMDB has
 * written itself is never refused, in whatever state it leaves its file, and
 * what would lead it astray always is.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/stat.h>

#include "disk.h"
#include "page.h"
#include "scratch.h"
#include "util.h"

enum { MAP = 1 << 29 };

static struct fixture {
	struct scratch scratch;
	struct disk disk;
	uint64_t random;
} w;

static int setup(void **state)
{
	w = (struct fixture){.random = scratch_seed()};
	scratch_init(&w.scratch);
	assert_int_equal(mkdir(w.scratch.store, 0700), 0);
	assert_int_equal(disk_open(&w.disk, w.scratch.store, MAP, true, false),
	                 0);
	/* No power cut here: save the syncs. */
	assert_int_equal(mdb_env_set_flags(w.disk.opening->env, MDB_NOSYNC, 1),
	                 0);
	return 0;
}

static int teardown(void **state)
{
	disk_close(&w.disk);
	scratch_release(&w.scratch);
	return 0;
}

static uint64_t below(uint64_t n)
{
	return scratch_random(&w.random) % n;
}

static MDB_txn *begin(void)
{
	MDB_txn *txn;

	assert_int_equal(disk_write_begin(&w.disk, &txn), 0);
	return txn;
}

static void commit(MDB_txn *txn)
{
	assert_int_equal(disk_write_commit(&w.disk, txn), 0);
}

static int block_put(MDB_txn *txn, uint64_t number, size_t len)
{
	static uint8_t bytes[DISK_VALUE_MAX];
	MDB_val key = {sizeof(number), &number}, value = {len, bytes};

	return disk_put(txn, w.disk.blocks, &key, &value);
}

/* ---- What is intact ----------------------------------------------------- */

/* Change a block or a record. */
static void change(MDB_txn *txn, uint64_t number, bool removal)
{
	static uint8_t bytes[DISK_VALUE_MAX];
	uint8_t name[512];
	bool block = below(3);
	MDB_dbi dbi = block ? w.disk.blocks : w.disk.records;
	MDB_val key = {sizeof(number), &number};
	MDB_val value = {below(5) ? below(200) : below(DISK_VALUE_MAX), bytes};
	int r;

	if (!block) {
		/* Long and short, and always the same for a number. */
		key = (MDB_val){8 + number * 7919 % (number % 3 ? 30 : 500),
		                name};
		memset(name, (int)(number % 251), sizeof(name));
		memcpy(name, &number, sizeof(number));
	}
	r = removal ? disk_del(txn, dbi, &key)
	            : disk_put(txn, dbi, &key, &value);
	assert_true(!r || (removal && r == MDB_NOTFOUND));
}

static void changes(uint64_t round)
{
	uint64_t count = below(20) ? below(60) : below(4000),
	         base = below(20000);
	bool shrinking = round / 60 % 2, in_order = below(2);
	MDB_txn *txn = begin();

	for (uint64_t i = 0; i < count; i++)
		change(txn, in_order ? base + i : below(20000),
		       below(5) ? shrinking : !shrinking);
	if (below(10))
		commit(txn);
	else
		mdb_txn_abort(txn);
}

/* Growing and shrinking, with readers that keep pages from being used again. */
static void test_any_state_is_sound(void **state)
{
	uint64_t rounds = scratch_ops(600);
	MDB_txn *reader = NULL;

	for (uint64_t round = 0; round < rounds; round++) {
		if (below(40) == 0 && reader) {
			disk_read_end(&w.disk, reader);
			reader = NULL;
		} else if (below(40) == 0 && !reader) {
			assert_int_equal(disk_read_begin(&w.disk, &reader), 0);
		}
		changes(round);
	}
	if (reader)
		disk_read_end(&w.disk, reader);
}

/*
 * Much is written by few, and deleted by one: its list of free pages takes
 * several, and keeps them when it has become shorter.
 */
static void test_long_lists_are_sound(void **state)
{
	uint64_t number = 0;
	MDB_txn *txn;

	for (int i = 0; i < 20; i++) {
		txn = begin();
		for (int j = 0; j < 2000; j++)
			assert_int_equal(
			        block_put(txn, ++number, DISK_VALUE_MAX), 0);
		commit(txn);
	}
	txn = begin();
	for (; number; number--)
		assert_int_equal(disk_del_u64(txn, w.disk.blocks, number), 0);
	commit(txn);
	for (int i = 0; i < 300; i++) {
		txn = begin();
		for (uint64_t n = below(40); n; n--)
			assert_int_equal(block_put(txn, below(100000),
			                           below(DISK_VALUE_MAX)),
			                 0);
		commit(txn);
	}
}

/* Aborted ones begin with the same pages again, and there is no end of them. */
static void test_aborted_over_and_over(void **state)
{
	MDB_txn *txn = begin();

	for (uint64_t i = 0; i < 50000; i++)
		assert_int_equal(block_put(txn, i, 400), 0);
	commit(txn);
	for (uint64_t i = 0; i < 200; i++) {
		txn = begin();
		for (uint64_t j = 0; j < 200; j++)
			assert_int_equal(block_put(txn, i * 250 + j, 400), 0);
		mdb_txn_abort(txn);
	}
}

/* ---- What is not -------------------------------------------------------- */

/* The numbers of the leaves of blocks, in their order. */
static size_t leaves_find(uint64_t *leaves, size_t most)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	size_t len = 0;
	MDB_txn *txn;

	assert_int_equal(disk_read_begin(&w.disk, &txn), 0);
	assert_int_equal(disk_cursor_open(txn, w.disk.blocks, &cursor), 0);
	while (!disk_cursor_get(cursor, &key, &value, MDB_NEXT)) {
		const uint8_t *at = key.mv_data;
		uint64_t page = le64_get(at - (uintptr_t)at % DISK_PAGE);

		if (len < most && (!len || leaves[len - 1] != page))
			leaves[len++] = page;
	}
	mdb_cursor_close(cursor);
	disk_read_end(&w.disk, txn);
	return len;
}

static void page_flip(uint64_t page, size_t at, uint8_t bits)
{
	_cleanup_free_ char *name = NULL;
	_cleanup_close_ int fd = -1;
	off_t where = (off_t)(page * DISK_PAGE + at);
	uint8_t byte = 0;

	assert_true(asprintf(&name, "%s/data.mdb", w.scratch.store) > 0);
	fd = open(name, O_RDWR);
	assert_true(fd >= 0 && pread(fd, &byte, 1, where) == 1);
	byte ^= bits;
	assert_true(pwrite(fd, &byte, 1, where) == 1);
}

static void fill(void)
{
	MDB_txn *txn = begin();

	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(block_put(txn, i, 100), 0);
	commit(txn);
}

/* All of the leaf's keys are deleted: an LMDB error, or 0. */
static int leaf_empty(uint64_t first, uint64_t count)
{
	MDB_txn *txn;
	int r = disk_write_begin(&w.disk, &txn);

	if (r < 0)
		return MDB_CORRUPTED;
	for (uint64_t i = first; i < first + count && !r; i++) {
		MDB_val key = {sizeof(i), &i};

		r = disk_del(txn, w.disk.blocks, &key);
	}
	mdb_txn_abort(txn);
	return r;
}

/* A bit of a leaf is another one; it is found, and then as it was. */
static void bit_try(uint64_t leaf, size_t at, unsigned bit)
{
	page_flip(leaf, at, (uint8_t)(1 << bit));
	if (!leaf_empty(0, 100))
		fail_msg("byte %zu, bit %u", at, bit);
	page_flip(leaf, at, (uint8_t)(1 << bit));
}

/* Any bit of what LMDB finds its way by in a leaf that it is to change. */
static void test_bits_of_a_leaf(void **state)
{
	uint64_t leaves[8];

	fill();
	assert_true(leaves_find(leaves, 8) == 8);
	assert_int_equal(leaf_empty(0, 100), 0);
	for (unsigned bit = 0; bit < 8; bit++) {
		/* Number, kind, bounds and the first offsets. */
		for (size_t at = 0; at < 32; at++)
			if (at < 8 || at >= 10)
				bit_try(leaves[1], at, bit);
		/* The head of the entry that was the first, and lies last. */
		for (size_t at = 0; at < 8; at++)
			bit_try(leaves[1], DISK_PAGE - 116 + at, bit);
	}
	assert_int_equal(leaf_empty(0, 100), 0);
}

/* A leaf that others are joined with when they have become too empty. */
static void test_leaves_beside(void **state)
{
	uint64_t leaves[8];

	fill();
	assert_true(leaves_find(leaves, 8) == 8);
	for (size_t i = 0; i < 6; i++) {
		page_flip(leaves[i], 13, 0x80);
		assert_int_equal(leaf_empty(0, 200), MDB_CORRUPTED);
		page_flip(leaves[i], 13, 0x80);
	}
	page_flip(leaves[7], 13, 0x80);
	assert_int_equal(leaf_empty(0, 60), 0);
}

/*
 * Keys are deleted out of a leaf that is nearly empty: LMDB fills it up from
 * the one before, which then needs fewer deletions to be filled up itself.
 */
static void test_leaves_that_give(void **state)
{
	uint64_t leaves[8], per_leaf;
	MDB_txn *txn;
	int r;

	fill();
	assert_true(leaves_find(leaves, 8) == 8);
	per_leaf = (DISK_PAGE - PAGE_HEADER) / (NODE_HEAD + 8 + 100 + 2);
	page_flip(leaves[1], 16, 1);
	assert_int_equal(disk_write_begin(&w.disk, &txn), 0);
	r = 0;
	for (uint64_t i = 3 * per_leaf; i < 4 * per_leaf && !r; i++)
		r = disk_del(txn, w.disk.blocks, &(MDB_val){8, &i});
	for (uint64_t i = 2 * per_leaf; i < 2 * per_leaf + 20 && !r; i++)
		r = disk_del(txn, w.disk.blocks, &(MDB_val){8, &i});
	mdb_txn_abort(txn);
	assert_int_equal(r, MDB_CORRUPTED);
	page_flip(leaves[1], 16, 1);
}

/* ---- Every page that is changed ----------------------------------------- */

enum { PAGES = 4096 };

static void file_open(int *ret_fd)
{
	_cleanup_free_ char *name = NULL;

	assert_true(asprintf(&name, "%s/data.mdb", w.scratch.store) > 0);
	*ret_fd = open(name, O_RDWR);
	assert_true(*ret_fd >= 0);
}

/* The bytes of the file, which the caller frees. */
static uint8_t *file_read(size_t *ret_len)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	uint8_t *bytes;

	file_open(&fd);
	assert_int_equal(fstat(fd, &st), 0);
	*ret_len = (size_t)st.st_size;
	assert_true(*ret_len <= (size_t)PAGES * DISK_PAGE);
	bytes = malloc(*ret_len);
	assert_non_null(bytes);
	assert_true(pread(fd, bytes, *ret_len, 0) == st.st_size);
	return bytes;
}

/* The store is again what it was when its file was read. */
static void file_restore(const uint8_t *bytes, size_t len)
{
	_cleanup_close_ int fd = -1;

	disk_close(&w.disk);
	file_open(&fd);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	assert_true(pwrite(fd, bytes, len, 0) == (ssize_t)len);
	assert_int_equal(disk_open(&w.disk, w.scratch.store, MAP, false, false),
	                 0);
	assert_int_equal(disk_open_tables(&w.disk, false, false), 0);
	assert_int_equal(mdb_env_set_flags(w.disk.opening->env, MDB_NOSYNC, 1),
	                 0);
}

static void pages_mark(const uint8_t *map, uint64_t root, bool seen[PAGES])
{
	const uint8_t *page = map + root * DISK_PAGE;

	if (root == NO_PAGE)
		return;
	seen[root] = true;
	for (unsigned i = 0; i < page_len(page); i++) {
		const uint8_t *node = page_node(page, i);
		struct page_tree tree;

		if (!page_is_leaf(page)) {
			pages_mark(map, page_node_child(node), seen);
		} else if (page_node_flags(node) & NODE_SUB) {
			tree = page_tree_get(page_node_data(node).at);
			pages_mark(map, tree.root, seen);
		}
	}
}

/* The pages of all trees after the last transaction. */
static void pages_find(bool seen[PAGES])
{
	_cleanup_free_ uint8_t *map = NULL;
	const uint8_t *meta;
	size_t len;

	map = file_read(&len);
	meta = map + PAGE_HEADER;
	if (le64_get(meta + DISK_PAGE + META_TXN) > le64_get(meta + META_TXN))
		meta += DISK_PAGE;
	memset(seen, 0, PAGES * sizeof(*seen));
	for (int i = 0; i < 2; i++)
		pages_mark(map,
		           page_tree_get(meta + META_DBS + i * DB_LEN).root,
		           seen);
}

/* Put or delete the number: in the blocks, or as a long key in the records. */
static int number_change(MDB_txn *txn, uint64_t number, bool records,
                         bool removal)
{
	static uint8_t bytes[DISK_VALUE_MAX], name[480];
	MDB_dbi dbi = records ? w.disk.records : w.disk.blocks;
	MDB_val key = {sizeof(number), &number};
	MDB_val value = {1 + number * 7919 % 300, bytes};
	int r;

	if (records) {
		key = (MDB_val){sizeof(name) - number * 31 % 200, name};
		for (int i = 0; i < 8; i++)
			name[i] = (uint8_t)(number >> 8 * (7 - i));
	}
	r = removal ? disk_del(txn, dbi, &key)
	            : disk_put(txn, dbi, &key, &value);
	return removal && r == MDB_NOTFOUND ? 0 : r;
}

enum { NUMBERS = 1200 };

/* A transaction of random changes; 0, or its error. */
static int work(uint64_t seed)
{
	uint64_t runs;
	MDB_txn *txn;
	int r = disk_write_begin(&w.disk, &txn);

	if (r)
		return r;
	w.random = seed;
	runs = 1 + below(6);
	for (uint64_t run = 0; run < runs && !r; run++) {
		uint64_t first = below(NUMBERS), count = below(120);
		bool records = below(2), removal = below(4), down = below(2);

		for (uint64_t i = 0; i < count && !r; i++)
			r = number_change(
			        txn, down ? first - MIN(i, first) : first + i,
			        records, below(10) ? removal : !removal);
	}
	if (r) {
		mdb_txn_abort(txn);
		return r;
	}
	return disk_write_commit(&w.disk, txn);
}

/* Each damaged page that the transaction would change is refused. */
static void changes_try(uint64_t seed)
{
	static bool before[PAGES], after[PAGES];
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len;

	pages_find(before);
	bytes = file_read(&len);
	assert_int_equal(work(seed), 0);
	pages_find(after);
	file_restore(bytes, len);
	for (uint64_t page = 2; page < PAGES; page++) {
		if (!before[page] || after[page])
			continue;
		page_flip(page, PAGE_HEADER, 1);
		if (!work(seed))
			fail_msg("page %llu, seed %#llx",
			         (unsigned long long)page,
			         (unsigned long long)seed);
		page_flip(page, PAGE_HEADER, 1);
	}
	assert_int_equal(work(seed), 0);
}

static void test_whatever_is_changed(void **state)
{
	uint64_t seed = w.random, rounds = scratch_ops(40);
	MDB_txn *txn = begin();

	for (uint64_t i = 0; i < NUMBERS; i++)
		for (int records = 0; records < 2; records++)
			assert_int_equal(number_change(txn, i, records, false),
			                 0);
	commit(txn);
	for (uint64_t round = 0; round < rounds; round++) {
		uint64_t next = scratch_random(&seed);

		changes_try(next);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_any_state_is_sound, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_long_lists_are_sound,
	                                        setup, teardown),
	        cmocka_unit_test_setup_teardown(test_aborted_over_and_over,
	                                        setup, teardown),
	        cmocka_unit_test_setup_teardown(test_bits_of_a_leaf, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_leaves_beside, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_leaves_that_give, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_whatever_is_changed, setup,
	                                        teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
