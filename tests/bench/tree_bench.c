/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Measure the tree by itself, on nodes in memory: nanoseconds a call, bytes
 * an item.  Usage: tree_bench [ITEMS [NODE_SIZE]]
 */
#include <inttypes.h>
#include <stdio.h>

#include "fake_block.h"
#include "node.h"
#include "model.h"
#include "util.h"

struct bench {
	struct store *store;
	struct tree tree;
	struct key *keys;
	uint32_t count;
	uint64_t rng;
};

static uint64_t tree_bytes(struct store *store, size_t *ret_nodes)
{
	_cleanup_free_ uint64_t *numbers = fake_nodes(store, ret_nodes);
	uint64_t bytes = 0;

	for (size_t i = 0; i < *ret_nodes; i++) {
		struct node *node;

		if (!node_read(store, numbers[i], &node))
			bytes += node_used(node->data);
	}
	return bytes;
}

static int tree_height(struct bench *b)
{
	struct node *node;

	return node_read(b->store, b->tree.root, &node)
	               ? 0
	               : (int)node_level(node->data) + 1;
}

static void report(struct bench *b, const char *what, int64_t start)
{
	printf("  %-28s %7.0f ns\n", what,
	       (double)(mono_ns() - start) / b->count);
}

static void shuffle(struct bench *b)
{
	for (uint32_t i = b->count - 1; i > 0; i--) {
		uint32_t j = (uint32_t)rng_below(&b->rng, i + 1);
		struct key key = b->keys[i];

		b->keys[i] = b->keys[j];
		b->keys[j] = key;
	}
}

static void put_all(struct bench *b, const char *what, uint32_t len)
{
	uint8_t value[TREE_VALUE_MAX] = {(uint8_t)rng_next(&b->rng)};
	int64_t start = mono_ns();

	for (uint32_t i = 0; i < b->count; i++)
		if (tree_put(&b->tree, &b->keys[i], value, len))
			abort();
	report(b, what, start);
}

/* The best of three, as other work on the machine only adds. */
static void get_all(struct bench *b, const char *what)
{
	int64_t best = INT64_MAX;
	struct item item;

	for (int round = 0; round < 3; round++) {
		int64_t start = mono_ns();

		for (uint32_t i = 0; i < b->count; i++)
			if (tree_get(&b->tree, &b->keys[i], &item))
				abort();
		best = MIN(best, mono_ns() - start);
	}
	report(b, what, mono_ns() - best);
}

static void seek_all(struct bench *b)
{
	int64_t start = mono_ns();
	struct item item;

	for (uint32_t i = 0; i < b->count; i++)
		if (tree_seek(&b->tree, &b->keys[i], &item))
			abort();
	report(b, "seek, random", start);
}

static void walk_all(struct bench *b)
{
	int64_t start = mono_ns();
	struct key first = {0};
	struct cursor cursor;
	struct item item;
	uint32_t n = 0;

	for (int err = cursor_seek(&cursor, &b->tree, &first, &item); !err;
	     err = cursor_next(&cursor, &item))
		n++;
	if (n != b->count)
		abort();
	report(b, "cursor_next", start);
}

static void del_all(struct bench *b)
{
	int64_t start = mono_ns();

	for (uint32_t i = 0; i < b->count; i++)
		if (tree_del(&b->tree, &b->keys[i]))
			abort();
	report(b, "del, random", start);
}

static void density(struct bench *b)
{
	size_t nodes;
	uint64_t bytes = tree_bytes(b->store, &nodes);

	printf("  %zu nodes, height %d, %.1f bytes an item, %.1f %% full\n",
	       nodes, tree_height(b), (double)bytes / b->count,
	       100.0 * (double)bytes / (double)nodes /
	               store_node_size(b->store));
}

static void run(struct bench *b, const char *name, uint32_t len)
{
	printf("%s: %" PRIu32 " items, values of %" PRIu32 " bytes\n", name,
	       b->count, len);
	put_all(b, "put, in the order of arrival", len);
	density(b);
	get_all(b, "get, in the order of arrival");
	walk_all(b);
	shuffle(b);
	get_all(b, "get, random");
	seek_all(b);
	put_all(b, "replace, random", len);
	del_all(b);
	put_all(b, "put, random", len);
	density(b);
	get_all(b, "get, in the order of arrival");
	shuffle(b);
	get_all(b, "get, random");
	del_all(b);
}

/* A forest of small files: what a 1 kB file costs in the tree. */
static void run_files(struct bench *b, uint32_t files)
{
	uint8_t value[64] = {0};
	int64_t start = mono_ns();
	size_t nodes;
	uint64_t bytes;

	for (uint32_t i = 0; i < files; i++) {
		/* A directory with its files behind it, then the next. */
		uint64_t dir = 16 + i / 1000 * 1001, ino = dir + 1 + i % 1000;
		uint64_t hash = rng_next(&b->rng) >> 1 & ~UINT64_C(15);
		struct key keys[] = {{dir, 5, hash},
		                     {ino, 2, 0},
		                     {ino, 3, hash},
		                     {ino, 6, 0}};
		static const uint8_t lens[] = {16, 44, 14, 7};

		for (unsigned k = 0; k < ARRAY_SIZE(keys); k++)
			if (tree_put(&b->tree, &keys[k], value, lens[k]))
				abort();
	}
	b->count = files;
	printf("%" PRIu32 " small files, 4 items of 81 bytes of values\n",
	       files);
	report(b, "put all four", start);
	bytes = tree_bytes(b->store, &nodes);
	printf("  %.1f bytes a file, %.1f %% full, so %.1f\n",
	       (double)bytes / files,
	       100.0 * (double)bytes / (double)nodes /
	               store_node_size(b->store),
	       (double)nodes * store_node_size(b->store) / files);
}

int main(int argc, char **argv)
{
	uint32_t count = argc > 1 ? (uint32_t)atoi(argv[1]) : 1000000;
	uint32_t node_size = argc > 2 ? (uint32_t)atoi(argv[2]) : 2016;
	struct bench b = {.count = count, .rng = 1};

	b.store = fake_create(node_size);
	b.tree = (struct tree){.store = b.store};
	b.keys = malloc(count * sizeof(*b.keys));
	if (!b.keys)
		return 1;
	printf("nodes of %" PRIu32 " bytes\n", node_size);
	for (uint32_t i = 0; i < count; i++)
		b.keys[i] = (struct key){i + 16, 2, 0};
	run(&b, "inodes", 44);
	for (uint32_t i = 0; i < count; i++)
		b.keys[i] = (struct key){1, 5,
		                         rng_next(&b.rng) >> 1 & ~UINT64_C(15)};
	run(&b, "names of one directory", 16);
	run_files(&b, count / 4);
	fake_destroy(b.store);
	free(b.keys);
	return 0;
}
