/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checks of a tree: every node can be read and is well-formed, is on its level,
 * and has its keys in order and within its bounds.
 */
#include "tree.h"

struct walk {
	struct tree *tree;
	const struct tree_checker *checker;
	packed from;
	uint32_t reads;
	int depth;
	struct {
		const struct node *node;
		uint32_t slot;
		packed low, high; /* low <= keys < high */
	} path[TREE_DEPTH_MAX];
};

static void walk_report(const struct walk *walk, uint64_t number, int level,
                        const char *what)
{
	walk->checker->damage(walk->checker->arg, number, level, what);
}

/*
 * Return the fault of a node that should have this level and these bounds, or
 * NULL.
 */
static const char *place_fault(const struct node *node, int level, packed low,
                               packed high, uint32_t size)
{
	uint32_t count = node_count(node->data);
	uint32_t first = level != 0;
	const char *fault;

	if (node_used(node->data) > size)
		return "too long";
	fault = node_fault(node->data, node_used(node->data));
	if (fault)
		return fault;
	if ((int)node_level(node->data) != level)
		return "on the wrong level";
	if (first < count && (node_key(node->data, first) < low ||
	                      node_key(node->data, count - 1) >= high))
		return "keys out of bounds";
	return NULL;
}

static void walk_leaf(const struct walk *walk, const struct node *node)
{
	uint32_t count = node_count(node->data);
	struct item item;

	if (!walk->checker->item)
		return;
	for (uint32_t i = 0; i < count; i++) {
		node_get(node->data, i, &item);
		walk->checker->item(walk->checker->arg, node->block.number,
		                    &item);
	}
}

/*
 * Enter the node, unless it is damaged (reported) or the checker skips it.  A
 * level below 0 marks the root, whose level is read from the node.
 */
static int walk_enter(struct walk *walk, uint64_t number, int level, packed low,
                      packed high)
{
	const struct tree_checker *checker = walk->checker;
	/* On a resumed walk, the nodes before `from` were reported before. */
	bool reported = walk->from && (low < walk->from || !walk->depth);
	const char *fault;
	struct node *node;
	int err;

	if (!reported && checker->enter &&
	    !checker->enter(checker->arg, number, level,
	                    tree_is_private(walk->tree, number)))
		return 0;
	walk->reads++;
	err = node_read(walk->tree->store, number, &node);
	if (err == -EUCLEAN) {
		if (!reported)
			walk_report(walk, number, level, "unreadable");
		return 0;
	}
	if (err)
		return err;
	if (level < 0)
		level = (int)node_level(node->data);
	fault = place_fault(node, level, low, high,
	                    store_node_size(walk->tree->store));
	if (fault) {
		if (!reported)
			walk_report(walk, number, level, fault);
		return 0;
	}
	if (!level) {
		if (!reported)
			walk_leaf(walk, node);
		return 0;
	}
	walk->path[walk->depth].node = node;
	walk->path[walk->depth].slot = node_route(node->data, walk->from);
	walk->path[walk->depth].low = low;
	walk->path[walk->depth++].high = high;
	return 0;
}

int tree_check(struct tree *tree, struct key *from, uint32_t limit,
               const struct tree_checker *checker)
{
	struct walk walk = {
	        .tree = tree, .checker = checker, .from = key_pack(from)};
	int err;

	if (!tree->root)
		return 0;
	err = walk_enter(&walk, tree->root, -1, 0, ~(packed)0);
	while (!err && walk.depth) {
		const int depth = walk.depth - 1;
		const uint8_t *data = walk.path[depth].node->data;
		uint32_t slot = walk.path[depth].slot;
		packed low, high;
		uint64_t number;

		if (slot >= node_count(data)) {
			walk.depth--;
			continue;
		}
		low = slot ? node_key(data, slot) : walk.path[depth].low;
		high = slot + 1 < node_count(data) ? node_key(data, slot + 1)
		                                   : walk.path[depth].high;
		/* In slot 0, the node itself would be reported again. */
		if (limit && walk.reads >= limit && slot && low > walk.from) {
			*from = key_unpack(low);
			return -EAGAIN;
		}
		number = node_child(data, slot);
		walk.path[depth].slot++;
		if (tree_is_private(tree, number) &&
		    !tree_is_private(tree, walk.path[depth].node->block.number))
			walk_report(&walk, number, (int)node_level(data) - 1,
			            "private below a shared node");
		err = walk_enter(&walk, number, (int)node_level(data) - 1, low,
		                 high);
	}
	return err;
}
