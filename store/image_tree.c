/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checking one tree against the rule of sharing: a version has its own blocks,
 * those above its base, and of its parent's tree just what is not on its kill
 * list.
 *
 * First its own nodes are walked, which marks what they name beside.  Then its
 * kill list is marked.  Then the parent's tree is walked, entering only what is
 * on the kill list: all it meets must have one of the two marks, and all that
 * is marked must be met.  So the work is that of what differs, however large
 * the tree is that both have.
 */
#include "image.h"

#include <errno.h>

typedef unsigned long long ull;

/* ---- Gaps --------------------------------------------------------------- */

static void gap_add(struct image *image, packed low, packed high)
{
	if (!image_grow(image, (void **)&image->gaps, sizeof(*image->gaps),
	                image->gaps_len, &image->gaps_capacity))
		return;
	image->any_gap = true;
	image->gaps[image->gaps_len++] = (struct gap){
	        .first = key_unpack(low).ino,
	        .last = key_unpack(high - 1).ino,
	};
}

bool image_uncertain(const struct image *image, uint64_t ino)
{
	for (size_t i = 0; i < image->gaps_len; i++)
		if (image->gaps[i].first <= ino && ino <= image->gaps[i].last)
			return true;
	return false;
}

bool image_incomplete(const struct image *image)
{
	return image->gaps_len;
}

void image_lost_tree(struct image *image)
{
	image->any_gap = true;
}

/* ---- Marks -------------------------------------------------------------- */

static bool mark(struct image *image, struct indexes *row, size_t i,
                 enum mark mark)
{
	if (!image_grow(image, (void **)&row->at, sizeof(*row->at), row->len,
	                &row->capacity))
		return false;
	row->at[row->len++] = i;
	image->marks[i] |= (uint8_t)mark;
	return true;
}

static void marks_clear(struct image *image, struct indexes *row)
{
	for (size_t i = 0; i < row->len; i++)
		image->marks[row->at[i]] &=
		        (uint8_t) ~(MARK_KILL | MARK_SHARED | MARK_MET);
	row->len = 0;
}

static int64_t bytes_of(struct image *image, uint64_t number)
{
	struct stored_block b;

	if (stored_block_get(image->store, image->txn, number, &b))
		return 0;
	return (int64_t)b.bytes;
}

/* ---- The version's own part --------------------------------------------- */

/* A block of its own: false if it cannot be looked into. */
static bool own_block(struct image *image, uint64_t number, bool node,
                      const struct key *key)
{
	size_t i = image_index(image, number);

	if (i == NO_INDEX) {
		image_report(image, node ? "node" : "chunk", number, key,
		             "%s %llu is missing", node ? "node" : "chunk",
		             (ull)number);
		return false;
	}
	if (image->marks[i] & MARK_USED) {
		image_report(image, "shared", number, key,
		             "block %llu is in use elsewhere, too",
		             (ull)number);
		return false;
	}
	image->marks[i] |= MARK_USED;
	if (number > image->tree->top)
		image_report(image, "number", number, key,
		             "block %llu is newer than its tree", (ull)number);
	if (image->marks[i] & MARK_BAD) {
		image_report(image, node ? "node" : "chunk", number, key,
		             "%s %llu is damaged: %s", node ? "node" : "chunk",
		             (ull)number, image_block_fault(image, number));
		return false;
	}
	if (!(image->marks[i] & (node ? MARK_NODE : MARK_CHUNK | MARK_ALIAS))) {
		image_report(image, node ? "node" : "chunk", number, key,
		             "block %llu is used as a %s, and is none",
		             (ull)number, node ? "node" : "chunk");
		return false;
	}
	/* An alias has what its target has. */
	if (image->marks[i] & MARK_ALIAS) {
		uint64_t target;
		size_t t = NO_INDEX;

		if (!disk_get_u64(image->txn, image->store->disk.aliases,
		                  number, &target))
			t = image_index(image, target);
		if (t != NO_INDEX && image->marks[t] & MARK_BAD)
			image_report(image, "chunk", number, key,
			             "chunk %llu, content of %llu, is damaged: "
			             "%s",
			             (ull)target, (ull)number,
			             image_block_fault(image, target));
	}
	image->own += bytes_of(image, number);
	return true;
}

