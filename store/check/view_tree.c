/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checking one tree against the sharing rule: the private blocks of a version
 * are those above its base; it shares all blocks of the tree of its parent that
 * are not on its deadlist, and no others.
 *
 * The first step walks the private nodes, and marks the shared blocks that they
 * name.  The second marks the entries of the deadlist.  The third walks the
 * parent's tree, but enters only blocks on the deadlist: every block that it
 * meets must have one of the two marks, and it must meet every marked block.
 * The work is proportional to the difference of the trees.
 */
#include <errno.h>

#include "stored_block.h"
#include "view.h"

typedef unsigned long long ull;

/* ---- Gaps --------------------------------------------------------------- */

static void unreadable_add(struct view *view, packed low, packed high)
{
	if (!view_grow(view, (void **)&view->unreadable,
	               sizeof(*view->unreadable), view->unreadable_len,
	               &view->unreadable_capacity))
		return;
	view->any_unreadable = true;
	view->unreadable[view->unreadable_len++] = (struct unreadable){
	        .first = key_unpack(low).ino,
	        .last = key_unpack(high - 1).ino,
	};
}

bool view_uncertain(const struct view *view, uint64_t ino)
{
	for (size_t i = 0; i < view->unreadable_len; i++)
		if (view->unreadable[i].first <= ino &&
		    ino <= view->unreadable[i].last)
			return true;
	return false;
}

bool view_incomplete(const struct view *view)
{
	return view->unreadable_len;
}

void view_unreadable_tree(struct view *view)
{
	view->any_unreadable = true;
}

/* ---- Marks -------------------------------------------------------------- */

static bool mark(struct view *view, struct indexes *row, size_t i,
                 enum mark mark)
{
	if (!view_grow(view, (void **)&row->at, sizeof(*row->at), row->len,
	               &row->capacity))
		return false;
	row->at[row->len++] = i;
	view->marks[i] |= (uint8_t)mark;
	return true;
}

static void marks_clear(struct view *view, struct indexes *row)
{
	for (size_t i = 0; i < row->len; i++)
		view->marks[row->at[i]] &=
		        (uint8_t) ~(MARK_DEAD | MARK_SHARED | MARK_MET);
	row->len = 0;
}

static int64_t bytes_of(struct view *view, uint64_t number)
{
	struct stored_block b;

	if (stored_block_get(view->store, view->txn, number, &b))
		return 0;
	return (int64_t)b.bytes;
}

/* ---- The private part --------------------------------------------------- */

/* Mark a private block.  Return false if it cannot be entered. */
static bool private_block(struct view *view, uint64_t number, bool node,
                          const struct key *key)
{
	size_t i = view_index(view, number);

	if (i == NO_INDEX) {
		view_report(view, node ? "node" : "chunk", number, key,
		            "%s %llu is missing", node ? "node" : "chunk",
		            (ull)number);
		return false;
	}
	if (view->marks[i] & MARK_USED) {
		view_report(view, "shared", number, key,
		            "block %llu is in use elsewhere, too", (ull)number);
		return false;
	}
	view->marks[i] |= MARK_USED;
	if (number > view->tree->top)
		view_report(view, "number", number, key,
		            "block %llu is newer than its tree", (ull)number);
	if (view->marks[i] & MARK_BAD) {
		view_report(view, node ? "node" : "chunk", number, key,
		            "%s %llu is damaged: %s", node ? "node" : "chunk",
		            (ull)number, view_block_fault(view, number));
		return false;
	}
	if (!(view->marks[i] &
	      (node ? MARK_NODE : MARK_CHUNK | MARK_DEDUP_REF))) {
		view_report(view, node ? "node" : "chunk", number, key,
		            "block %llu is used as a %s, and is none",
		            (ull)number, node ? "node" : "chunk");
		return false;
	}
	/* A dedup reference has the type of its target. */
	if (view->marks[i] & MARK_DEDUP_REF) {
		uint64_t target;
		size_t t = NO_INDEX;

		if (!disk_get_u64(view->txn, view->store->disk.dedup_refs,
		                  number, &target))
			t = view_index(view, target);
		if (t != NO_INDEX && view->marks[t] & MARK_BAD)
			view_report(view, "chunk", number, key,
			            "chunk %llu, content of %llu, is damaged: "
			            "%s",
			            (ull)target, (ull)number,
			            view_block_fault(view, target));
	}
	if (number > view->tree->base)
		view->unique += bytes_of(view, number);
	return true;
}

/* Return true if a hollow ancestor has left the block: see `left_base`. */
static bool is_left(const struct view *view, uint64_t number)
{
	return number <= view->tree->base && number > view->tree->left_base;
}

