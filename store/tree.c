/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looking up and changing items of a tree.
 *
 * A change first makes the path from the root private, top down.  Each copy is
 * linked into its parent at once, so that the tree is valid even if an error
 * stops the change.  Then all new nodes are allocated; after that, the change
 * cannot fail.
 *
 * An empty tree has root 0.
 */
#include "tree.h"

#include "util.h"

int key_compare(const struct key *a, const struct key *b)
{
	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return (a->off > b->off) - (a->off < b->off);
}

void tree_stamp(struct tree *tree)
{
	tree->stamp = store_stamp(tree->store);
}

int tree_damaged(const struct tree *tree, uint64_t number, const char *what)
{
	return store_damaged(tree->store, number, what);
}

int tree_get(struct tree *tree, const struct key *key, struct item *ret_item)
{
	packed want = key_pack(key);
	struct node *node;
	uint32_t slot;
	bool exact;
	int err;

	if (!tree->root)
		return -ENOENT;
	err = node_read(tree->store, tree->root, &node);
	while (!err && node_level(node->data)) {
		slot = node_route(node->data, want);
		err = tree_child(tree, node, slot, &node);
	}
	if (err)
		return err;
	slot = node_find(node->data, want, &exact);
	if (!exact)
		return -ENOENT;
	const uint8_t *item = node_item(node->data, slot);

	ret_item->key = *key;
	ret_item->value = item_value(item);
	ret_item->len = item_value_len(item);
	return 0;
}

/* ---- The path to a leaf ------------------------------------------------- */

struct path {
	struct tree *tree;
	int depth;
	bool exact; /* the leaf has the key */
	int edge;   /* nodes down to this depth are the last of their level */
	struct {
		struct node *node;
		uint32_t slot;
	} at[TREE_DEPTH_MAX];
};

static int path_find(struct path *path, struct tree *tree, packed key)
{
	struct node *node;
	int err = node_read(tree->store, tree->root, &node);

	if (err)
		return err;
	path->tree = tree;
	path->depth = 0;
	path->edge = 0;
	for (;;) {
		uint32_t slot;

		path->at[path->depth].node = node;
		if (!node_level(node->data))
			break;
		slot = node_route(node->data, key);
		path->at[path->depth].slot = slot;
		if (path->edge == path->depth++)
			path->edge += slot + 1 == node_count(node->data);
		err = tree_child(tree, node, slot, &node);
		if (err)
			return err;
	}
	path->at[path->depth++].slot = node_find(node->data, key, &path->exact);
	return 0;
}

static void tree_set_root(struct tree *tree, uint64_t root)
{
	uint64_t old = tree->root;

	if (root == old)
		return;
	tree->root = root;
	if (tree->on_root)
		tree->on_root(tree, old);
}

/* Make the nodes of the path private, so that they may be changed. */
static int path_edit(struct path *path)
{
	struct tree *tree = path->tree;

	for (int i = 0; i < path->depth; i++) {
		struct node *node = path->at[i].node;
		uint64_t number = node->block.number;
		int err;

		if (node->block.state == BLOCK_NEW &&
		    tree_is_private(tree, number)) {
			node_touch(tree->store, node);
			continue;
		}
		err = node_edit(tree, number, &node);
		if (err)
			return err;
		path->at[i].node = node;
		if (node->block.number == number)
			continue;
		if (i)
			node_set_child(path->at[i - 1].node->data,
			               path->at[i - 1].slot,
			               node->block.number);
		else
			tree_set_root(tree, node->block.number);
	}
	return 0;
}

/* ---- Putting ------------------------------------------------------------ */

/* The way in which one node of the path takes in an item. */
struct growth {
	enum { GROW_IN_PLACE, GROW_REBUILD, GROW_SPLIT } how;
	bool replace; /* set the value of the item in the slot */
	uint32_t slot;
	packed key;
	const uint8_t *value;
	uint32_t len;
	uint32_t cut;       /* GROW_SPLIT: first entry that goes right, */
	packed separator;   /* the key of the right node in its parent, */
	struct node *right; /* and the right node */
	uint8_t child[NODE_CHILD_LEN];
};

