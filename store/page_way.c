/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checking pages and their neighbours.  LMDB joins a leaf that a deletion has
 * left nearly empty with a neighbour, or moves an entry from there, which
 * leaves the neighbour emptier, too.
 */
#include "page_way.h"

#include <errno.h>

#include "util.h"

enum {
	MARKS_MIN = 256, /* a power of two */
	/* pages checked for one key, at most: on the way, and beside it */
	MARKS_KEY = 5 * DEPTH_MAX,
	/* bytes of a leaf below which LMDB joins it with another: a quarter */
	LOW = (DISK_PAGE - PAGE_HEADER) / 4 + 1,
};

/* A checked page, and the run in which it was checked. */
struct mark {
	uint64_t page, run;
	/*
	 * Leaves: upper bound of the bytes that deletions have freed; DISK_PAGE
	 * if unknown.
	 */
	size_t gone;
	size_t most; /* leaves: bytes of the largest entry; 0: not known */
	/*
	 * Leaves: the nearest ones before and after this one that were not low
	 * at the last search; 0: not searched, NO_PAGE: there is none.
	 */
	uint64_t beside[2];
};

/* The pages from a root to a leaf. */
struct way {
	struct spot spots[DEPTH_MAX];
	unsigned index[DEPTH_MAX]; /* of the entry on the way */
	struct page_part bounds[DEPTH_MAX][2];
	unsigned depth;
};

int pages_damaged(struct pages *pages, uint64_t page, const char *what)
{
	if (pages->reported != page + 1)
		log_error("page %llu of '%s/data.mdb' %s: nothing more can be "
		          "written to the store",
		          (unsigned long long)page, pages->path, what);
	pages->reported = page + 1;
	return -EUCLEAN;
}

void pages_begin(struct pages *pages)
{
	pages->run++;
	pages->marks_len = 0;
	pages->checked = 0;
}

void pages_release(struct pages *pages)
{
	free(pages->marks);
}

/* ---- Marks -------------------------------------------------------------- */

static struct mark *mark_find(struct pages *pages, uint64_t page)
{
	size_t i = (size_t)(page * 0x9e3779b97f4a7c15 >> 20);

	for (;; i++) {
		struct mark *mark = &pages->marks[i & (pages->marks_cap - 1)];

		/* Marks of an earlier run count as free slots. */
		if (mark->run != pages->run || mark->page == page)
			return mark;
	}
}

int pages_reserve(struct pages *pages)
{
	size_t cap = MAX(pages->marks_cap, (size_t)MARKS_MIN);
	struct mark *old = pages->marks;
	size_t old_cap = pages->marks_cap;

	while (2 * (pages->marks_len + MARKS_KEY) > cap)
		cap *= 2;
	if (cap == old_cap)
		return 0;
	pages->marks = calloc(cap, sizeof(*pages->marks));
	if (!pages->marks) {
		pages->marks = old;
		return -ENOMEM;
	}
	pages->marks_cap = cap;
	for (size_t i = 0; i < old_cap; i++)
		if (old[i].run == pages->run)
			*mark_find(pages, old[i].page) = old[i];
	free(old);
	return 0;
}

/* ---- Pages -------------------------------------------------------------- */

const uint8_t *pages_at(struct pages *pages, uint64_t number)
{
	pages->at = number;
	return pages->map + number * DISK_PAGE;
}

static const char *spot_fault(struct pages *pages, const struct spot *spot)
{
	const struct page_tree *tree = &pages->trees[spot->tree];
	const uint8_t *page = pages_at(pages, spot->number);
	const char *what;

	if (spot->number < 2 || spot->number >= pages->end)
		return "is outside of the file";
	what = page_head_fault(page, spot->number,
	                       spot->depth == tree->depth ? PAGE_LEAF
	                                                  : PAGE_BRANCH);
	if (!what)
		what = page_body_fault(page, tree);
	return what ? what
	            : page_range_fault(page, tree, spot->low, spot->high);
}

int pages_check(struct pages *pages, const struct spot *spot)
{
	struct mark *mark = mark_find(pages, spot->number);
	const char *what;

	if (mark->run == pages->run)
		return 0;
	what = spot_fault(pages, spot);
	if (what)
		return pages_damaged(pages, spot->number, what);
	*mark = (struct mark){.page = spot->number, .run = pages->run};
	pages->marks_len++;
	pages->checked++;
	return 0;
}

