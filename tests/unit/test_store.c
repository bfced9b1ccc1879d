/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store under the trees: tables against a plain model, chunks, clones and
 * sharing, deadlists and their jobs, across commits and reopenings.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>

#include "engine.h"
#include "scratch.h"
#include "store.h"
#include "util.h"

static struct store *open_store(const char *path)
{
	struct store_options options = {.memory = 8 << 20};
	struct store *store;

	assert_int_equal(store_open(path, &options, &store), 0);
	return store;
}

static struct store *fresh_store(struct scratch *scratch)
{
	scratch_init(scratch);
	assert_int_equal(store_create(scratch->store, NULL), 0);
	return open_store(scratch->store);
}

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

/* ---- Tables against a twin ---------------------------------------------- */

enum { TWIN_KEYS = 500 };
struct model {
	bool there[TWIN_KEYS];
	uint32_t value[TWIN_KEYS];
};

static size_t model_key(int i, char key[16])
{
	return (size_t)snprintf(key, 16, "%0*d", 3 + i % 3, i * 7 % TWIN_KEYS);
}

static int model_order(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void model_compare(struct store *store, const struct model *model)
{
	static char keys[TWIN_KEYS][16];
	struct record record = {.key_len = 0};
	size_t n = 0, seen = 0;
	int r;

	for (int i = 0; i < TWIN_KEYS; i++)
		if (model->there[i])
			model_key(i, keys[n++]);
	qsort(keys, n, sizeof(keys[0]), model_order);
	store_lock(store);
	for (r = table_seek(store, TABLE_NAME, "", 0, &record); r == 0;
	     r = table_next(store, TABLE_NAME, record.key, record.key_len,
	                    &record)) {
		assert_true(seen < n);
		assert_int_equal(record.key_len, strlen(keys[seen]));
		assert_memory_equal(record.key, keys[seen], record.key_len);
		seen++;
	}
	assert_int_equal(r, -ENOENT);
	assert_int_equal(seen, n);
	for (int i = 0; i < TWIN_KEYS; i++) {
		char key[16];
		size_t len = model_key(i, key);

		r = table_get(store, TABLE_NAME, key, len, &record);
		assert_int_equal(r, model->there[i] ? 0 : -ENOENT);
		if (r == 0)
			assert_memory_equal(record.value, &model->value[i], 4);
	}
	store_unlock(store);
}

static void test_tables(void **state)
{
	struct scratch scratch;
	struct store *store = fresh_store(&scratch);
	static struct model model;
	uint64_t random = scratch_seed();

	for (int round = 0; round < 60; round++) {
		store_lock(store);
		for (int n = 0; n < 50; n++) {
			int i = (int)(scratch_random(&random) % TWIN_KEYS);
			char key[16];
			size_t len = model_key(i, key);

			model.there[i] = scratch_random(&random) % 3 != 0;
			model.value[i] = (uint32_t)scratch_random(&random);
			if (model.there[i])
				assert_int_equal(table_put(store, TABLE_NAME,
				                           key, len,
				                           &model.value[i], 4),
				                 0);
			else
				assert_int_equal(
				        table_del(store, TABLE_NAME, key, len),
				        0);
			/* A neighbour table must not shine through. */
			table_put(store, TABLE_TIME, key, len, "x", 1);
			table_put(store, TABLE_STATE, key, len, "x", 1);
		}
		store_unlock(store);
		if (round % 3 == 0)
			assert_int_equal(store_sync(store), 0);
		else if (round % 3 == 1)
			store_commit_start(store);
		model_compare(store, &model);
		if (round % 20 == 19) {
			assert_int_equal(store_close(store), 0);
			store = open_store(scratch.store);
			model_compare(store, &model);
		}
	}
	assert_int_equal(store_close(store), 0);
	scratch_release(&scratch);
}

/* ---- Chunks ------------------------------------------------------------- */

static uint64_t chunk_make(struct tree *tree, const void *data, uint32_t len)
{
	struct chunk *chunk = chunk_alloc(tree->store, len);
	uint64_t number;

	assert_non_null(chunk);
	assert_int_equal(chunk_resize(chunk, len), 0);
	memcpy(chunk_data(chunk), data, len);
	store_lock(tree->store);
	number = chunk_add(tree, chunk, 0);
	store_unlock(tree->store);
	chunk_unref(chunk);
	return number;
}

static void chunk_expect(struct store *store, uint64_t number, const void *data,
                         uint32_t len)
{
	struct chunk *chunk;

	assert_int_equal(chunk_load(store, number, &chunk), 0);
	assert_int_equal(chunk_len(chunk), len);
	assert_memory_equal(chunk_data(chunk), data, len);
	chunk_unref(chunk);
}

static void drop(struct tree *tree, uint64_t number)
{
	store_lock(tree->store);
	tree_drop(tree, number);
	store_unlock(tree->store);
}

static struct store *reopen(struct store *store, struct scratch *scratch,
                            struct tree *tree)
{
	assert_int_equal(store_close(store), 0);
	tree->store = open_store(scratch->store);
	return tree->store;
}

static void test_chunks(void **state)
{
	struct scratch scratch;
	struct store *store = fresh_store(&scratch);
	struct tree tree = {.store = store, .list = 1, .owner = 1};
	static uint8_t random_data[65536], text[65536];
	static const uint32_t sizes[] = {0, 1, 1000, 4060, 4080, 8000, 65536};
	uint64_t seed = scratch_seed(), numbers[2][ARRAY_SIZE(sizes)];
	struct chunk *chunk;

	for (size_t i = 0; i < sizeof(text); i++) {
		random_data[i] = (uint8_t)scratch_random(&seed);
		text[i] = (uint8_t)("all work and no play "[i % 21]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		numbers[0][i] = chunk_make(&tree, random_data, sizes[i]);
		numbers[1][i] = chunk_make(&tree, text, sizes[i]);
		chunk_expect(store, numbers[0][i], random_data, sizes[i]);
	}
	store = reopen(store, &scratch, &tree);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		chunk_expect(store, numbers[0][i], random_data, sizes[i]);
		chunk_expect(store, numbers[1][i], text, sizes[i]);
		drop(&tree, numbers[0][i]);
	}
	store = reopen(store, &scratch, &tree);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(chunk_load(store, numbers[0][i], &chunk),
		                 -ENOENT);
		chunk_expect(store, numbers[1][i], text, sizes[i]);
	}
	assert_int_equal(store_close(store), 0);
	scratch_release(&scratch);
}

