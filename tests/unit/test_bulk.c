/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Chunks that are read many at once, past the system's cache: what comes of
 * those that cannot be read so, how much memory is kept, and readers beside a
 * thread that changes the file.  Where the system cannot read past its cache,
 * only the contents are compared.
 */
#include "fs_fixture.h"

#include <pthread.h>
#include <stdio.h>

#include "engine.h"
#include "extent.h"
#include "fs_struct.h"
#include "inode.h"

enum { CHUNK = 1 << 16, CHUNKS = 16, FILE_CHUNKS = 64 };

static struct fixture w;
static uint64_t seed;
static uint8_t bytes[FILE_CHUNKS * CHUNK], got[CHUNKS * CHUNK];

static void fill(uint8_t *data, size_t len, bool text)
{
	static const char letters[] = "etaoin shrdlu";

	for (size_t i = 0; i < len; i++)
		data[i] = text ? (uint8_t)letters[scratch_random(&seed) % 13]
		               : (uint8_t)scratch_random(&seed);
}

static bool reads_past_cache(void)
{
	void *page = NULL;
	bool can = !posix_memalign(&page, DISK_PAGE, DISK_PAGE) &&
	           w.store->bulk.fd >= 0 &&
	           pread(w.store->bulk.fd, page, DISK_PAGE, 0) == DISK_PAGE;

	free(page);
	return can;
}

/* Read what the system has in memory, too, and forget earlier bulks. */
static void bulk_again(void)
{
	w.store->bulk.always = true;
	w.store->bulk.pause = 0;
	memset(w.store->bulk.seen, 0, sizeof(w.store->bulk.seen));
}

/* The numbers of the file's chunks; lock not held. */
static void numbers_get(node_t file, uint64_t *numbers, size_t count)
{
	struct vnode v;

	store_lock(w.store);
	assert_int_equal(vnode_load(w.fs, file, &v), 0);
	for (size_t i = 0; i < count; i++) {
		struct ext e;

		assert_int_equal(ext_list(v.tree, v.ino, i, 1, &e), 0);
		numbers[i] = e.chunk;
	}
	store_unlock(w.store);
}

/* A file whose first half is noise, on the disk, and nothing in memory. */
static node_t file_make(uint64_t *numbers)
{
	node_t file = make(&w, w.main, "f", S_IFREG | 0644);

	fill(bytes, sizeof(bytes) / 2, false);
	fill(bytes + sizeof(bytes) / 2, sizeof(bytes) / 2, true);
	put(&w, file, 0, bytes, sizeof(bytes));
	assert_int_equal(store_sync(w.store), 0);
	fixture_reopen(&w);
	file = look(&w, w.main, "f");
	numbers_get(file, numbers, FILE_CHUNKS);
	bulk_again();
	return file;
}

static size_t load(const uint64_t *numbers, size_t first,
                   struct chunk *chunks[CHUNKS])
{
	size_t count = 0;

	chunk_load_bulk(w.store, numbers + first, CHUNKS, chunks);
	for (size_t i = 0; i < CHUNKS; i++) {
		if (!chunks[i])
			continue;
		assert_int_equal(chunk_len(chunks[i]), CHUNK);
		assert_memory_equal(chunk_data(chunks[i]),
		                    bytes + (first + i) * CHUNK, CHUNK);
		count++;
	}
	return count;
}

static void unload(struct chunk *chunks[CHUNKS])
{
	for (size_t i = 0; i < CHUNKS; i++)
		chunk_unref(chunks[i]);
}

