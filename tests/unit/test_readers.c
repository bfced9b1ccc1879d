/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * LMDB's table of readers: however many read at once, none gets the error that
 * it is full.
 */
#include "fs_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "engine.h"

enum {
	WAITING = 50,
	THREADS = 40,
	FILES = 64,
	FILE_SIZE = 100000,
	SLOTS_LEFT = 4, /* one thread holds no more at a time */
	PATIENCE = 120, /* seconds: longer means that it hangs */
};

static struct fixture w;
static struct disk *disk;
static MDB_txn *held[DISK_READERS];
static _Atomic unsigned begun;

static int setup(void **state)
{
	fixture_init(&w, 0);
	disk = &w.store->disk;
	alarm(PATIENCE);
	return 0;
}

static int teardown(void **state)
{
	fixture_release(&w);
	alarm(0);
	return 0;
}

static void *read_once(void *arg)
{
	MDB_txn *txn;
	int r = disk_read_begin(disk, &txn);

	atomic_fetch_add(&begun, 1);
	if (r == 0)
		disk_read_end(disk, txn);
	return (void *)(intptr_t)r;
}

/* The table has room for as many as were promised; the next ones wait. */
static void test_more_readers_wait(void **state)
{
	pthread_t threads[WAITING];
	void *result;

	for (int i = 0; i < DISK_READERS; i++)
		assert_int_equal(disk_read_begin(disk, &held[i]), 0);
	for (int i = 0; i < WAITING; i++)
		assert_int_equal(
		        pthread_create(&threads[i], NULL, read_once, NULL), 0);
	while (true) {
		unsigned waiting;

		pthread_mutex_lock(&disk->pool_lock);
		waiting = disk->waiting;
		pthread_mutex_unlock(&disk->pool_lock);
		if (waiting >= WAITING || atomic_load(&begun))
			break;
		usleep(1000);
	}
	assert_int_equal(atomic_load(&begun), 0);
	for (int i = 0; i < DISK_READERS; i++)
		disk_read_end(disk, held[i]);
	for (int i = 0; i < WAITING; i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_int_equal((intptr_t)result, 0);
	}
	assert_int_equal(atomic_load(&begun), WAITING);
}

static node_t files[FILES];

static void *read_files(void *arg)
{
	intptr_t bad = 0;

	for (int i = 0; i < FILES && !bad; i++) {
		struct fs_data data;
		int err = fs_read(w.fs, files[i], 0, FILE_SIZE, &data);

		if (err) {
			bad = err;
			continue;
		}
		if (data.len != FILE_SIZE)
			bad = 1;
		fs_data_release(&data);
	}
	return (void *)bad;
}

/* With hardly any place left, files are read by many at once all the same. */
static void test_files_are_read(void **state)
{
	enum { HELD = DISK_READERS - SLOTS_LEFT };
	static uint8_t data[FILE_SIZE];
	uint64_t seed = scratch_seed();
	pthread_t threads[THREADS];
	char name[16];
	void *result;

	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		files[i] = make(&w, w.main, name, S_IFREG | 0644);
		for (size_t j = 0; j < sizeof(data); j++)
			data[j] = (uint8_t)scratch_random(&seed);
		put(&w, files[i], 0, data, sizeof(data));
	}
	/* Empty the cache. */
	fixture_reopen(&w);
	disk = &w.store->disk;
	for (int i = 0; i < HELD; i++)
		assert_int_equal(disk_read_begin(disk, &held[i]), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(
		        pthread_create(&threads[i], NULL, read_files, NULL), 0);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_int_equal((intptr_t)result, 0);
	}
	for (int i = 0; i < HELD; i++)
		disk_read_end(disk, held[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_more_readers_wait, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_files_are_read, setup,
	                                        teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
