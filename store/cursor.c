/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Positions in a tree, and moving from one item to the next.  Keys are returned
 * in strictly ascending order even if nodes are damaged, so every walk ends.
 */
#include "tree.h"

/* Descend to the leaf where key belongs. The caller finds the slot in it. */
static int descend(struct cursor *cursor, struct tree *tree, packed key)
{
	struct node *node;
	int depth = 0;
	int err;

	cursor->tree = tree;
	cursor->depth = 0;
	if (!tree->root)
		return -ENOENT;
	err = node_read(tree->store, tree->root, &node);
	while (!err && node_level(node->data)) {
		cursor->path[depth].node = node;
		cursor->path[depth].slot = node_route(node->data, key);
		err = tree_child(tree, node, cursor->path[depth].slot, &node);
		depth++;
	}
	if (err)
		return err;
	cursor->path[depth].node = node;
	cursor->depth = depth + 1;
	return 0;
}

/* Descend from a node of the path to its first or last item. */
static int descend_edge(struct cursor *cursor, bool last)
{
	for (;;) {
		int depth = cursor->depth - 1;
		const struct node *node = cursor->path[depth].node;
		struct node *child = NULL;
		int err;

		if (!node_level(node->data))
			return 0;
		err = tree_child(cursor->tree, node, cursor->path[depth].slot,
		                 &child);
		if (err)
			return err;
		cursor->path[depth + 1].node = child;
		cursor->path[depth + 1].slot =
		        last ? node_count(child->data) - 1 : 0;
		cursor->depth++;
	}
}

/* Move to the first item of the next leaf, whose key must be at least this. */
static int next_leaf(struct cursor *cursor, packed least)
{
	const struct node *leaf;
	int err;

	while (--cursor->depth > 0) {
		int depth = cursor->depth - 1;
		const struct node *node = cursor->path[depth].node;

		if (++cursor->path[depth].slot < node_count(node->data))
			break;
	}
	if (!cursor->depth)
		return -ENOENT;
	err = descend_edge(cursor, false);
	leaf = cursor->path[cursor->depth - 1].node;
	if (!err && node_key(leaf->data, 0) < least)
		err = tree_damaged(cursor->tree, leaf->block.number,
		                   "keys out of order");
	if (err)
		cursor->depth = 0;
	return err;
}

/* Move to the last item of the leaf before. */
static int previous_leaf(struct cursor *cursor)
{
	while (--cursor->depth > 0) {
		int depth = cursor->depth - 1;

		if (cursor->path[depth].slot-- > 0)
			break;
	}
	return cursor->depth ? descend_edge(cursor, true) : -ENOENT;
}

static void cursor_item(const struct cursor *cursor, struct item *ret_item)
{
	node_get(cursor->path[cursor->depth - 1].node->data,
	         cursor->path[cursor->depth - 1].slot, ret_item);
}

int cursor_seek(struct cursor *cursor, struct tree *tree, const struct key *key,
                struct item *ret_item)
{
	packed want = key_pack(key);
	const struct node *leaf;
	bool exact;
	uint32_t slot;
	int err = descend(cursor, tree, want);

	if (err)
		return err;
	leaf = cursor->path[cursor->depth - 1].node;
	slot = node_find(leaf->data, want, &exact);
	cursor->path[cursor->depth - 1].slot = slot;
	if (slot == node_count(leaf->data))
		err = next_leaf(cursor, want);
	if (!err)
		cursor_item(cursor, ret_item);
	return err;
}

int cursor_next(struct cursor *cursor, struct item *ret_item)
{
	int depth = cursor->depth - 1;
	const struct node *leaf;
	int err = 0;

	if (depth < 0)
		return -ENOENT;
	leaf = cursor->path[depth].node;
	if (++cursor->path[depth].slot >= node_count(leaf->data)) {
		packed last = node_key(leaf->data, node_count(leaf->data) - 1);

		err = next_leaf(cursor, last + 1);
	}
	if (!err)
		cursor_item(cursor, ret_item);
	return err;
}

int tree_seek(struct tree *tree, const struct key *key, struct item *ret_item)
{
	struct cursor cursor;

	return cursor_seek(&cursor, tree, key, ret_item);
}

int tree_seek_back(struct tree *tree, const struct key *key,
                   struct item *ret_item)
{
	packed want = key_pack(key);
	struct cursor cursor;
	const struct node *leaf;
	uint32_t slot;
	bool exact;
	int err = descend(&cursor, tree, want);

	if (err)
		return err;
	leaf = cursor.path[cursor.depth - 1].node;
	slot = node_find(leaf->data, want, &exact);
	if (exact || slot) {
		cursor.path[cursor.depth - 1].slot = slot - !exact;
		cursor_item(&cursor, ret_item);
		return 0;
	}
	err = previous_leaf(&cursor);
	if (err)
		return err;
	leaf = cursor.path[cursor.depth - 1].node;
	if (node_key(leaf->data, cursor.path[cursor.depth - 1].slot) >= want)
		return tree_damaged(tree, leaf->block.number,
		                    "keys out of order");
	cursor_item(&cursor, ret_item);
	return 0;
}