static void test_contents(void **state)
{
	struct chunk *chunks[CHUNKS], *in;
	uint64_t numbers[FILE_CHUNKS];
	bool can;

	fixture_init(&w, 0);
	file_make(numbers);
	can = reads_past_cache();
	for (size_t at = 0; at < FILE_CHUNKS; at += CHUNKS) {
		assert_int_equal(load(numbers, at, chunks), can ? CHUNKS : 0);
		unload(chunks);
		/* They are not cached. */
		store_lock(w.store);
		assert_null(chunk_find(w.store, numbers[at], NULL));
		store_unlock(w.store);
	}
	/* Chunks that are read again are cached. */
	assert_int_equal(load(numbers, 0, chunks), 0);
	/* One that is in memory is left out. */
	assert_int_equal(chunk_load(w.store, numbers[3], &in), 0);
	bulk_again();
	assert_int_equal(load(numbers, 0, chunks), can ? CHUNKS - 1 : 0);
	assert_null(chunks[3]);
	unload(chunks);
	chunk_unref(in);
	assert_true(w.store->bulk.spare_chunk_count <= BULK_SPARE_CHUNKS);
	assert_true(w.store->bulk.spare_count <= BULK_SPARE_BUFFERS);
	fs_rest(w.fs);
	assert_int_equal(w.store->bulk.spare_chunk_count, 0);
	assert_int_equal(w.store->bulk.spare_count, 0);
	fixture_release(&w);
}

/* Change a byte of the chunk in the store's file. */
static void chunk_damage(uint64_t number)
{
	uint64_t id = number << DISK_FRAGMENT_BITS;
	MDB_val value;
	char page[DISK_PAGE];
	MDB_txn *txn;
	off_t at = 0;

	assert_int_equal(disk_read_begin(&w.store->disk, &txn), 0);
	assert_int_equal(disk_get(txn, w.store->disk.blocks, id + 1, &value),
	                 0);
	while (pread(w.store->disk.fd, page, DISK_PAGE, at) == DISK_PAGE &&
	       memcmp(page + 16, value.mv_data, DISK_PAGE - 16))
		at += DISK_PAGE;
	disk_read_end(&w.store->disk, txn);
	page[1000] ^= 1;
	assert_int_equal(pwrite(w.store->disk.fd, page, DISK_PAGE, at),
	                 DISK_PAGE);
}

static void test_damage(void **state)
{
	struct chunk *chunks[CHUNKS], *chunk;
	uint64_t numbers[FILE_CHUNKS];
	struct fs_data data;
	node_t file;

	fixture_init(&w, 0);
	file = file_make(numbers);
	chunk_damage(numbers[2]);
	assert_int_equal(load(numbers, 0, chunks),
	                 reads_past_cache() ? CHUNKS - 1 : 0);
	unload(chunks);
	assert_int_equal(chunk_load(w.store, numbers[2], &chunk), -EUCLEAN);
	bulk_again();
	assert_int_equal(fs_read(w.fs, file, 0, sizeof(got), &data), -EUCLEAN);
	assert_int_equal(get(&w, file, 3 * CHUNK, got, 8 * CHUNK), 8 * CHUNK);
	assert_memory_equal(got, bytes + 3 * CHUNK, 8 * CHUNK);
	fixture_release(&w);
}

/* Chunks that need others, are shared, or are gone, among the rest. */
static void test_others(void **state)
{
	uint64_t numbers[FILE_CHUNKS], gone;
	struct chunk *chunks[CHUNKS];
	node_t file;

	fixture_init(&w, 0);
	file = file_make(numbers);
	put(&w, file, 5 * CHUNK + 100, "patch", 5);
	memcpy(bytes + 5 * CHUNK + 100, "patch", 5);
	memcpy(bytes + 7 * CHUNK, bytes + 20 * CHUNK, CHUNK);
	put(&w, file, 7 * CHUNK, bytes + 7 * CHUNK, CHUNK);
	gone = numbers[9];
	fill(bytes + 9 * CHUNK, CHUNK, false);
	put(&w, file, 9 * CHUNK, bytes + 9 * CHUNK, CHUNK);
	assert_int_equal(store_sync(w.store), 0);
	fixture_reopen(&w);
	file = look(&w, w.main, "f");
	numbers_get(file, numbers, FILE_CHUNKS);
	bulk_again();
	if (reads_past_cache())
		assert_in_range(load(numbers, 0, chunks), CHUNKS / 2, CHUNKS);
	else
		load(numbers, 0, chunks);
	unload(chunks);
	numbers[9] = gone;
	bulk_again();
	load(numbers, 0, chunks);
	assert_null(chunks[9]);
	unload(chunks);
	bulk_again();
	assert_int_equal(get(&w, file, 0, got, sizeof(got)), sizeof(got));
	assert_memory_equal(got, bytes, sizeof(got));
	fixture_release(&w);
}

