/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads of a fork that is changed between the look at its tree and the reading
 * of its chunks: these are freed by then.
 */
#include "lib_fixture.h"
#include "tree_read.h"
#include "util.h"

enum {
	SMALL = 3000,    /* in one chunk */
	LARGE = 6 << 20, /* read in several pieces */
};

/* The change that the test makes before chunks are read. */
static struct {
	struct coppice *store;
	struct coppice_state *fork;
	size_t size;
	unsigned change; /* at this time that chunks are read; 0: no more */
} now;

static uint8_t *content(size_t size, uint64_t seed)
{
	uint8_t *bytes = malloc(size);

	assert_non_null(bytes);
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)scratch_random(&seed);
	return bytes;
}

static void key_put(const char *key, uint64_t seed)
{
	_cleanup_free_ uint8_t *bytes = content(now.size, seed);
	struct coppice_batch *batch;

	ok(coppice_batch_new(now.store, &batch));
	ok(coppice_batch_put(batch, now.fork, key, bytes, now.size, 0));
	ok(coppice_batch_commit(batch, 0, NULL));
	coppice_batch_discard(batch);
	/* Free the chunks that it replaces. */
	ok(coppice_reclaim(now.store));
}

int __real_tree_read_fill(struct store *store, struct tree_read *read);
int __wrap_tree_read_fill(struct store *store, struct tree_read *read);

int __wrap_tree_read_fill(struct store *store, struct tree_read *read)
{
	if (read->missing && now.change && !--now.change)
		key_put("k", 1);
	return __real_tree_read_fill(store, read);
}

/* Make the key, and read it from now on with nothing in memory. */
static void begin(struct lib_fixture *w, size_t size, unsigned change)
{
	now.store = w->store;
	now.fork = lib_state(w->store, "main");
	now.size = size;
	key_put("k", 0);
	coppice_state_close(now.fork);
	ok(coppice_close(w->store));
	ok(coppice_open(w->scratch.store, 0, NULL, &w->store));
	now.store = w->store;
	now.fork = lib_state(w->store, "main");
	now.change = change;
}

/* Expect the content that the change has made. */
static void end(const uint8_t *bytes)
{
	_cleanup_free_ uint8_t *expected = content(now.size, 1);

	assert_int_equal(now.change, 0);
	assert_memory_equal(bytes, expected, now.size);
	coppice_state_close(now.fork);
}

static void test_get(void **state)
{
	uint8_t bytes[SMALL];

	begin(*state, SMALL, 1);
	assert_int_equal(coppice_get(now.fork, "k", 0, bytes, SMALL), SMALL);
	end(bytes);
}

static void test_get_many(void **state)
{
	uint8_t bytes[2][SMALL];
	struct coppice_get gets[] = {{"k", 0, bytes[0], SMALL, 0},
	                             {"k", 0, bytes[1], SMALL, 0}};

	begin(*state, SMALL, 1);
	ok(coppice_get_many(now.fork, gets, 2));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(gets[i].result, SMALL);
		assert_memory_equal(bytes[i], bytes[0], SMALL);
	}
	end(bytes[0]);
}

/* All of a large content is of one instant. */
static void test_get_in_pieces(void **state)
{
	_cleanup_free_ uint8_t *bytes = malloc(LARGE);

	/* The first piece has been read. */
	begin(*state, LARGE, 2);
	assert_int_equal(coppice_get(now.fork, "k", 0, bytes, LARGE), LARGE);
	end(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        lib_test(test_get),
	        lib_test(test_get_many),
	        lib_test(test_get_in_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