static uint64_t unique_bytes(struct store *store, uint64_t list)
{
	struct list_info info;

	store_lock(store);
	assert_int_equal(list_info(store, list, &info), 0);
	store_unlock(store);
	return info.unique_bytes;
}

/* What the map has of blocks, and of counts that go with them. */
static size_t blocks_left(struct store *store)
{
	MDB_stat blocks, counts;
	MDB_txn *txn;

	assert_int_equal(disk_read_begin(&store->disk, &txn), 0);
	assert_int_equal(mdb_stat(txn, store->disk.blocks, &blocks), 0);
	assert_int_equal(mdb_stat(txn, store->disk.refcounts, &counts), 0);
	disk_read_end(&store->disk, txn);
	return blocks.ms_entries + counts.ms_entries;
}

/* Equal content is stored once, and lives as long as any of its names. */
static void test_sharing(void **state)
{
	struct scratch scratch;
	struct store *store = fresh_store(&scratch);
	struct tree tree = {.store = store, .list = 1, .owner = 1};
	static uint8_t data[65536];
	uint64_t seed = scratch_seed(), a, b, c, d, bytes;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)scratch_random(&seed);
	a = chunk_make(&tree, data, sizeof(data));
	assert_int_equal(store_sync(store), 0);
	bytes = unique_bytes(store, 1);
	assert_true(bytes >= sizeof(data) && bytes < sizeof(data) + 100);
	b = chunk_make(&tree, data, sizeof(data));
	store_lock(store);
	assert_int_equal(chunk_clone(&tree, b, &c), 0);
	store_unlock(store);
	chunk_expect(store, c, data, sizeof(data));
	assert_int_equal(store_sync(store), 0);
	assert_int_equal(unique_bytes(store, 1), bytes);
	/* A clone of what was just dropped, while that is being committed. */
	store_lock(store);
	assert_int_equal(chunk_clone(&tree, a, &d), 0);
	tree_drop(&tree, a);
	store_unlock(store);
	chunk_expect(store, d, data, sizeof(data));
	store = reopen(store, &scratch, &tree);
	chunk_expect(store, b, data, sizeof(data));
	chunk_expect(store, c, data, sizeof(data));
	chunk_expect(store, d, data, sizeof(data));
	drop(&tree, b);
	drop(&tree, c);
	store = reopen(store, &scratch, &tree);
	chunk_expect(store, d, data, sizeof(data));
	drop(&tree, d);
	assert_int_equal(store_sync(store), 0);
	assert_int_equal(unique_bytes(store, 1), 0);
	/* With the last name the content went too: it is stored anew. */
	a = chunk_make(&tree, data, sizeof(data));
	assert_int_equal(store_sync(store), 0);
	assert_int_equal(unique_bytes(store, 1), bytes);
	assert_int_equal(store_close(store), 0);
	scratch_release(&scratch);
}