static void growth_entries(const struct growth *growth, const uint8_t *data,
                           struct entries *entries)
{
	entries_init(entries, node_level(data));
	entries_add_node(entries, data);
	if (growth->replace) {
		entries->at[growth->slot].value = growth->value;
		entries->at[growth->slot].len = growth->len;
	} else {
		entries_insert(entries, growth->slot, growth->key,
		               growth->value, growth->len);
	}
}

static bool fits_in_place(const struct growth *growth, const uint8_t *data,
                          uint32_t size)
{
	uint32_t used = node_used(data);
	uint32_t space;

	if (growth->replace)
		return used - item_value_len(node_item(data, growth->slot)) +
		               growth->len <=
		       size;
	return node_insert_size(data, growth->key, growth->len, &space) &&
	       used + space <= size;
}

/*
 * Leave full nodes after items that come in ascending order: inodes at the
 * right end of the tree, the extents of a file anywhere.
 */
static enum cut_hint cut_hint(const struct growth *growth,
                              const struct entries *entries, bool rightmost)
{
	uint32_t slot = growth->slot;
	packed key, before;

	if (growth->replace || !slot)
		return CUT_MIDDLE;
	if (rightmost && 4 * slot >= 3 * entries->count)
		return CUT_BEFORE;
	if (entries->level)
		return CUT_MIDDLE;
	key = growth->key;
	before = entries->at[slot - 1].key;
	if (key >> 88 != before >> 88 || (key - before) >> 24 > 16)
		return CUT_MIDDLE;
	return slot + 1 == entries->count ? CUT_BEFORE : CUT_AFTER;
}

/* Not inlined, like growth_apply_anew(): `entries` is large on the stack. */
static __attribute__((noinline)) int
growth_plan_anew(struct growth *growth, const struct path *path, int depth)
{
	const uint8_t *data = path->at[depth].node->data;
	uint32_t size = store_node_size(path->tree->store);
	struct entries entries;

	growth_entries(growth, data, &entries);
	growth->how = GROW_REBUILD;
	if (entries_size(&entries, 0, entries.count) <= size)
		return 0;
	growth->how = GROW_SPLIT;
	growth->cut =
	        entries_cut(&entries, size, growth->slot,
	                    cut_hint(growth, &entries, depth <= path->edge));
	if (!growth->cut)
		return tree_damaged(path->tree,
		                    path->at[depth].node->block.number,
		                    "cannot be split");
	growth->separator = entries_separator(&entries, growth->cut);
	return 0;
}

/* Determine how the node takes the item in, changing nothing. */
static int growth_plan(struct growth *growth, const struct path *path,
                       int depth)
{
	growth->how = GROW_IN_PLACE;
	growth->right = NULL;
	if (fits_in_place(growth, path->at[depth].node->data,
	                  store_node_size(path->tree->store)))
		return 0;
	return growth_plan_anew(growth, path, depth);
}

/* Set the growth of the parent, for the right node of the split child. */
static int growth_above(struct growth *growth, const struct path *path,
                        int depth, packed separator)
{
	static const uint8_t nothing[NODE_CHILD_LEN];
	const struct node *node = path->at[depth].node;
	bool exact;

	growth->replace = false;
	growth->key = separator;
	growth->value = nothing; /* until the right node has a number */
	growth->len = NODE_CHILD_LEN;
	growth->slot = node_find(node->data, separator, &exact);
	if (exact || growth->slot != path->at[depth].slot + 1)
		return tree_damaged(path->tree, node->block.number,
		                    "child out of its bounds");
	return 0;
}

static __attribute__((noinline)) void
growth_apply_anew(const struct growth *growth, struct node *node)
{
	uint8_t old[NODE_SIZE_MAX];
	struct entries entries;

	memcpy(old, node->data, node_used(node->data));
	growth_entries(growth, old, &entries);
	if (growth->how == GROW_REBUILD) {
		entries_build(&entries, 0, entries.count, node->data);
		return;
	}
	entries_build(&entries, 0, growth->cut, node->data);
	entries_build(&entries, growth->cut, entries.count,
	              growth->right->data);
}

