/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loading blocks from memory into the processor's caches.  A look-up waits for
 * the memory at each node on its way.  Here several descend a tree in step, so
 * that the processor waits for all of them at once.
 */
#include "chunk.h"
#include "engine.h"
#include "node.h"
#include "tree.h"
#include "util.h"

enum {
	CACHE_LINE = 64,
	NODE_LINES = 6,  /* the head of a node, its keys and their places */
	CHUNK_LINES = 4, /* the processor prefetches the rest by itself */
};

static void lines_prefetch(const void *at, int count)
{
	for (int i = 0; i < count; i++)
		__builtin_prefetch((const char *)at + i * CACHE_LINE);
}

/* Find the blocks with these numbers.  NULL: not in memory. */
static void blocks_find(struct store *store, const uint64_t *numbers,
                        size_t count, int lines, struct block **ret_blocks)
{
	for (size_t i = 0; i < count; i++)
		__builtin_prefetch(block_bucket(store, numbers[i]));
	for (size_t i = 0; i < count; i++)
		if (*block_bucket(store, numbers[i]))
			lines_prefetch(*block_bucket(store, numbers[i]), lines);
	for (size_t i = 0; i < count; i++)
		ret_blocks[i] = block_find(store, numbers[i]);
}

void tree_warm(struct tree *tree, const struct key *keys, size_t count)
{
	struct block *blocks[WARM_MOST];
	uint64_t numbers[WARM_MOST];
	packed wanted[WARM_MOST];
	size_t left = MIN(count, (size_t)WARM_MOST);

	for (size_t i = 0; i < left; i++) {
		numbers[i] = tree->root;
		wanted[i] = key_pack(&keys[i]);
	}
	for (int depth = 0; left && depth < TREE_DEPTH_MAX; depth++) {
		size_t next = 0;

		blocks_find(tree->store, numbers, left, NODE_LINES, blocks);
		for (size_t i = 0; i < left; i++) {
			const uint8_t *data;
			packed key = wanted[i];
			bool exact;
			uint32_t slot;

			if (!blocks[i] || blocks[i]->kind != BLOCK_NODE)
				continue;
			data = ((struct node *)blocks[i])->data;
			if (node_level(data)) {
				wanted[next] = key;
				numbers[next++] =
				        node_child(data, node_route(data, key));
				continue;
			}
			slot = node_find(data, key, &exact);
			if (slot < node_count(data))
				lines_prefetch(node_item(data, slot), 2);
		}
		left = next;
	}
}

void chunk_warm(struct store *store, const uint64_t *numbers, size_t count)
{
	struct block *blocks[WARM_MOST];

	blocks_find(store, numbers, MIN(count, (size_t)WARM_MOST), 2, blocks);
	for (size_t i = 0; i < MIN(count, (size_t)WARM_MOST); i++)
		if (blocks[i] && blocks[i]->kind == BLOCK_CHUNK)
			lines_prefetch(((struct chunk *)blocks[i])->data,
			               CHUNK_LINES);
}