enum { RELEASES = 30 };

static uint64_t chunk_release(struct tree *tree, const uint8_t *data,
                              uint32_t len, uint64_t replaces)
{
	uint64_t number = chunk_make(tree, data, len);

	store_lock(tree->store);
	chunk_replaces(tree->store, number, replaces);
	if (replaces) {
		/* Another version keeps what is replaced. */
		tree->base = replaces;
		tree_drop(tree, replaces);
	}
	store_unlock(tree->store);
	assert_int_equal(store_sync(tree->store), 0);
	return number;
}

/*
 * Versions of content that changes little cost little; each can be read, and
 * what one is a delta of stays for as long as it is needed, and no longer.
 */
static void test_deltas(void **state)
{
	struct scratch scratch;
	struct store *store = fresh_store(&scratch);
	struct tree tree = {.store = store, .list = 1, .owner = 1};
	static uint8_t data[RELEASES][65536];
	uint64_t seed = scratch_seed(), numbers[RELEASES], full;

	for (size_t i = 0; i < sizeof(data[0]); i++)
		data[0][i] = (uint8_t)scratch_random(&seed);
	numbers[0] = chunk_release(&tree, data[0], sizeof(data[0]), 0);
	full = unique_bytes(store, 1);
	for (int i = 1; i < RELEASES; i++) {
		memcpy(data[i], data[i - 1], sizeof(data[i]));
		for (int j = 0; j < 100; j++)
			data[i][scratch_random(&seed) % sizeof(data[i])] ^= 1;
		numbers[i] = chunk_release(&tree, data[i], sizeof(data[i]),
		                           numbers[i - 1]);
	}
	assert_true(unique_bytes(store, 1) < 2 * full);
	store = reopen(store, &scratch, &tree);
	for (int i = 0; i < RELEASES; i++)
		chunk_expect(store, numbers[i], data[i], sizeof(data[i]));
	/* All but the last go, in whatever order. */
	tree.base = 0;
	for (int i = 0; i < RELEASES - 1; i++)
		drop(&tree, numbers[(i * 7 + 3) % (RELEASES - 1)]);
	store = reopen(store, &scratch, &tree);
	chunk_expect(store, numbers[RELEASES - 1], data[RELEASES - 1],
	             sizeof(data[0]));
	drop(&tree, numbers[RELEASES - 1]);
	assert_int_equal(store_sync(store), 0);
	assert_int_equal(unique_bytes(store, 1), 0);
	/* Nothing is left that the first could be a dedup reference of. */
	numbers[0] = chunk_make(&tree, data[0], sizeof(data[0]));
	assert_int_equal(store_sync(store), 0);
	assert_int_equal(unique_bytes(store, 1), full);
	assert_int_equal(store_close(store), 0);
	scratch_release(&scratch);
}