/* Return true if, besides, a tree with the block was checked before. */
static bool is_left_and_seen(const struct view *view, uint64_t number)
{
	size_t i = is_left(view, number) ? view_index(view, number) : NO_INDEX;

	return i != NO_INDEX && view->marks[i] & MARK_USED;
}

/* Mark a block that the parent should have, too. */
static void shared_block(struct view *view, uint64_t number, bool node,
                         const struct key *key)
{
	size_t i = view_index(view, number);

	if (i == NO_INDEX)
		view_report(view, node ? "node" : "chunk", number, key,
		            "%s %llu is missing", node ? "node" : "chunk",
		            (ull)number);
	else if (view->marks[i] & MARK_SHARED)
		view_report(view, "shared", number, key,
		            "block %llu is in the tree twice", (ull)number);
	else
		mark(view, &view->shared, i, MARK_SHARED);
}

static void private_items(struct view *view, const uint8_t *data)
{
	uint32_t count = node_count(data);

	for (uint32_t i = 0; i < count; i++) {
		struct item item;
		uint64_t chunk;

		node_get(data, i, &item);
		chunk = view->tree->chunk(&item);
		if (is_left_and_seen(view, chunk))
			continue;
		if (chunk > view->tree->left_base)
			private_block(view, chunk, false, &item.key);
		else if (chunk)
			shared_block(view, chunk, false, &item.key);
	}
}

/*
 * Return true if the first or last key below the node is out of bounds.  The
 * nodes on the way were verified, so the descent ends.
 */
static bool edge_outside(struct view *view, const uint8_t *data, bool last,
                         packed low, packed high)
{
	uint32_t slot;
	packed key;

	uint8_t buffer[NODE_SIZE_MAX];

	while (node_level(data)) {
		unsigned level = node_level(data);

		slot = last ? node_count(data) - 1 : 0;
		data = view_node(view, node_child(data, slot), buffer);
		if (!data || node_level(data) + 1 != level)
			return false;
	}
	key = node_key(data, last ? node_count(data) - 1 : 0);
	return key < low || key >= high;
}

/*
 * Return NULL, or the fault of the node with regard to its position in the
 * tree.
 */
static const char *place_fault(struct view *view, const uint8_t *data,
                               int level, packed low, packed high)
{
	uint32_t count = node_count(data);
	uint32_t first = node_level(data) != 0;

	if (level >= 0 && (int)node_level(data) != level)
		return "is on the wrong level";
	if (first < count &&
	    (node_key(data, first) < low || node_key(data, count - 1) >= high))
		return "has keys out of its bounds";
	return NULL;
}

static void private_node(struct view *view, uint64_t number, int level,
                         packed low, packed high);

static void private_children(struct view *view, const uint8_t *data, packed low,
                             packed high)
{
	uint32_t count = node_count(data), slot = 0;
	int level = (int)node_level(data) - 1;
	uint8_t buffer[NODE_SIZE_MAX];

	if (view->tree->reaping)
		slot = node_route(data, key_pack(&view->tree->from));
	for (; slot < count && !view->stopped; slot++) {
		uint64_t child = node_child(data, slot);
		packed from = slot ? node_key(data, slot) : low;
		packed to = slot + 1 < count ? node_key(data, slot + 1) : high;
		struct key key = key_unpack(from);
		const uint8_t *shared;
		const char *fault = NULL;

		if (is_left_and_seen(view, child))
			continue;
		if (child > view->tree->left_base) {
			private_node(view, child, level, from, to);
			continue;
		}
		shared_block(view, child, true, &key);
		shared = view_node(view, child, buffer);
		if (shared)
			fault = place_fault(view, shared, level, from, to);
		if (shared && !fault && level > 0 &&
		    (edge_outside(view, shared, false, from, to) ||
		     edge_outside(view, shared, true, from, to)))
			fault = "has keys out of its bounds";
		if (fault)
			view_report(view, "order", child, &key, "node %llu %s",
			            (ull)child, fault);
	}
}

static void private_node(struct view *view, uint64_t number, int level,
                         packed low, packed high)
{
	struct key key = key_unpack(low);
	uint8_t buffer[NODE_SIZE_MAX];
	const uint8_t *data = NULL;
	const char *fault;

	if (private_block(view, number, true, &key))
		data = view_node(view, number, buffer);
	if (!data) {
		view->new_unreadable = true;
		unreadable_add(view, low, high);
		return;
	}
	fault = place_fault(view, data, level, low, high);
	if (fault) {
		view_report(view, "order", number, &key, "node %llu %s",
		            (ull)number, fault);
		view->new_unreadable = true;
		unreadable_add(view, low, high);
	} else if (node_level(data)) {
		private_children(view, data, low, high);
	} else {
		private_items(view, data);
	}
}

