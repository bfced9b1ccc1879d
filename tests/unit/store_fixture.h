/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Stores for the unit tests of store/, without a file system: new ones,
 * reopened ones, chunks in them, and the bytes booked on a version.
 */
#ifndef COPPICE_STORE_FIXTURE_H
#define COPPICE_STORE_FIXTURE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "scratch.h"
#include "store.h"
#include "util.h"

static inline struct store *open_store(const char *path)
{
	struct store_options options = {.memory = 8 << 20};
	struct store *store;

	assert_int_equal(store_open(path, &options, &store), 0);
	return store;
}

static inline struct store *fresh_store(struct scratch *scratch)
{
	scratch_init(scratch);
	assert_int_equal(store_create(scratch->store, NULL), 0);
	return open_store(scratch->store);
}

static inline uint64_t chunk_make(struct tree *tree, const void *data,
                                  uint32_t len)
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

static inline void chunk_expect(struct store *store, uint64_t number,
                                const void *data, uint32_t len)
{
	struct chunk *chunk;

	assert_int_equal(chunk_load(store, number, &chunk), 0);
	assert_int_equal(chunk_len(chunk), len);
	assert_memory_equal(chunk_data(chunk), data, len);
	chunk_unref(chunk);
}

static inline void drop(struct tree *tree, uint64_t number)
{
	store_lock(tree->store);
	tree_drop(tree, number);
	store_unlock(tree->store);
}

static inline struct store *reopen(struct store *store, struct scratch *scratch,
                                   struct tree *tree)
{
	assert_int_equal(store_close(store), 0);
	tree->store = open_store(scratch->store);
	return tree->store;
}

static inline uint64_t unique_bytes(struct store *store, uint64_t list)
{
	struct list_info info;

	store_lock(store);
	assert_int_equal(list_info(store, list, &info), 0);
	store_unlock(store);
	return info.unique_bytes;
}

#endif
