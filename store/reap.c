/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Freeing the blocks that are private to a tree: its nodes, bottom up, and the
 * chunks that their items name.
 *
 * A node is freed after the last of its children, so a walk that is resumed
 * finds all nodes that lead to the rest.  The position where it stops is the
 * separator before a child: a descent to that key meets no freed node.
 */
#include "tree.h"
#include "util.h"

struct reaper {
	struct tree *tree;
	packed from;
	uint32_t reads, freed;
	int depth;
	struct {
		struct node *node;
		uint32_t slot;
		packed low; /* below all keys of the node */
	} path[TREE_DEPTH_MAX];
	void (*fn)(void *arg, const struct item *item);
	void *arg;
};

static void reaper_push(struct reaper *reaper, struct node *node, packed low)
{
	int depth = reaper->depth++;

	reaper->reads++;
	reaper->path[depth].node = node;
	reaper->path[depth].low = low;
	reaper->path[depth].slot = 0;
	if (node_level(node->data))
		reaper->path[depth].slot = node_route(node->data, reaper->from);
}

/* Free the lowest node of the path, and move its parent to the next slot. */
static void reaper_pop(struct reaper *reaper)
{
	struct node *node = reaper->path[--reaper->depth].node;

	if (!node_level(node->data)) {
		uint32_t count = node_count(node->data);
		struct item item;

		for (uint32_t i = 0; i < count; i++) {
			node_get(node->data, i, &item);
			reaper->fn(reaper->arg, &item);
		}
	}
	tree_drop(reaper->tree, node->block.number);
	reaper->freed++;
	if (reaper->depth)
		reaper->path[reaper->depth - 1].slot++;
}

/* Return the lower bound of the slot of the lowest node. */
static packed reaper_low(const struct reaper *reaper)
{
	const struct node *node = reaper->path[reaper->depth - 1].node;
	uint32_t slot = reaper->path[reaper->depth - 1].slot;

	return slot ? node_key(node->data, slot)
	            : reaper->path[reaper->depth - 1].low;
}

int tree_reap(struct tree *tree, struct key *from, uint32_t limit,
              void (*fn)(void *arg, const struct item *item), void *arg)
{
	struct reaper reaper = {
	        .tree = tree, .from = key_pack(from), .fn = fn, .arg = arg};
	struct node *node;
	int err;

	if (!tree->root || !tree_is_private(tree, tree->root))
		return 0;
	err = node_read(tree->store, tree->root, &node);
	if (err)
		return err == -EUCLEAN ? 0 : err;
	reaper_push(&reaper, node, reaper.from);
	while (reaper.depth) {
		uint32_t *slot = &reaper.path[reaper.depth - 1].slot;

		node = reaper.path[reaper.depth - 1].node;
		if (!node_level(node->data) ||
		    *slot >= node_count(node->data)) {
			reaper_pop(&reaper);
			continue;
		}
		if (!tree_is_private(tree, node_child(node->data, *slot))) {
			++*slot;
			continue;
		}
		if (limit && reaper.reads >= limit && reaper.freed) {
			*from = key_unpack(reaper_low(&reaper));
			return -EAGAIN;
		}
		err = tree_child(tree, node, *slot, &node);
		if (!err)
			reaper_push(&reaper, node, reaper_low(&reaper));
		else if (err == -EUCLEAN)
			++*slot; /* damaged: its blocks cannot be found */
		else
			return err;
	}
	tree->root = 0;
	return 0;
}
