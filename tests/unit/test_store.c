/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making, opening and closing a store; its counters. */
#include <fcntl.h>

#include "store_fixture.h"

static void test_create_and_open(void **state)
{
	struct scratch scratch;
	struct store *store = fresh_store(&scratch), *second;
	struct store_params bad = {.node_size = 100};

	assert_int_equal(store_create(scratch.store, NULL), -EEXIST);
	assert_int_equal(store_create(scratch.dir, NULL), -ENOTEMPTY);
	assert_int_equal(store_open(scratch.store, NULL, &second), -EBUSY);
	assert_int_equal(store_open(scratch.dir, NULL, &second), -ENOENT);
	assert_int_equal(store_create(scratch.dir, &bad), -EINVAL);
	assert_int_equal(store_close(store), 0);
	store = open_store(scratch.store);
	assert_int_equal(store_close(store), 0);
	scratch_release(&scratch);
}

/* LMDB divides by the page size that it finds. */
static void test_damaged_page_size(void **state)
{
	static const off_t places[] = {40, 41, 4136, 4137};
	const struct store_options readonly = {.readonly = true};
	struct scratch scratch;
	struct store *store;
	char path[100];

	store = fresh_store(&scratch);
	for (int i = 0; i < 2; i++) {
		store_lock(store);
		store_next_seq(store);
		store_unlock(store);
		assert_int_equal(store_sync(store), 0);
	}
	assert_int_equal(store_close(store), 0);
	snprintf(path, sizeof(path), "%s/data.mdb", scratch.store);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		int fd = open(path, O_RDWR);
		uint8_t old, new;

		assert_int_equal(pread(fd, &old, 1, places[i]), 1);
		new = old ^ 0x10;
		assert_int_equal(pwrite(fd, &new, 1, places[i]), 1);
		assert_int_equal(store_open(scratch.store, NULL, &store),
		                 -EBADMSG);
		assert_int_equal(store_open(scratch.store, &readonly, &store),
		                 0);
		assert_int_equal(store_close(store), 0);
		assert_int_equal(pwrite(fd, &old, 1, places[i]), 1);
		close(fd);
	}
	store = open_store(scratch.store);
	assert_int_equal(store_close(store), 0);
	scratch_release(&scratch);
}

static void test_counters_survive(void **state)
{
	struct scratch scratch;
	struct store *store = fresh_store(&scratch);
	uint64_t seq, ino;

	store_lock(store);
	for (int i = 0; i < 100; i++)
		seq = store_next_seq(store);
	assert_int_equal(store_count(store, COUNTER_INO, 16, 18, &ino), 0);
	store_unlock(store);
	assert_int_equal(ino, 16);
	assert_int_equal(store_close(store), 0);
	store = open_store(scratch.store);
	store_lock(store);
	assert_true(store_next_seq(store) > seq);
	assert_int_equal(store_count(store, COUNTER_INO, 16, 18, &ino), 0);
	assert_int_equal(ino, 17);
	for (int i = 0; i < 3; i++)
		assert_int_equal(store_count(store, COUNTER_INO, 16, 18, &ino),
		                 -ENOSPC);
	assert_int_equal(store_count(store, COUNTER_INO, 16, 19, &ino), 0);
	assert_int_equal(ino, 18);
	store_unlock(store);
	assert_int_equal(store_close(store), 0);
	scratch_release(&scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_create_and_open),
	        cmocka_unit_test(test_damaged_page_size),
	        cmocka_unit_test(test_counters_survive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