/* A block it should have from its parent. */
static void shared_block(struct image *image, uint64_t number, bool node,
                         const struct key *key)
{
	size_t i = image_index(image, number);

	if (i == NO_INDEX)
		image_report(image, node ? "node" : "chunk", number, key,
		             "%s %llu is missing", node ? "node" : "chunk",
		             (ull)number);
	else if (image->marks[i] & MARK_SHARED)
		image_report(image, "shared", number, key,
		             "block %llu is in the tree twice", (ull)number);
	else
		mark(image, &image->shared, i, MARK_SHARED);
}

static void own_items(struct image *image, const uint8_t *data)
{
	uint32_t count = node_count(data);

	for (uint32_t i = 0; i < count; i++) {
		struct item item;
		uint64_t chunk;

		node_get(data, i, &item);
		chunk = image->tree->chunk(&item);
		if (chunk > image->tree->base)
			own_block(image, chunk, false, &item.key);
		else if (chunk)
			shared_block(image, chunk, false, &item.key);
	}
}

/*
 * Does the first or last key below the node lie out of bounds?  Nodes on the
 * way were verified, so it ends.
 */
static bool edge_outside(struct image *image, const uint8_t *data, bool last,
                         packed low, packed high)
{
	uint32_t slot;
	packed key;

	uint8_t room[NODE_SIZE_MAX];

	while (node_level(data)) {
		unsigned level = node_level(data);

		slot = last ? node_count(data) - 1 : 0;
		data = image_node(image, node_child(data, slot), room);
		if (!data || node_level(data) + 1 != level)
			return false;
	}
	key = node_key(data, last ? node_count(data) - 1 : 0);
	return key < low || key >= high;
}

