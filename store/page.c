/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The pages of data.mdb. */
#include "page.h"

#include "util.h"

struct page_tree page_tree_get(const uint8_t *at)
{
	return (struct page_tree){
	        .flags = le16_get(at + 4),
	        .depth = le16_get(at + 6),
	        .branches = le64_get(at + 8),
	        .leaves = le64_get(at + 16),
	        .overflows = le64_get(at + 24),
	        .entries = le64_get(at + 32),
	        .root = le64_get(at + 40),
	};
}

const char *page_tree_fault(const struct page_tree *tree)
{
	if (tree->flags & ~DB_FLAGS)
		return "is the root of a tree with unknown flags";
	if (tree->depth > DEPTH_MAX || (tree->root == NO_PAGE) != !tree->depth)
		return "is the root of a tree of bad depth";
	return NULL;
}

const char *page_head_fault(const uint8_t *page, uint64_t number, unsigned type)
{
	if (le64_get(page) != number)
		return "says that it is another";
	/* LMDB does not write the flags that pages only have in memory. */
	return le16_get(page + 10) != type ? "is of another type" : NULL;
}

static uint64_t key_number(const struct page_part *key)
{
	uint64_t number;

	memcpy(&number, key->at, sizeof(number));
	return number;
}

int page_key_compare(const struct page_tree *tree, const struct page_part *a,
                     const struct page_part *b)
{
	int order;

	if (tree->flags & MDB_INTEGERKEY) {
		uint64_t x = key_number(a), y = key_number(b);

		return x < y ? -1 : x > y;
	}
	order = memcmp(a->at, b->at, MIN(a->len, b->len));
	return order ? order : (a->len > b->len) - (a->len < b->len);
}

/*
 * Return NULL, or the fault of the i-th entry; *ret_len: bytes that it takes.
 */
static const char *entry_fault(const uint8_t *page,
                               const struct page_tree *tree, unsigned i,
                               size_t *ret_len)
{
	unsigned at = le16_get(page + PAGE_HEADER + 2 * i);
	const uint8_t *node = page + at;
	bool leaf = page_is_leaf(page);
	size_t len = NODE_HEAD;

	if (at < le16_get(page + 14) || at % 2 || at + len > DISK_PAGE)
		return "has an entry out of bounds";
	len += le16_get(node + 6);
	if (leaf)
		len += page_node_flags(node) & NODE_BIG ? 8 : le32_get(node);
	if (at + len > DISK_PAGE)
		return "has an entry out of bounds";
	if (tree->flags & MDB_INTEGERKEY && (i || leaf) &&
	    le16_get(node + 6) != sizeof(uint64_t))
		return "has a key of a bad length";
	if (leaf && page_node_flags(node) & ~(NODE_BIG | NODE_SUB))
		return "has an entry of unknown kind";
	*ret_len = len + len % 2;
	return NULL;
}

const char *page_body_fault(const uint8_t *page, const struct page_tree *tree)
{
	unsigned lower = le16_get(page + 12), upper = le16_get(page + 14);
	bool leaf = page_is_leaf(page);
	struct page_part last = {0};
	size_t len, sum = 0;

	if (lower < PAGE_HEADER || lower % 2 || upper < lower ||
	    upper > DISK_PAGE)
		return "has bad bounds";
	if (page_len(page) < (leaf ? 1 : 2))
		return "has too few entries";
	for (unsigned i = 0; i < page_len(page); i++) {
		const char *what = entry_fault(page, tree, i, &len);
		struct page_part key;

		if (what)
			return what;
		sum += len;
		/* The first key of a branch is not used. */
		if (!i && !leaf)
			continue;
		key = page_key(page, i);
		if (last.at && page_key_compare(tree, &last, &key) >= 0)
			return "has keys out of order";
		last = key;
	}
	/* To remove an entry, LMDB moves those below it by its length. */
	return sum == DISK_PAGE - upper ? NULL : "has entries of bad lengths";
}

const char *page_range_fault(const uint8_t *page, const struct page_tree *tree,
                             const struct page_part *low,
                             const struct page_part *high)
{
	struct page_part first = page_key(page, page_is_leaf(page) ? 0 : 1);
	struct page_part last = page_key(page, page_len(page) - 1);

	if ((low && page_key_compare(tree, &first, low) < 0) ||
	    (high && page_key_compare(tree, &last, high) >= 0))
		return "has keys out of order";
	return NULL;
}

unsigned page_search(const uint8_t *page, const struct page_tree *tree,
                     const struct page_part *key)
{
	bool leaf = page_is_leaf(page);
	unsigned low = leaf ? 0 : 1, high = page_len(page);

	while (low < high) {
		unsigned middle = (low + high) / 2;
		struct page_part at = page_key(page, middle);
		int order = page_key_compare(tree, key, &at);

		if (order == 0)
			return middle;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return leaf ? low : low - 1;
}