static void growth_apply(const struct growth *growth, struct node *node)
{
	if (growth->how != GROW_IN_PLACE)
		growth_apply_anew(growth, node);
	else if (growth->replace)
		node_replace(node->data, growth->slot, growth->value,
		             growth->len);
	else
		node_insert(node->data, growth->slot, growth->key,
		            growth->value, growth->len);
}

/* Put the first item into an empty tree. */
static int tree_plant(struct tree *tree, packed key, const uint8_t *value,
                      uint32_t len)
{
	struct entries entries;
	struct node *node;
	int err = node_new(tree, &node);

	if (err)
		return err;
	entries_init(&entries, 0);
	entries_insert(&entries, 0, key, value, len);
	entries_build(&entries, 0, 1, node->data);
	tree_set_root(tree, node->block.number);
	return 0;
}

/* Make the new root, with the two nodes into which the old one was split. */
static void grow_root(struct path *path, struct node *root,
                      const struct growth *growth)
{
	uint8_t left[NODE_CHILD_LEN], right[NODE_CHILD_LEN];
	struct entries entries;

	be64_put(left, path->tree->root);
	be64_put(right, growth->right->block.number);
	entries_init(&entries, node_level(path->at[0].node->data) + 1);
	entries_insert(&entries, 0, 0, left, NODE_CHILD_LEN);
	entries_insert(&entries, 1, growth->separator, right, NODE_CHILD_LEN);
	entries_build(&entries, 0, 2, root->data);
	tree_set_root(path->tree, root->block.number);
}

/*
 * Allocate the new nodes that the growths from depth `top` down need, and
 * *ret_root if the root is split; all or none.
 */
static int growth_alloc(struct path *path, struct growth *growths, int top,
                        struct node **ret_root)
{
	struct tree *tree = path->tree;
	struct node *root = NULL;
	int i, err = 0;

	for (i = path->depth - 1; i >= top && !err; i--)
		if (growths[i].how == GROW_SPLIT)
			err = node_new(tree, &growths[i].right);
	if (!err && growths[top].how == GROW_SPLIT)
		err = node_new(tree, &root);
	if (!err) {
		*ret_root = root;
		return 0;
	}
	for (i = path->depth - 1; i >= top; i--)
		if (growths[i].right)
			tree_drop(tree, growths[i].right->block.number);
	return err;
}

/* Put the item of the lowest growth into the leaf of the path. */
static int path_grow(struct path *path, struct growth *growths)
{
	struct node *root = NULL;
	int top = path->depth - 1;
	int err = growth_plan(&growths[top], path, top);

	while (!err && growths[top].how == GROW_SPLIT && top > 0) {
		packed separator = growths[top].separator;

		top--;
		err = growth_above(&growths[top], path, top, separator);
		if (!err)
			err = growth_plan(&growths[top], path, top);
	}
	if (!err && growths[top].how == GROW_SPLIT &&
	    path->depth == TREE_DEPTH_MAX)
		err = -EFBIG;
	if (!err)
		err = path_edit(path);
	if (!err)
		err = growth_alloc(path, growths, top, &root);
	if (err)
		return err;

	for (int i = path->depth - 1; i >= top; i--) {
		growth_apply(&growths[i], path->at[i].node);
		if (growths[i].how == GROW_SPLIT && i > top) {
			be64_put(growths[i - 1].child,
			         growths[i].right->block.number);
			growths[i - 1].value = growths[i - 1].child;
		}
	}
	if (root)
		grow_root(path, root, &growths[top]);
	return 0;
}