/* ---- The deadlist ------------------------------------------------------ */

/*
 * Mark a block that was private to this version, and that the background thread
 * will free.
 */
static void block_to_free(struct view *view, uint64_t number, size_t i)
{
	if (view->marks[i] & MARK_USED) {
		view_report(view, "list", number, NULL,
		            "block %llu is to be freed, and in use",
		            (ull)number);
		return;
	}
	view->marks[i] |= MARK_USED;
	view->unique += bytes_of(view, number);
}

static void deadlist_entry(struct view *view, uint64_t number, uint32_t bytes)
{
	size_t i = view_index(view, number);
	int64_t has;

	if (i == NO_INDEX)
		view_report(view, "list", number, NULL,
		            "the deadlist names block %llu, which is missing",
		            (ull)number);
	else if (number > view->tree->base)
		block_to_free(view, number, i);
	else if (view->marks[i] & MARK_DEAD)
		view_report(view, "list", number, NULL,
		            "the deadlist names block %llu twice", (ull)number);
	else
		mark(view, &view->dead, i, MARK_DEAD);
	if (i == NO_INDEX || view->marks[i] & MARK_BAD)
		return;
	has = bytes_of(view, number);
	if (has != bytes)
		view_report(view, "list", number, NULL,
		            "the deadlist gives block %llu %u bytes; it has "
		            "%lld",
		            (ull)number, bytes, (long long)has);
}

/* ---- The parent's tree -------------------------------------------------- */

/* Return true for a block on the deadlist, to be entered. */
static bool parent_block(struct view *view, uint64_t number, bool node,
                         packed low, packed high)
{
	size_t i = view_index(view, number);
	uint8_t marks = i == NO_INDEX ? 0 : view->marks[i];

	if (i != NO_INDEX)
		view->marks[i] |=
		        marks & (MARK_DEAD | MARK_SHARED) ? MARK_MET : 0;
	if (marks & MARK_DEAD && marks & MARK_SHARED)
		view_report(view, "list", number, NULL,
		            "block %llu is on the deadlist, and in the tree",
		            (ull)number);
	if (marks & MARK_SHARED)
		return false;
	if (marks & MARK_DEAD)
		return true;
	/*
	 * If the block does not exist, the check of the parent reports it.
	 */
	if (i != NO_INDEX && !view->new_unreadable)
		view_report(view, "list", number, NULL,
		            "block %llu of the parent's tree is neither in "
		            "the tree nor on the deadlist",
		            (ull)number);
	if (node) {
		view->old_unreadable = true;
		unreadable_add(view, low, high);
	}
	return false;
}

static void parent_node(struct view *view, uint64_t number, int level,
                        packed low, packed high)
{
	uint8_t buffer[NODE_SIZE_MAX];
	const uint8_t *data;
	uint32_t count;

	if (view->stopped || !parent_block(view, number, true, low, high))
		return;
	data = view_node(view, number, buffer);
	if (!data || (level >= 0 && (int)node_level(data) != level)) {
		view->old_unreadable = true;
		unreadable_add(view, low, high);
		return;
	}
	count = node_count(data);
	for (uint32_t slot = 0; slot < count; slot++) {
		struct item item;
		uint64_t chunk;

		if (node_level(data)) {
			parent_node(view, node_child(data, slot),
			            (int)node_level(data) - 1,
			            slot ? node_key(data, slot) : low,
			            slot + 1 < count ? node_key(data, slot + 1)
			                             : high);
			continue;
		}
		node_get(data, slot, &item);
		chunk = view->tree->chunk(&item);
		if (chunk)
			parent_block(view, chunk, false, 0, 0);
	}
}

/* Every marked block must have been met. */
static void parent_compare(struct view *view)
{
	if (view->old_unreadable)
		return;
	for (size_t i = 0; i < view->shared.len; i++) {
		size_t at = view->shared.at[i];

		if (!(view->marks[at] & MARK_MET))
			view_report(view, "shared", view->numbers[at], NULL,
			            "block %llu is not the tree's own, and not "
			            "in the parent's",
			            (ull)view->numbers[at]);
	}
	for (size_t i = 0; i < view->dead.len; i++) {
		size_t at = view->dead.at[i];

		if (!(view->marks[at] & MARK_MET) && !view->new_unreadable)
			view_report(view, "list", view->numbers[at], NULL,
			            "the deadlist names block %llu, which is "
			            "not in the parent's tree",
			            (ull)view->numbers[at]);
	}
}