enum { NODE_ITEMS = 4000 };

static void items_put(struct tree *tree, int step, uint64_t what)
{
	store_lock(tree->store);
	for (int i = 0; i < NODE_ITEMS; i += step) {
		struct key key = {(uint64_t)i + 16, 2, 0};
		uint64_t value[4] = {(uint64_t)i * 77777 % 65521, what, 1, 2};

		assert_int_equal(tree_put(tree, &key, value, sizeof(value)), 0);
	}
	store_unlock(tree->store);
	assert_int_equal(store_sync(tree->store), 0);
}

static void items_expect(struct tree *tree, int step, uint64_t what,
                         uint64_t rest)
{
	store_lock(tree->store);
	for (int i = 0; i < NODE_ITEMS; i++) {
		struct key key = {(uint64_t)i + 16, 2, 0};
		uint64_t value[4];
		struct item item;

		assert_int_equal(tree_get(tree, &key, &item), 0);
		assert_int_equal(item.len, sizeof(value));
		memcpy(value, item.value, sizeof(value));
		assert_int_equal(value[1], i % step ? rest : what);
	}
	store_unlock(tree->store);
}

static void no_item(void *arg, const struct item *item)
{
	(void)arg, (void)item;
}

/*
 * The copies of nodes in which little was changed cost little, again and again;
 * what they are packed with stays as long as they need it, and no longer.
 */
static void test_packed_nodes(void **state)
{
	struct list_job job = {.kind = LIST_FREE_ABOVE,
	                       .list = 2,
	                       .other = 1,
	                       .budget = 1 << 20};
	struct scratch scratch;
	struct store *store = fresh_store(&scratch);
	struct tree old = {.store = store, .list = 1, .owner = 1}, tree;
	struct key from = {0};
	uint64_t all;

	items_put(&old, 1, 5);
	all = unique_bytes(store, 1);
	store_lock(store);
	tree = old;
	tree.base = store_next_seq(store);
	tree.list = 2;
	store_unlock(store);
	for (uint64_t round = 0; round < 20; round++)
		items_put(&tree, 40, 100 + round);
	assert_true(unique_bytes(store, 1) < all + all / 3);
	store = reopen(store, &scratch, &tree);
	old.store = store;
	items_expect(&tree, 40, 119, 5);
	items_expect(&old, 1, 5, 5);
	/* The old tree goes, but for what the new one has of it. */
	assert_int_equal(list_job_run(store, &job), 0);
	assert_true(job.done);
	store = reopen(store, &scratch, &tree);
	items_expect(&tree, 40, 119, 5);
	/* Too much is changed for that: the bases are not needed any more. */
	tree.base = 0;
	for (uint64_t round = 0; round < 3; round++)
		items_put(&tree, 1, round << 40 | 7);
	items_expect(&tree, 1, UINT64_C(2) << 40 | 7, 0);
	store_lock(store);
	assert_int_equal(tree_reap(&tree, &from, 0, no_item, NULL), 0);
	store_unlock(store);
	assert_int_equal(store_sync(store), 0);
	assert_int_equal(unique_bytes(store, 1), 0);
	assert_int_equal(blocks_left(store), 0);
	assert_int_equal(store_close(store), 0);
	scratch_release(&scratch);
}

/* A chunk may be changed in place until its set is frozen, or it is cloned. */
static void test_writable(void **state)
{
	struct scratch scratch;
	struct store *store = fresh_store(&scratch);
	struct tree tree = {.store = store, .list = 1, .owner = 1};
	uint64_t number = chunk_make(&tree, "before", 6), clone;
	struct chunk *chunk;
	bool writable;

	store_lock(store);
	chunk = chunk_find(store, number, &writable);
	assert_true(writable);
	memcpy(chunk_data(chunk), "after!", 6);
	chunk_unref(chunk);
	assert_int_equal(chunk_clone(&tree, number, &clone), 0);
	chunk = chunk_find(store, number, &writable);
	assert_false(writable);
	chunk_unref(chunk);
	chunk = chunk_find(store, clone, &writable);
	assert_non_null(chunk);
	assert_false(writable);
	chunk_unref(chunk);
	store_unlock(store);
	assert_int_equal(store_sync(store), 0);
	chunk_expect(store, number, "after!", 6);
	chunk_expect(store, clone, "after!", 6);
	store_lock(store);
	chunk = chunk_find(store, number, &writable);
	assert_true(!chunk || !writable);
	chunk_unref(chunk);
	store_unlock(store);
	assert_int_equal(store_close(store), 0);
	scratch_release(&scratch);
}

