/* SPDX-License-Identifier: GPL-2.0-or-later */
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
	/* Nobody pulls the plug. */
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

/* One change of a block or a record. */
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