int tree_put(struct tree *tree, const struct key *key, const void *value,
             size_t len)
{
	struct growth growths[TREE_DEPTH_MAX]; /* filled in as needed */
	packed want = key_pack(key);
	/* The caller's bytes may lie in a node that changes. */
	uint8_t copy[TREE_VALUE_MAX];
	struct growth *growth;
	struct path path;
	int err;

	if (key->ino >> 36 || key->kind > 15)
		return -EINVAL;
	if (len > TREE_VALUE_MAX || len > store_node_size(tree->store) / 4)
		return -E2BIG;
	if (len)
		memcpy(copy, value, len);
	tree_stamp(tree);
	if (!tree->root)
		return tree_plant(tree, want, copy, (uint32_t)len);
	err = path_find(&path, tree, want);
	if (err)
		return err;
	growth = &growths[path.depth - 1];
	growth->slot = path.at[path.depth - 1].slot;
	if (path.exact) {
		const uint8_t *item = node_item(
		        path.at[path.depth - 1].node->data, growth->slot);

		if (item_value_len(item) == len &&
		    !memcmp(item_value(item), copy, len))
			return 0;
	}
	growth->replace = path.exact;
	growth->key = want;
	growth->value = copy;
	growth->len = (uint32_t)len;
	return path_grow(&path, growths);
}

/* ---- Removing ----------------------------------------------------------- */

/*
 * Merge the left or right neighbour of the node at `depth`, which is not the
 * root, into that node, and drop it.  Return false if both do not fit.
 */
static bool merge_with(struct path *path, int depth, bool with_left)
{
	struct tree *tree = path->tree;
	struct node *parent = path->at[depth - 1].node;
	struct node *node = path->at[depth].node;
	uint32_t right_slot = path->at[depth - 1].slot + !with_left;
	uint32_t size = store_node_size(tree->store);
	uint8_t old[NODE_SIZE_MAX];
	struct entries entries;
	struct node *other = NULL;
	uint32_t middle;

	if (!right_slot || right_slot >= node_count(parent->data))
		return false;
	/* A neighbour that cannot be read is treated as missing. */
	if (tree_child(tree, parent, with_left ? right_slot - 1 : right_slot,
	               &other) ||
	    other == node)
		return false;
	/* A quick check first: the keys' common prefix saves little. */
	if (node_used(node->data) + node_used(other->data) > size)
		return false;
	memcpy(old, node->data, node_used(node->data));
	entries_init(&entries, node_level(old));
	entries_add_node(&entries, with_left ? other->data : old);
	middle = entries.count;
	entries_add_node(&entries, with_left ? old : other->data);
	if (entries.level)
		entries.at[middle].key = node_key(parent->data, right_slot);
	/* Leave some space, or the next item would split the node again. */
	if (entries.at[middle - 1].key >= entries.at[middle].key ||
	    entries_size(&entries, 0, entries.count) > size - size / 8)
		return false;
	entries_build(&entries, 0, entries.count, node->data);
	node_set_child(parent->data, right_slot - 1, node->block.number);
	node_remove(parent->data, right_slot);
	tree_drop(tree, other->block.number);
	return true;
}

/* Drop roots that only lead to one child. */
static void shrink_root(struct path *path)
{
	struct tree *tree = path->tree;
	struct node *root = path->at[0].node;

	while (node_level(root->data) && node_count(root->data) == 1) {
		uint64_t number = root->block.number;
		struct node *child = NULL;

		if (tree_child(tree, root, 0, &child))
			return;
		tree_set_root(tree, child->block.number);
		tree_drop(tree, number);
		root = child;
	}
}

int tree_del(struct tree *tree, const struct key *key)
{
	uint32_t least = store_node_size(tree->store) / 3;
	struct path path;
	int err, i;

	tree_stamp(tree);
	if (!tree->root)
		return -ENOENT;
	err = path_find(&path, tree, key_pack(key));
	if (!err && !path.exact)
		err = -ENOENT;
	if (!err)
		err = path_edit(&path);
	if (err)
		return err;

	i = path.depth - 1;
	node_remove(path.at[i].node->data, path.at[i].slot);
	for (; i > 0; i--) {
		struct node *node = path.at[i].node;

		if (!node_count(node->data)) {
			node_remove(path.at[i - 1].node->data,
			            path.at[i - 1].slot);
			tree_drop(tree, node->block.number);
		} else if (node_used(node->data) >= least ||
		           !(merge_with(&path, i, true) ||
		             merge_with(&path, i, false))) {
			break;
		}
	}
	if (!node_count(path.at[0].node->data)) {
		tree_set_root(tree, 0);
		tree_drop(tree, path.at[0].node->block.number);
	} else {
		shrink_root(&path);
	}
	return 0;
}
