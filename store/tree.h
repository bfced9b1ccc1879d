/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Descending a tree, with the checks that a damaged store needs.  Inside store/
 * only.
 */
#ifndef COPPICE_TREE_H
#define COPPICE_TREE_H

#include <errno.h>

#include "node.h"

/* Log that the node does not fit its position in the tree. Return -EUCLEAN. */
int tree_damaged(const struct tree *tree, uint64_t number, const char *what);

/* Return the child in a slot of an inner node.  -EUCLEAN: also a bad level. */
static inline int tree_child(const struct tree *tree, const struct node *parent,
                             uint32_t slot, struct node **ret_node)
{
	uint64_t number = node_child(parent->data, slot);
	struct node *node;
	int err = node_read(tree->store, number, &node);

	if (err)
		return err;
	if (__builtin_expect(
	            node_level(node->data) + 1 != node_level(parent->data), 0))
		return tree_damaged(tree, number, "wrong level");
	*ret_node = node;
	return 0;
}

static inline bool tree_is_private(const struct tree *tree, uint64_t number)
{
	return number > tree->base;
}

#endif