/* ---- Beside changes ----------------------------------------------------- */

enum { PAGE = 4096, PAGES = 24 * CHUNK / PAGE };

static node_t shared;
static atomic_bool done;

/* A page of incompressible bytes that follow from its first eight. */
static void page_fill(uint8_t *page, uint64_t number, uint64_t version)
{
	uint64_t random = number << 32 | version;

	memcpy(page, &random, 8);
	for (size_t i = 8; i < PAGE; i += 8)
		memcpy(page + i, &(uint64_t){scratch_random(&random)}, 8);
}

/* Write pages, cut the file, and commit, while the other thread reads. */
static void *run_changes(void *arg)
{
	uint64_t random = seed;
	uint8_t page[PAGE];

	for (uint64_t version = 1; version < 500; version++) {
		uint64_t number = scratch_random(&random) % PAGES;

		if (version % 60 == 0) {
			must(!resize(&w, shared, (off_t)(number * PAGE)));
			for (; number < PAGES; number++) {
				page_fill(page, number, version);
				must(!fs_write(w.fs, shared,
				               (off_t)(number * PAGE), page,
				               PAGE, 0));
			}
		} else {
			page_fill(page, number, version);
			must(!fs_write(w.fs, shared, (off_t)(number * PAGE),
			               page, PAGE, 0));
		}
		if (version % 20 == 0)
			must(!store_sync(w.store));
	}
	atomic_store(&done, true);
	return NULL;
}

/* Every page is as some write has left it, and none goes back. */
static void pages_check(uint64_t first, size_t len, uint64_t *versions)
{
	uint8_t page[PAGE];

	assert_int_equal(len % PAGE, 0);
	for (size_t i = 0; i < len / PAGE; i++) {
		uint64_t stamp;

		memcpy(&stamp, got + i * PAGE, 8);
		assert_int_equal(stamp >> 32, first + i);
		assert_true((uint32_t)stamp >= versions[first + i]);
		versions[first + i] = (uint32_t)stamp;
		page_fill(page, first + i, (uint32_t)stamp);
		assert_memory_equal(page, got + i * PAGE, PAGE);
	}
}

static void test_beside_changes(void **state)
{
	static uint64_t versions[PAGES];
	pthread_t thread;

	fixture_init(&w, 0);
	for (uint64_t i = 0; i < PAGES; i++)
		page_fill(bytes + i * PAGE, i, 0);
	shared = make(&w, w.main, "f", S_IFREG | 0644);
	put(&w, shared, 0, bytes, (size_t)PAGES * PAGE);
	fixture_reopen(&w);
	shared = look(&w, w.main, "f");
	/* Nothing is kept in memory for long. */
	w.store->clean_limit = 8 * CHUNK;
	assert_int_equal(pthread_create(&thread, NULL, run_changes, NULL), 0);
	while (!atomic_load(&done)) {
		uint64_t first = scratch_random(&seed) % (PAGES / 2);

		store_lock(w.store);
		bulk_again();
		store_unlock(w.store);
		pages_check(first,
		            get(&w, shared, (off_t)(first * PAGE), got,
		                sizeof(got)),
		            versions);
	}
	pthread_join(thread, NULL);
	fixture_check(&w);
	fixture_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_contents),
	        cmocka_unit_test(test_damage),
	        cmocka_unit_test(test_others),
	        cmocka_unit_test(test_beside_changes),
	};

	seed = scratch_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