/* NULL, or what is wrong with the node's place in the tree. */
static const char *place_fault(struct image *image, const uint8_t *data,
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

static void own_node(struct image *image, uint64_t number, int level,
                     packed low, packed high);

static void own_children(struct image *image, const uint8_t *data, packed low,
                         packed high)
{
	uint32_t count = node_count(data), slot = 0;
	int level = (int)node_level(data) - 1;
	uint8_t room[NODE_SIZE_MAX];

	if (image->tree->reaping)
		slot = node_route(data, key_pack(&image->tree->from));
	for (; slot < count && !image->stopped; slot++) {
		uint64_t child = node_child(data, slot);
		packed from = slot ? node_key(data, slot) : low;
		packed to = slot + 1 < count ? node_key(data, slot + 1) : high;
		struct key key = key_unpack(from);
		const uint8_t *shared;
		const char *fault = NULL;

		if (child > image->tree->base) {
			own_node(image, child, level, from, to);
			continue;
		}
		shared_block(image, child, true, &key);
		shared = image_node(image, child, room);
		if (shared)
			fault = place_fault(image, shared, level, from, to);
		if (shared && !fault && level > 0 &&
		    (edge_outside(image, shared, false, from, to) ||
		     edge_outside(image, shared, true, from, to)))
			fault = "has keys out of its bounds";
		if (fault)
			image_report(image, "order", child, &key,
			             "node %llu %s", (ull)child, fault);
	}
}

static void own_node(struct image *image, uint64_t number, int level,
                     packed low, packed high)
{
	struct key key = key_unpack(low);
	uint8_t room[NODE_SIZE_MAX];
	const uint8_t *data = NULL;
	const char *fault;

	if (own_block(image, number, true, &key))
		data = image_node(image, number, room);
	if (!data) {
		image->new_gap = true;
		gap_add(image, low, high);
		return;
	}
	fault = place_fault(image, data, level, low, high);
	if (fault) {
		image_report(image, "order", number, &key, "node %llu %s",
		             (ull)number, fault);
		image->new_gap = true;
		gap_add(image, low, high);
	} else if (node_level(data)) {
		own_children(image, data, low, high);
	} else {
		own_items(image, data);
	}
}

/* ---- The kill list ------------------------------------------------------ */

/* What this version's own tree had: to be freed in the background. */
static void kill_own(struct image *image, uint64_t number, size_t i)
{
	if (image->marks[i] & MARK_USED) {
		image_report(image, "list", number, NULL,
		             "block %llu is to be freed, and in use",
		             (ull)number);
		return;
	}
	image->marks[i] |= MARK_USED;
	image->own += bytes_of(image, number);
}

static void kill_entry(struct image *image, uint64_t number, uint32_t bytes)
{
	size_t i = image_index(image, number);
	int64_t has;

	if (i == NO_INDEX)
		image_report(image, "list", number, NULL,
		             "the kill list names block %llu, which is missing",
		             (ull)number);
	else if (number > image->tree->base)
		kill_own(image, number, i);
	else if (image->marks[i] & MARK_KILL)
		image_report(image, "list", number, NULL,
		             "the kill list names block %llu twice",
		             (ull)number);
	else
		mark(image, &image->killed, i, MARK_KILL);
	if (i == NO_INDEX || image->marks[i] & MARK_BAD)
		return;
	has = bytes_of(image, number);
	if (has != bytes)
		image_report(image, "list", number, NULL,
		             "the kill list gives block %llu %u bytes; it has "
		             "%lld",
		             (ull)number, bytes, (long long)has);
}

/* ---- The parent's tree -------------------------------------------------- */

/* True: a block the version killed, to be looked into. */
static bool parent_block(struct image *image, uint64_t number, bool node,
                         packed low, packed high)
{
	size_t i = image_index(image, number);
	uint8_t marks = i == NO_INDEX ? 0 : image->marks[i];

	if (i != NO_INDEX)
		image->marks[i] |=
		        marks & (MARK_KILL | MARK_SHARED) ? MARK_MET : 0;
	if (marks & MARK_KILL && marks & MARK_SHARED)
		image_report(image, "list", number, NULL,
		             "block %llu is on the kill list, and in the tree",
		             (ull)number);
	if (marks & MARK_SHARED)
		return false;
	if (marks & MARK_KILL)
		return true;
	/* What the parent misses is said where it is looked at. */
	if (i != NO_INDEX && !image->new_gap)
		image_report(image, "list", number, NULL,
		             "block %llu of the parent's tree is neither in "
		             "the tree nor on the kill list",
		             (ull)number);
	if (node) {
		image->old_gap = true;
		gap_add(image, low, high);
	}
	return false;
}

static void parent_node(struct image *image, uint64_t number, int level,
                        packed low, packed high)
{
	uint8_t room[NODE_SIZE_MAX];
	const uint8_t *data;
	uint32_t count;

	if (image->stopped || !parent_block(image, number, true, low, high))
		return;
	data = image_node(image, number, room);
	if (!data || (level >= 0 && (int)node_level(data) != level)) {
		image->old_gap = true;
		gap_add(image, low, high);
		return;
	}
	count = node_count(data);
	for (uint32_t slot = 0; slot < count; slot++) {
		struct item item;
		uint64_t chunk;

		if (node_level(data)) {
			parent_node(image, node_child(data, slot),
			            (int)node_level(data) - 1,
			            slot ? node_key(data, slot) : low,
			            slot + 1 < count ? node_key(data, slot + 1)
			                             : high);
			continue;
		}
		node_get(data, slot, &item);
		chunk = image->tree->chunk(&item);
		if (chunk)
			parent_block(image, chunk, false, 0, 0);
	}
}

/* All that was marked must have been met. */
static void parent_compare(struct image *image)
{
	if (image->old_gap)
		return;
	for (size_t i = 0; i < image->shared.len; i++) {
		size_t at = image->shared.at[i];

		if (!(image->marks[at] & MARK_MET))
			image_report(
			        image, "shared", image->numbers[at], NULL,
			        "block %llu is not the tree's own, and not "
			        "in the parent's",
			        (ull)image->numbers[at]);
	}
	for (size_t i = 0; i < image->killed.len; i++) {
		size_t at = image->killed.at[i];

		if (!(image->marks[at] & MARK_MET) && !image->new_gap)
			image_report(image, "list", image->numbers[at], NULL,
			             "the kill list names block %llu, which is "
			             "not in the parent's tree",
			             (ull)image->numbers[at]);
	}
}

/* ---- All of it ---------------------------------------------------------- */

static void account_compare(struct image *image)
{
	struct image_list *account =
	        image_list_find(image, image->tree->version);
	int64_t own = account ? account->own : 0;

	if (image->new_gap || (account && account->bad) || own == image->own)
		return;
	image_report(image, "account", 0, NULL,
	             "the blocks of version %llu have %lld bytes; its account "
	             "says %lld",
	             (ull)image->tree->version, (long long)image->own,
	             (long long)own);
}

static void tree_compare(struct image *image)
{
	const struct image_tree *tree = image->tree;
	bool alone = tree->alone || tree->reaping;
	int r = 0;

	if (tree->root > tree->base)
		own_node(image, tree->root, -1, 0, ~(packed)0);
	else if (tree->root && !alone)
		shared_block(image, tree->root, true, NULL);
	if (!alone) {
		for (size_t i = 0; i < ARRAY_SIZE(tree->lists) && !r; i++)
			if (tree->lists[i])
				r = image_list_each(image, tree->lists[i],
				                    kill_entry);
		if (r && !image->stopped)
			image->stopped = r;
		if (tree->parent_root)
			parent_node(image, tree->parent_root, -1, 0,
			            ~(packed)0);
		parent_compare(image);
	}
	account_compare(image);
}

int image_tree(struct image *image, const struct image_tree *tree,
               int (*item)(void *arg, const struct item *old,
                           const struct item *new),
               void *arg)
{
	int r = 0;

	image->tree = tree;
	image->gaps_len = 0;
	image->new_gap = image->old_gap = false;
	image->own = 0;
	image_list_known(image, tree->version);
	for (size_t i = 0; i < ARRAY_SIZE(tree->lists); i++)
		if (tree->lists[i])
			image_list_known(image, tree->lists[i]);
	tree_compare(image);
	if (!image->stopped && item && !tree->reaping)
		r = image_diff(image, item, arg);
	marks_clear(image, &image->shared);
	marks_clear(image, &image->killed);
	image->tree = NULL;
	return r ? r : image->stopped;
}

/* ---- What is left ------------------------------------------------------- */

static void leaks_find(struct image *image)
{
	uint64_t leaks = 0, bytes = 0;

	for (size_t i = 0; i < image->len && !image->stopped; i++) {
		uint8_t marks = image->marks[i];

		if (marks & MARK_USED || image->names[i])
			continue;
		leaks++;
		bytes += (uint64_t)bytes_of(image, image->numbers[i]);
		if (!image->any_gap)
			image_report(image, "leak", image->numbers[i], NULL,
			             "block %llu is used by nobody",
			             (ull)image->numbers[i]);
	}
	/* One by one they would say little. */
	if (leaks && image->any_gap)
		image_report(image, "leak", 0, NULL,
		             "%llu blocks (%llu bytes) are used by nobody, or "
		             "by what is damaged",
		             (ull)leaks, (ull)bytes);
}

int image_finish(struct image *image)
{
	for (size_t i = 0; i < image->lists_len && !image->stopped; i++)
		if (!image->lists[i].known)
			image_report(image, "list", 0, NULL,
			             "kill list %llu is nobody's",
			             (ull)image->lists[i].list);
	leaks_find(image);
	/* Who does not reach a name cannot say that the count is wrong. */
	if (image->stopped || image->any_gap)
		return image->stopped;
	return image_finish_counts(image);
}
