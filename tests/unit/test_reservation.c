/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A store that is full: who is refused, what still works, and that what is
 * freed can be used again.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/stat.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#include "range.h"
#include "scratch.h"
#include "store.h"
#include "util.h"

enum { MIB = 1 << 20, CHUNK = 1 << 16, LIMIT = 16 * MIB };

static struct scratch scratch;
static uint64_t seed;

static struct store *full_open(void)
{
	struct store_options options = {.memory = 8 * MIB};
	struct store *store;

	assert_int_equal(store_open(scratch.store, &options, &store), 0);
	return store;
}

static struct store *full_create(uint64_t max_size)
{
	struct store_params params = {.max_size = max_size};

	seed = scratch_seed();
	scratch_init(&scratch);
	assert_int_equal(store_create(scratch.store, &params), 0);
	return full_open();
}

static void full_release(struct store *store)
{
	assert_int_equal(store_close(store), 0);
	scratch_release(&scratch);
}

static uint64_t file_bytes(bool on_disk)
{
	char path[100];
	struct stat st;

	snprintf(path, sizeof(path), "%s/data.mdb", scratch.store);
	assert_int_equal(stat(path, &st), 0);
	return on_disk ? (uint64_t)st.st_blocks * 512 : (uint64_t)st.st_size;
}

/* A chunk that no compression makes smaller, as item `at` of the tree. */
static int put_chunk(struct tree *tree, uint64_t at)
{
	struct key key = {.ino = 1, .kind = 1, .off = at};
	struct chunk *chunk;
	uint8_t value[8];
	uint64_t number;
	int r = store_throttle(tree->store, true);

	if (r < 0)
		return r;
	chunk = chunk_alloc(tree->store, CHUNK);
	assert_int_equal(chunk_resize(chunk, CHUNK), 0);
	for (size_t i = 0; i < CHUNK; i += 8) {
		uint64_t random = scratch_random(&seed);

		memcpy(chunk_data(chunk) + i, &random, 8);
	}
	store_lock(tree->store);
	number = chunk_add(tree, chunk, 0);
	memcpy(value, &number, sizeof(value));
	r = tree_put(tree, &key, value, sizeof(value));
	store_unlock(tree->store);
	chunk_unref(chunk);
	return r;
}

static void drop_item(void *arg, const struct item *item)
{
	uint64_t number;

	memcpy(&number, item->value, sizeof(number));
	tree_drop(arg, number);
}

/* Reserve as background work does. */
static void reap(struct tree *tree)
{
	struct key from = {0};
	int r = -EAGAIN;

	while (r == -EAGAIN) {
		uint32_t blocks = STORE_PACE_LEAST;

		assert_true(store_pace(tree->store, &blocks) >= 0);
		store_lock(tree->store);
		r = tree_reap(tree, &from, 1, drop_item, tree);
		store_unlock(tree->store);
	}
	assert_int_equal(r, 0);
	tree->root = 0;
	assert_int_equal(store_sync(tree->store), 0);
}

/* Return how many chunks fit; all of them can be committed. */
static unsigned fill(struct tree *tree, unsigned first)
{
	unsigned n = 0;
	int r;

	while ((r = put_chunk(tree, first + n)) == 0) {
		assert_true(++n < 100000);
		if (n % 50 == 0)
			assert_int_equal(store_sync(tree->store), 0);
	}
	assert_int_equal(r, -ENOSPC);
	assert_int_equal(store_sync(tree->store), 0);
	return n;
}

static void test_full_and_freed(void **state)
{
	struct store *store = full_create(LIMIT);
	struct tree tree = {.store = store, .list = 1, .owner = 1};
	struct store_stats stats;

	for (int round = 0; round < 5; round++) {
		unsigned n = fill(&tree, 0);

		/* An eighth is kept back, and what is reckoned too high. */
		assert_uint_in_range(n, LIMIT / CHUNK * 7 / 10, LIMIT / CHUNK);
		assert_uint_in_range(file_bytes(false), 0, LIMIT);
		/* Small changes are still let through. */
		assert_int_equal(store_throttle(store, false), 0);
		reap(&tree);
		/* The space is reported free, and can be used, at once. */
		store_stats(store, &stats);
		assert_in_range(stats.avail_bytes, n * CHUNK, LIMIT);
		store_stats(store, &stats);
		assert_in_range(stats.avail_bytes, n * CHUNK, LIMIT);
	}
	assert_uint_in_range(file_bytes(false), 0, LIMIT);
	full_release(store);
}

