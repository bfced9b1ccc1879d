/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Slowing writers down: how long they wait, and that what they write is kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine.h"
#include "scratch.h"
#include "slowdown.h"
#include "store.h"
#include "util.h"

enum { MIB = 1 << 20, MS = 1000000, CHUNK = 1 << 16, CHUNKS = 400 };

static void test_pace(void **state)
{
	struct slowdown s = {
	        .expected = 100 * MS,
	        .first = 10 * MIB,
	        .mark = 30 * MIB,
	        .most = 50 * MS,
	};

	/* Before the first bytes and beyond the mark nobody is slowed down. */
	assert_int_equal(slowdown_ns(&s, 0), 0);
	assert_int_equal(slowdown_ns(&s, 10 * MIB), 0);
	assert_int_equal(slowdown_ns(&s, 30 * MIB + 1), 0);
	/* A tenth of the bytes: a tenth of the time. */
	assert_int_equal(slowdown_ns(&s, 12 * MIB), 10 * MS);
	assert_int_equal(slowdown_ns(&s, 20 * MIB), 50 * MS);
	/* No wait is longer than it may be. */
	assert_int_equal(slowdown_ns(&s, 30 * MIB), 50 * MS);
	/* The commit is ahead of the bytes. */
	s.elapsed = 40 * MS;
	assert_int_equal(slowdown_ns(&s, 12 * MIB), 0);
	assert_int_equal(slowdown_ns(&s, 20 * MIB), 10 * MS);
	/* A late commit slows down those that are near the mark alone. */
	s.elapsed = 800 * MS;
	assert_int_equal(slowdown_ns(&s, 20 * MIB), 0);
	assert_int_equal(slowdown_ns(&s, 30 * MIB), 50 * MS);
	/* Nothing is known of commits yet. */
	s.expected = 0;
	assert_int_equal(slowdown_ns(&s, 30 * MIB), 0);
}

/* Random bytes, which differ for each seed. */
static void chunk_fill(uint8_t *data, uint64_t seed)
{
	for (size_t i = 0; i < CHUNK; i += sizeof(uint64_t)) {
		uint64_t random = scratch_random(&seed);

		memcpy(data + i, &random, sizeof(random));
	}
}

static uint64_t chunk_write(struct tree *tree, uint64_t seed)
{
	struct chunk *chunk;
	uint64_t number;

	assert_int_equal(store_throttle_write(tree->store, CHUNK), 0);
	chunk = chunk_alloc(tree->store, CHUNK);
	assert_int_equal(chunk_resize(chunk, CHUNK), 0);
	chunk_fill(chunk_data(chunk), seed);
	store_lock(tree->store);
	number = chunk_add(tree, chunk, 0);
	store_unlock(tree->store);
	chunk_unref(chunk);
	return number;
}

/* More is written than memory holds: commits run and writers are slowed down.
 */
static void test_slow_writer(void **state)
{
	struct store_options options = {.memory = 8 * MIB, .nice = 1};
	struct store_params params = {0};
	uint64_t numbers[CHUNKS], seed = scratch_seed();
	_cleanup_free_ uint8_t *expected = malloc(CHUNK);
	struct tree tree = {.list = 1, .owner = 1};
	struct store_stats stats;
	struct scratch scratch;

	scratch_init(&scratch);
	assert_int_equal(store_create(scratch.store, &params), 0);
	assert_int_equal(store_open(scratch.store, &options, &tree.store), 0);
	for (size_t i = 0; i < CHUNKS; i++) {
		numbers[i] = chunk_write(&tree, seed + i);
		store_stats(tree.store, &stats);
		assert_in_range(stats.pending_bytes, 0, options.memory);
	}
	assert_int_equal(store_sync(tree.store), 0);
	/* The pace of commits is known: without it nobody is slowed down. */
	assert_true(tree.store->kib_ns > 0);
	for (size_t i = 0; i < CHUNKS; i++) {
		struct chunk *chunk;

		chunk_fill(expected, seed + i);
		assert_int_equal(chunk_load(tree.store, numbers[i], &chunk), 0);
		assert_memory_equal(chunk_data(chunk), expected, CHUNK);
		chunk_unref(chunk);
	}
	assert_int_equal(store_close(tree.store), 0);
	scratch_release(&scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_pace),
	        cmocka_unit_test(test_slow_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
