/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Chunks: those that are read again, dedup references, deltas, and which may be
 * changed in place.
 */
#include "store_fixture.h"

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
	chunk_replaces(tree, number, replaces);
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
	/* The content is stored anew: no copy of it is left. */
	numbers[0] = chunk_make(&tree, data[0], sizeof(data[0]));
	assert_int_equal(store_sync(store), 0);
	assert_int_equal(unique_bytes(store, 1), full);
	assert_int_equal(store_close(store), 0);
	scratch_release(&scratch);
}

/* A chunk may be changed in place until its txg is closed, or it is cloned. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_chunks),
	        cmocka_unit_test(test_sharing),
	        cmocka_unit_test(test_deltas),
	        cmocka_unit_test(test_writable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