/* Return the free disk space for ordinary users. */
static uint64_t disk_avail(void)
{
	struct statvfs vfs;

	assert_int_equal(statvfs(scratch.store, &vfs), 0);
	return (uint64_t)vfs.f_bavail * vfs.f_frsize;
}

/* After a deletion all free space is reported, however it was granted. */
static void test_avail_after_deletion(void **state)
{
	struct store *store = full_create(0);
	struct tree tree = {.store = store, .list = 1, .owner = 1};
	struct store_stats stats;
	uint64_t before;

	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(put_chunk(&tree, i), 0);
	assert_int_equal(store_settle(store), 0);
	store_stats(store, &stats);
	before = stats.avail_bytes;
	/* Others use the disk, too. */
	assert_true(before >= disk_avail() / 4 * 3);
	reap(&tree);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(store_settle(store), 0);
		store_stats(store, &stats);
		assert_true(stats.avail_bytes >= disk_avail() / 4 * 3);
		assert_true(stats.avail_bytes >= 400 * CHUNK);
		assert_int_equal(put_chunk(&tree, (unsigned)i), 0);
	}
	full_release(store);
}

static void test_resize(void **state)
{
	struct store *store = full_create(LIMIT);
	struct tree tree = {.store = store, .list = 1, .owner = 1};
	struct store_stats stats;
	unsigned n = fill(&tree, 0);

	assert_int_equal(store_resize(store, 1000), -EINVAL);
	assert_int_equal(store_resize(store, 2 * LIMIT), 0);
	store_stats(store, &stats);
	assert_int_equal(stats.limit_bytes, 2 * LIMIT);
	assert_int_equal(put_chunk(&tree, n), 0);
	assert_true(fill(&tree, n + 1) > n / 2);
	assert_int_equal(store_resize(store, LIMIT), 0);
	assert_int_equal(put_chunk(&tree, n), -ENOSPC);
	reap(&tree);
	/* The limit and the rest of the record survive a reopening. */
	assert_int_equal(store_close(store), 0);
	store = full_open();
	store_stats(store, &stats);
	assert_int_equal(stats.limit_bytes, LIMIT);
	assert_int_equal(store_chunk_size(store), CHUNK);
	assert_int_equal(store_resize(store, 0), 0);
	store_stats(store, &stats);
	assert_true(stats.limit_bytes > UINT64_C(1) << 30);
	full_release(store);
}

/* Pending changes have their disk space already. */
static void test_space_is_taken_ahead(void **state)
{
	struct store *store = full_create(0);
	struct tree tree = {.store = store, .list = 1, .owner = 1};
	struct statfs fs;

	assert_int_equal(statfs(scratch.dir, &fs), 0);
	if (fs.f_type == TMPFS_MAGIC) {
		print_message(
		        "# a file of tmpfs has no space behind its end\n");
		full_release(store);
		skip();
	}
	for (unsigned i = 0; i < 30; i++) {
		struct store_stats stats;

		assert_int_equal(put_chunk(&tree, i), 0);
		store_stats(store, &stats);
		if (stats.pending_bytes + stats.file_bytes > file_bytes(true))
			fail_msg("%llu bytes on the disk are too few",
			         (unsigned long long)file_bytes(true));
	}
	assert_int_equal(store_sync(store), 0);
	assert_uint_in_range(file_bytes(true) - file_bytes(false), 4 * MIB,
	                     16 * MIB);
	full_release(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_full_and_freed),
	        cmocka_unit_test(test_avail_after_deletion),
	        cmocka_unit_test(test_resize),
	        cmocka_unit_test(test_space_is_taken_ahead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
