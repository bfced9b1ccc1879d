/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The difference of two trees.
 *
 * Each side stands before an item, or before a subtree that it has not entered,
 * with a lower bound of its keys.  If both stand before the same block, both
 * skip it.  Otherwise the side with the lower key moves; if the keys are equal,
 * the side with the higher level.  A side therefore never enters a block that
 * the other may yet reach, and the shape of the trees does not matter.
 */
#include "tree.h"
#include "util.h"

enum { LEVEL_ITEM = -1 };

struct side {
	struct tree *tree;
	packed from; /* where the walk began */
	bool done;
	packed low;      /* the item's key, or below all keys of the subtree */
	int level;       /* of the subtree's root, or LEVEL_ITEM */
	uint64_t number; /* of the subtree's root */
	int depth;       /* of path[] in use */
	struct {
		const struct node *node;
		uint32_t slot;
	} path[TREE_DEPTH_MAX];
};

static int side_init(struct side *side, struct tree *tree, packed from)
{
	struct node *root;
	int err;

	*side = (struct side){.tree = tree, .from = from, .low = from};
	side->done = !tree->root;
	if (side->done)
		return 0;
	err = node_read(tree->store, tree->root, &root);
	if (err)
		return err;
	side->number = tree->root;
	side->level = (int)node_level(root->data);
	return 0;
}

/* Move before the slot of the lowest node of the path. */
static void side_stand(struct side *side)
{
	const struct node *node = side->path[side->depth - 1].node;
	uint32_t slot = side->path[side->depth - 1].slot;

	side->level = (int)node_level(node->data) - 1;
	side->number =
	        side->level == LEVEL_ITEM ? 0 : node_child(node->data, slot);
	if (side->level == LEVEL_ITEM || slot)
		side->low = MAX(side->low, node_key(node->data, slot));
}

/* Move past the item or the subtree. */
static int side_skip(struct side *side)
{
	while (side->depth > 0) {
		const struct node *node = side->path[side->depth - 1].node;
		uint32_t slot = ++side->path[side->depth - 1].slot;

		if (slot < node_count(node->data)) {
			if (node_key(node->data, slot) <= side->low)
				return tree_damaged(side->tree,
				                    node->block.number,
				                    "keys out of order");
			side_stand(side);
			return 0;
		}
		side->depth--;
	}
	side->done = true;
	return 0;
}

/* Move into the subtree. */
static int side_enter(struct side *side)
{
	const struct node *parent = NULL;
	struct node *node;
	uint32_t slot;
	bool exact;
	int err;

	if (side->depth) {
		parent = side->path[side->depth - 1].node;
		err = tree_child(side->tree, parent,
		                 side->path[side->depth - 1].slot, &node);
	} else {
		err = node_read(side->tree->store, side->number, &node);
	}
	if (err)
		return err;
	slot = node_level(node->data)
	               ? node_route(node->data, side->from)
	               : node_find(node->data, side->from, &exact);
	side->path[side->depth].node = node;
	side->path[side->depth++].slot = slot;
	if (slot == node_count(node->data))
		return side_skip(side);
	if (!node_level(node->data) && node_key(node->data, slot) < side->low)
		return tree_damaged(side->tree, node->block.number,
		                    "keys out of order");
	side_stand(side);
	return 0;
}

static void side_item(const struct side *side, struct item *ret_item)
{
	node_get(side->path[side->depth - 1].node->data,
	         side->path[side->depth - 1].slot, ret_item);
}

/*
 * Return true if two slots of leaves have the same item.  A result of false may
 * be wrong: the two leaves may have prefixes of different lengths.
 */
static bool slots_same(const uint8_t *a, uint32_t i, const uint8_t *b,
                       uint32_t j)
{
	const uint8_t *x = node_item(a, i), *y = node_item(b, j);
	uint32_t prefix = node_prefix_len(a), size = item_size(x);

	return prefix == node_prefix_len(b) &&
	       !memcmp(a + NODE_HEADER, b + NODE_HEADER, prefix) &&
	       node_head(a, i) == node_head(b, j) && size == item_size(y) &&
	       !memcmp(x, y, size);
}

/*
 * Move two sides that stand before equal items, or before the same block, past
 * these and past the equal ones that follow in both nodes.
 */
static int sides_skip(struct side *a, struct side *b)
{
	int err;

	while (a->depth && b->depth) {
		const uint8_t *x = a->path[a->depth - 1].node->data;
		const uint8_t *y = b->path[b->depth - 1].node->data;
		uint32_t *i = &a->path[a->depth - 1].slot;
		uint32_t *j = &b->path[b->depth - 1].slot;

		if (*i + 1 >= node_count(x) || *j + 1 >= node_count(y) ||
		    (a->level == LEVEL_ITEM
		             ? !slots_same(x, *i + 1, y, *j + 1)
		             : node_child(x, *i + 1) != node_child(y, *j + 1)))
			break;
		++*i;
		++*j;
	}
	err = side_skip(a);
	return err ? err : side_skip(b);
}

typedef int diff_fn(void *arg, const struct item *a, const struct item *b);

/* Report an item that one side has, or both with the same key. */
static int diff_items(struct side *a, struct side *b, diff_fn *fn, void *arg)
{
	struct item item_a, item_b;
	int err;

	if (a)
		side_item(a, &item_a);
	if (b)
		side_item(b, &item_b);
	if (a && b && item_a.len == item_b.len &&
	    !memcmp(item_a.value, item_b.value, item_a.len))
		return sides_skip(a, b);
	err = fn(arg, a ? &item_a : NULL, b ? &item_b : NULL);
	if (!err && a)
		err = side_skip(a);
	if (!err && b)
		err = side_skip(b);
	return err;
}

/*
 * Return the side that moves: the one with the lower key; if the keys are
 * equal, the one with the higher level.
 */
static struct side *side_to_move(struct side *a, struct side *b)
{
	if (a->done || b->done)
		return a->done ? b : a;
	if (a->low != b->low)
		return a->low < b->low ? a : b;
	return a->level >= b->level ? a : b;
}

int tree_diff(struct tree *a_tree, struct tree *b_tree, struct key *from,
              uint32_t limit, diff_fn *fn, void *arg)
{
	packed start = key_pack(from);
	struct side a, b, *side;
	uint32_t reads = 2;
	int err;

	if (a_tree->root == b_tree->root)
		return 0;
	err = side_init(&a, a_tree, start);
	if (!err)
		err = side_init(&b, b_tree, start);
	while (!err && !(a.done && b.done)) {
		if (!a.done && !b.done && a.level != LEVEL_ITEM &&
		    a.level == b.level && a.number == b.number) {
			err = sides_skip(&a, &b);
			continue;
		}
		side = side_to_move(&a, &b);
		if (side->level != LEVEL_ITEM) {
			if (limit && reads >= limit && side->low > start) {
				*from = key_unpack(side->low);
				return -EAGAIN;
			}
			reads++;
			err = side_enter(side);
		} else if (!a.done && !b.done && a.low == b.low) {
			err = diff_items(&a, &b, fn, arg);
		} else {
			err = diff_items(side == &a ? side : NULL,
			                 side == &b ? side : NULL, fn, arg);
		}
	}
	return err;
}