/* Return the child page of the i-th entry of an intact branch. */
static struct spot spot_child(struct pages *pages, const struct spot *spot,
                              unsigned i, struct page_part bounds[2])
{
	const uint8_t *page = pages_at(pages, spot->number);
	struct spot child = {
	        .number = page_node_child(page_node(page, i)),
	        .tree = spot->tree,
	        .depth = spot->depth + 1,
	        .low = spot->low,
	        .high = spot->high,
	};

	if (i) {
		bounds[0] = page_key(page, i);
		child.low = &bounds[0];
	}
	if (i + 1 < page_len(page)) {
		bounds[1] = page_key(page, i + 1);
		child.high = &bounds[1];
	}
	return child;
}

/*
 * Return true if the leaf may have lost so many bytes that LMDB has joined it
 * with another.
 */
static bool leaf_is_low(struct pages *pages, uint64_t number)
{
	const struct mark *mark = mark_find(pages, number);
	const uint8_t *page = pages_at(pages, number);
	size_t used;

	if (mark->run != pages->run)
		return false;
	used = (size_t)(DISK_PAGE - PAGE_HEADER) -
	       (le16_get(page + 14) - le16_get(page + 12));
	return used < LOW + mark->gone;
}

/* Return the space that an entry of an intact leaf takes. */
static size_t entry_size(const uint8_t *page, unsigned i)
{
	const uint8_t *node = page_node(page, i);
	bool big = page_node_flags(node) & NODE_BIG;

	return NODE_HEAD + page_key(page, i).len + 1 + sizeof(uint16_t) +
	       (big ? 8 : page_node_data(node).len);
}

/* Count an entry that LMDB may have moved from the leaf to a neighbour. */
static void leaf_gives(struct pages *pages, uint64_t number)
{
	struct mark *mark = mark_find(pages, number);
	const uint8_t *page = pages_at(pages, number);

	for (unsigned i = 0; !mark->most && i < page_len(page); i++)
		mark->most = MAX(mark->most, entry_size(page, i));
	mark->gone = MIN(mark->gone + mark->most, (size_t)DISK_PAGE);
}

/*
 * Move to the leaf before or, if `behind`, after this one, which may be below
 * another branch, and check the pages on the way.  Return 1; 0: there is none.
 */
static int way_step(struct pages *pages, struct way *way, bool behind)
{
	unsigned d = way->depth - 1;
	int r = 0;

	do {
		if (d-- == 0)
			return 0;
	} while (way->index[d] ==
	         (behind ? page_len(pages_at(pages, way->spots[d].number)) - 1
	                 : 0));
	way->index[d] += behind ? 1 : -1;
	for (; r == 0 && d + 1 < way->depth; d++) {
		struct spot *spot = &way->spots[d + 1];

		*spot = spot_child(pages, &way->spots[d], way->index[d],
		                   way->bounds[d]);
		r = pages_check(pages, spot);
		if (r == 0)
			way->index[d + 1] =
			        behind ? 0
			               : page_len(pages_at(pages,
			                                   spot->number)) -
			                         1;
	}
	return r < 0 ? r : 1;
}

/*
 * Use the result of an earlier search.  Return true if it is still valid: there
 * is no leaf on this side, or the leaf found is not low.
 */
static bool leaf_beside_known(struct pages *pages, uint64_t beside)
{
	if (!beside || beside == NO_PAGE)
		return beside == NO_PAGE;
	if (leaf_is_low(pages, beside))
		return false;
	leaf_gives(pages, beside);
	return true;
}

/*
 * Check the leaf on one side of a low one: LMDB joins the two, or moves an
 * entry from it.  Low leaves may have been joined already, so the search passes
 * them.
 */