/* ---- The whole tree ----------------------------------------------------- */

static void usage_compare(struct view *view)
{
	struct view_list *usage = view_list_find(view, view->tree->version);
	int64_t unique = usage ? usage->unique : 0;

	if (view->new_unreadable || (usage && usage->bad) ||
	    unique == view->unique)
		return;
	view_report(view, "accounting", 0, NULL,
	            "the blocks of version %llu have %lld bytes; its usage "
	            "record has %lld",
	            (ull)view->tree->version, (long long)view->unique,
	            (long long)unique);
}

static void tree_compare(struct view *view)
{
	const struct view_tree *tree = view->tree;
	bool alone = tree->alone || tree->reaping;
	int r = 0;

	if (is_left_and_seen(view, tree->root))
		return;
	if (tree->root > tree->left_base)
		private_node(view, tree->root, -1, 0, ~(packed)0);
	else if (tree->root && !alone)
		shared_block(view, tree->root, true, NULL);
	if (!alone) {
		for (size_t i = 0; i < ARRAY_SIZE(tree->lists) && !r; i++)
			if (tree->lists[i])
				r = view_list_each(view, tree->lists[i],
				                   deadlist_entry);
		if (r && !view->stopped)
			view->stopped = r;
		if (tree->parent_root)
			parent_node(view, tree->parent_root, -1, 0, ~(packed)0);
		parent_compare(view);
	}
	if (!tree->hollow)
		usage_compare(view);
}

static void left_entry(struct view *view, uint64_t number, uint32_t bytes)
{
	size_t i = view_index(view, number);

	(void)bytes;
	if (i == NO_INDEX)
		view_report(view, "list", number, NULL,
		            "the deadlist names block %llu, which is missing",
		            (ull)number);
	else if (is_left(view, number))
		view->marks[i] |= MARK_USED;
}

int view_left_lists(struct view *view, const struct view_tree *tree)
{
	int r = 0;

	view->tree = tree;
	for (size_t i = 0; i < ARRAY_SIZE(tree->lists) && !r; i++)
		if (tree->lists[i])
			r = view_list_each(view, tree->lists[i], left_entry);
	view->tree = NULL;
	return r ? r : view->stopped;
}

int view_tree(struct view *view, const struct view_tree *tree,
              int (*item)(void *arg, const struct item *old,
                          const struct item *new),
              void *arg)
{
	int r = 0;

	view->tree = tree;
	view->unreadable_len = 0;
	view->new_unreadable = view->old_unreadable = false;
	view->unique = 0;
	view_list_known(view, tree->version);
	for (size_t i = 0; i < ARRAY_SIZE(tree->lists); i++)
		if (tree->lists[i])
			view_list_known(view, tree->lists[i]);
	tree_compare(view);
	if (!view->stopped && item && !tree->reaping)
		r = view_diff(view, item, arg);
	marks_clear(view, &view->shared);
	marks_clear(view, &view->dead);
	view->tree = NULL;
	return r ? r : view->stopped;
}

/* ---- Leaks and counts --------------------------------------------------- */

static void leaks_find(struct view *view)
{
	uint64_t leaks = 0, bytes = 0;

	for (size_t i = 0; i < view->len && !view->stopped; i++) {
		uint8_t marks = view->marks[i];

		if (marks & MARK_USED || view->names[i])
			continue;
		leaks++;
		bytes += (uint64_t)bytes_of(view, view->numbers[i]);
		if (!view->any_unreadable)
			view_report(view, "leak", view->numbers[i], NULL,
			            "block %llu is not used by any version",
			            (ull)view->numbers[i]);
	}
	/* If damage hides references, report the blocks in one finding. */
	if (leaks && view->any_unreadable)
		view_report(view, "leak", 0, NULL,
		            "%llu blocks (%llu bytes) are not used by any "
		            "version, or "
		            "only by damaged data",
		            (ull)leaks, (ull)bytes);
}

int view_finish(struct view *view)
{
	for (size_t i = 0; i < view->lists_len && !view->stopped; i++)
		if (!view->lists[i].known)
			view_report(
			        view, "list", 0, NULL,
			        "deadlist %llu does not belong to any version",
			        (ull)view->lists[i].list);
	leaks_find(view);
	/*
	 * If some trees could not be read, references may be missing: do not
	 * check the counts.
	 */
	if (view->stopped || view->any_unreadable)
		return view->stopped;
	return view_finish_counts(view);
}