/* ---- Deadlists --------------------------------------------------------- */

enum { KILLS = 4000 };

static void job_run(struct store *store, struct list_job job)
{
	int rounds = 0;

	job.budget = 700;
	do {
		assert_int_equal(list_job_run(store, &job), 0);
		assert_true(++rounds < 50);
	} while (!job.done);
}

static uint64_t list_entries(struct store *store, uint64_t list)
{
	struct list_info info;

	store_lock(store);
	assert_int_equal(list_info(store, list, &info), 0);
	store_unlock(store);
	return info.entries;
}

static void test_lists(void **state)
{
	struct scratch scratch;
	struct store *store = fresh_store(&scratch);
	struct tree tree = {.store = store, .list = 7, .owner = 3};
	static uint64_t numbers[KILLS];
	uint64_t seed = scratch_seed(), above, bytes, middle;
	struct chunk *chunk;
	char data[32];

	for (int i = 0; i < KILLS; i++) {
		snprintf(data, sizeof(data), "chunk %d", i);
		numbers[i] = chunk_make(&tree, data, (uint32_t)strlen(data));
	}
	middle = numbers[KILLS / 2];
	/* On the list in random order, some before and some after a commit. */
	for (int i = KILLS - 1; i > 0; i--) {
		int j = (int)(scratch_random(&seed) % (uint64_t)(i + 1));
		uint64_t n = numbers[i];

		numbers[i] = numbers[j];
		numbers[j] = n;
	}
	for (int i = 0; i < KILLS; i++) {
		store_lock(store);
		list_add(store, i % 5 ? 7 : 8, numbers[i]);
		store_unlock(store);
		if (i % 900 == 0)
			assert_int_equal(store_sync(store), 0);
	}
	assert_int_equal(store_sync(store), 0);
	assert_int_equal(list_entries(store, 7) + list_entries(store, 8),
	                 KILLS);
	store = reopen(store, &scratch, &tree);
	job_run(store,
	        (struct list_job){.kind = LIST_MOVE, .list = 8, .other = 7});
	assert_int_equal(list_entries(store, 8), 0);
	assert_int_equal(list_entries(store, 7), KILLS);
	store_lock(store);
	assert_int_equal(list_bytes_above(store, 7, middle, &above), 0);
	store_unlock(store);
	bytes = unique_bytes(store, 3);
	job_run(store, (struct list_job){.kind = LIST_FREE_ABOVE,
	                                 .list = 7,
	                                 .other = 3,
	                                 .above = middle});
	assert_int_equal(unique_bytes(store, 3), bytes - above);
	for (int i = 0; i < KILLS; i++) {
		int r = chunk_load(store, numbers[i], &chunk);

		assert_int_equal(r, numbers[i] > middle ? -ENOENT : 0);
		if (r == 0)
			chunk_unref(chunk);
	}
	job_run(store, (struct list_job){.kind = LIST_DROP, .list = 7});
	assert_int_equal(list_entries(store, 7), 0);
	assert_int_equal(store_close(store), 0);
	scratch_release(&scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_create_and_open),
	        cmocka_unit_test(test_damaged_page_size),
	        cmocka_unit_test(test_counters_survive),
	        cmocka_unit_test(test_tables),
	        cmocka_unit_test(test_chunks),
	        cmocka_unit_test(test_sharing),
	        cmocka_unit_test(test_deltas),
	        cmocka_unit_test(test_packed_nodes),
	        cmocka_unit_test(test_writable),
	        cmocka_unit_test(test_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