static int leaf_beside_check(struct pages *pages, const struct way *way,
                             bool behind)
{
	uint64_t number = way->spots[way->depth - 1].number;
	uint64_t *beside = &mark_find(pages, number)->beside[behind];
	struct way at;
	int r = 1;

	if (leaf_beside_known(pages, *beside))
		return 0;
	at = *way;
	while (r > 0) {
		size_t len = pages->marks_len;

		r = way_step(pages, &at, behind);
		if (r <= 0)
			break;
		number = at.spots[at.depth - 1].number;
		/* The reserved marks are enough for only one new leaf. */
		if (pages->marks_len > len || !leaf_is_low(pages, number)) {
			*beside = number;
			leaf_gives(pages, number);
			return 0;
		}
		*beside = mark_find(pages, number)->beside[behind];
		if (leaf_beside_known(pages, *beside))
			return 0;
	}
	*beside = NO_PAGE;
	return r;
}

/* Check the branches on either side of child i: LMDB may join them with it. */
static int branch_beside_check(struct pages *pages, const struct spot *spot,
                               unsigned i)
{
	struct page_part bounds[2];
	struct spot child;
	int r = 0;

	if (i > 0) {
		child = spot_child(pages, spot, i - 1, bounds);
		r = pages_check(pages, &child);
	}
	if (r == 0 && i + 1 < page_len(pages_at(pages, spot->number))) {
		child = spot_child(pages, spot, i + 1, bounds);
		r = pages_check(pages, &child);
	}
	return r;
}

/* Check the pages that LMDB may join with those on the way. */
static int beside_check(struct pages *pages, const struct way *way)
{
	unsigned d = way->depth - 1;
	int r = 0;

	if (leaf_is_low(pages, way->spots[d].number)) {
		r = leaf_beside_check(pages, way, false);
		if (r == 0)
			r = leaf_beside_check(pages, way, true);
	}
	while (r == 0 && d-- > 1)
		r = branch_beside_check(pages, &way->spots[d - 1],
		                        way->index[d - 1]);
	return r;
}

int pages_check_big(struct pages *pages, const uint8_t *node)
{
	struct page_part data = page_node_data(node);
	uint64_t number = le64_get(data.at), have;
	const char *what;

	if (number < 2 || number >= pages->end)
		return pages_damaged(pages, number, "is outside of the file");
	what = page_head_fault(pages_at(pages, number), number, PAGE_OVERFLOW);
	have = le32_get(pages_at(pages, number) + 12);
	if (!what &&
	    (!page_big_fits(have, data.len) || have > pages->end - number))
		what = "has a bad number of pages";
	return what ? pages_damaged(pages, number, what) : 0;
}

/* Check the key's data in overflow pages, and count what the leaf may lose. */
static int leaf_check(struct pages *pages, const struct spot *spot,
                      const struct page_part *key, bool removal)
{
	const struct page_tree *tree = &pages->trees[spot->tree];
	const uint8_t *page = pages_at(pages, spot->number), *node;
	unsigned i = page_search(page, tree, key);
	struct mark *mark = mark_find(pages, spot->number);
	struct page_part found;
	bool big;

	/* The page may be split, or its content may become smaller. */
	if (!removal)
		mark->gone = DISK_PAGE;
	if (i == page_len(page))
		return 0;
	found = page_key(page, i);
	if (page_key_compare(tree, key, &found))
		return 0;
	node = page_node(page, i);
	big = page_node_flags(node) & NODE_BIG;
	if (mark->gone < DISK_PAGE)
		mark->gone += entry_size(page, i);
	return big ? pages_check_big(pages, node) : 0;
}

int pages_check_way(struct pages *pages, unsigned tree,
                    const struct page_part *key, bool removal)
{
	struct way way;
	struct spot *spot = way.spots;
	unsigned d = 0;
	int r;

	way.depth = pages->trees[tree].depth;
	*spot = (struct spot){
	        .number = pages->trees[tree].root, .tree = tree, .depth = 1};
	if (!way.depth)
		return 0;
	while ((r = pages_check(pages, spot)) == 0 && d + 1 < way.depth) {
		const uint8_t *page = pages_at(pages, spot->number);

		way.index[d] = page_search(page, &pages->trees[tree], key);
		spot[1] = spot_child(pages, spot, way.index[d], way.bounds[d]);
		spot++;
		d++;
	}
	if (r == 0)
		r = leaf_check(pages, spot, key, removal);
	return r == 0 && removal ? beside_check(pages, &way) : r;
}
