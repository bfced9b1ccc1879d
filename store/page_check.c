/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checking the pages that a transaction is about to change.
 *
 * LMDB takes the pages it writes to from the lists of free ones, the oldest
 * first: so many of these are looked at as the transaction may have asked for,
 * and some more.
 */
#include "page_check.h"

#include <errno.h>

#include "fault.h"
#include "page.h"
#include "util.h"

enum {
	TREES_MAX = 16,  /* handles of databases */
	FREE = 0,        /* LMDB's own: transaction, free pages */
	NAMES = 1,       /* LMDB's own: name, database */
	MARKS_MIN = 256, /* a power of two */
	/* pages looked at for one key at most: on the way, and beside it */
	MARKS_KEY = 3 * DEPTH_MAX,
	PAGES_FIRST = 64, /* that a small transaction writes at most */
	PAGES_KEY = 4,    /* that a key may make more */
	/* bytes of a leaf below which LMDB joins it with another: a quarter */
	LOW = (DISK_PAGE - PAGE_HEADER) / 4 + 1,
	/*
	 * The length of a list that takes overflow pages, for which LMDB looks
	 * for adjacent ones, and the number of lists it may need for each.
	 */
	LIST_SMALL = 509,
	LISTS_MORE = 60,
};

/* A page and its position; NULL as a bound: none. */
struct spot {
	uint64_t number;
	unsigned tree, depth; /* the root's is 1 */
	const struct page_part *low, *high;
};

/* A page that has been checked, and the run in which it was. */
struct mark {
	uint64_t page, run;
	/*
	 * Leaves: upper bound of the bytes that deletions have freed; DISK_PAGE
	 * if unknown.
	 */
	size_t gone;
	size_t most; /* leaves: space of the largest entry; 0: not known */
	/*
	 * Leaves: the nearest one before and behind that was not low when it
	 * was looked for; 0: not looked for, NO_PAGE: there is none.
	 */
	uint64_t beside[2];
};

/* The pages from a root to a leaf. */
struct way {
	struct spot spots[DEPTH_MAX];
	unsigned index[DEPTH_MAX]; /* of the entry that leads on */
	struct page_part bounds[DEPTH_MAX][2];
	unsigned depth;
};

/* A position in the tree of free pages: that of the next entry. */
struct place {
	const uint8_t *pages[DEPTH_MAX];
	unsigned index[DEPTH_MAX];
	unsigned depth; /* 0: behind the last */
};

struct page_check {
	const char *path; /* the caller's */
	const char *names[TREES_MAX];
	unsigned flags[TREES_MAX];
	const uint8_t *map; /* NULL: not known, as long as there are no names */
	uint64_t txn;       /* the last that was committed */
	uint64_t run;       /* of this check, for an aborted transaction, too */
	uint64_t end;       /* one more than the last page */
	struct page_tree trees[TREES_MAX];
	struct mark *marks; /* hashed by page */
	size_t marks_cap, marks_len;
	struct place free;
	uint64_t supply, demand; /* free pages: looked at, and wanted */
	uint64_t at;             /* the page that is being looked at */
	uint64_t reported;       /* one more than the page logged last */
};

struct page_check *page_check_create(const char *path)
{
	struct page_check *check = calloc(1, sizeof(*check));

	if (!check)
		return NULL;
	check->path = path;
	check->flags[FREE] = MDB_INTEGERKEY;
	return check;
}

void page_check_destroy(struct page_check *check)
{
	if (!check)
		return;
	free(check->marks);
	free(check);
}

int page_check_name(struct page_check *check, MDB_txn *txn, const char *name,
                    MDB_dbi dbi)
{
	MDB_val key = {strlen(name), (void *)name}, value;
	int r = disk_find(txn, NAMES, &key, &value);

	if (r)
		return r;
	if (dbi >= TREES_MAX)
		return MDB_DBS_FULL;
	/*
	 * LMDB does not report where it maps the file, but returns pointers
	 * into it.
	 */
	if (!check->map) {
		const uint8_t *data = value.mv_data;
		const uint8_t *page = data - (uintptr_t)data % DISK_PAGE;

		check->map = page - le64_get(page) * DISK_PAGE;
	}
	check->names[dbi] = name;
	return mdb_dbi_flags(txn, dbi, &check->flags[dbi]);
}

static int damaged(struct page_check *check, uint64_t page, const char *what)
{
	if (check->reported != page + 1)
		log_error("page %llu of '%s/data.mdb' %s: nothing more can be "
		          "written to the store",
		          (unsigned long long)page, check->path, what);
	check->reported = page + 1;
	return -EUCLEAN;
}

/* ---- Marks -------------------------------------------------------------- */

static struct mark *mark_find(struct page_check *check, uint64_t page)
{
	size_t i = (size_t)(page * 0x9e3779b97f4a7c15 >> 20);

	for (;; i++) {
		struct mark *mark = &check->marks[i & (check->marks_cap - 1)];

		/* Marks of an earlier run count as free slots. */
		if (mark->run != check->run || mark->page == page)
			return mark;
	}
}

/*
 * Reserve marks for one key, because memory cannot be allocated under a guard.
 */
static int marks_reserve(struct page_check *check)
{
	size_t cap = MAX(check->marks_cap, (size_t)MARKS_MIN);
	struct mark *old = check->marks;
	size_t old_cap = check->marks_cap;

	while (2 * (check->marks_len + MARKS_KEY) > cap)
		cap *= 2;
	if (cap == old_cap)
		return 0;
	check->marks = calloc(cap, sizeof(*check->marks));
	if (!check->marks) {
		check->marks = old;
		return -ENOMEM;
	}
	check->marks_cap = cap;
	for (size_t i = 0; i < old_cap; i++)
		if (old[i].run == check->run)
			*mark_find(check, old[i].page) = old[i];
	free(old);
	return 0;
}

/* ---- Pages -------------------------------------------------------------- */

static const uint8_t *page_at(struct page_check *check, uint64_t number)
{
	check->at = number;
	return check->map + number * DISK_PAGE;
}

static const char *spot_fault(struct page_check *check, const struct spot *spot)
{
	const struct page_tree *tree = &check->trees[spot->tree];
	const uint8_t *page = page_at(check, spot->number);
	const char *what;

	if (spot->number < 2 || spot->number >= check->end)
		return "is outside of the file";
	what = page_head_fault(page, spot->number,
	                       spot->depth == tree->depth ? PAGE_LEAF
	                                                  : PAGE_BRANCH);
	if (!what)
		what = page_body_fault(page, tree);
	return what ? what
	            : page_range_fault(page, tree, spot->low, spot->high);
}

static int spot_check(struct page_check *check, const struct spot *spot)
{
	struct mark *mark = mark_find(check, spot->number);
	const char *what;

	if (mark->run == check->run)
		return 0;
	what = spot_fault(check, spot);
	if (what)
		return damaged(check, spot->number, what);
	*mark = (struct mark){.page = spot->number, .run = check->run};
	check->marks_len++;
	check->demand++;
	return 0;
}

/* Return the child page of the i-th entry of an intact branch. */
static struct spot spot_child(struct page_check *check, const struct spot *spot,
                              unsigned i, struct page_part bounds[2])
{
	const uint8_t *page = page_at(check, spot->number);
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
 * Return true if the leaf may have lost so much that LMDB has joined it with
 * another.
 */
static bool leaf_is_low(struct page_check *check, uint64_t number)
{
	const struct mark *mark = mark_find(check, number);
	const uint8_t *page = page_at(check, number);
	size_t used;

	if (mark->run != check->run)
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

/* Note that LMDB may have moved an entry of the leaf to one beside it. */
static void leaf_gives(struct page_check *check, uint64_t number)
{
	struct mark *mark = mark_find(check, number);
	const uint8_t *page = page_at(check, number);

	for (unsigned i = 0; !mark->most && i < page_len(page); i++)
		mark->most = MAX(mark->most, entry_size(page, i));
	mark->gone = MIN(mark->gone + mark->most, (size_t)DISK_PAGE);
}

/*
 * Go to the leaf before or behind, whatever page it is below, and check the
 * pages on the way.  Return 1; 0: there is none.
 */
static int way_step(struct page_check *check, struct way *way, bool behind)
{
	unsigned d = way->depth - 1;
	int r = 0;

	do {
		if (d-- == 0)
			return 0;
	} while (way->index[d] ==
	         (behind ? page_len(page_at(check, way->spots[d].number)) - 1
	                 : 0));
	way->index[d] += behind ? 1 : -1;
	for (; r == 0 && d + 1 < way->depth; d++) {
		struct spot *spot = &way->spots[d + 1];

		*spot = spot_child(check, &way->spots[d], way->index[d],
		                   way->bounds[d]);
		r = spot_check(check, spot);
		if (r == 0)
			way->index[d + 1] =
			        behind ? 0
			               : page_len(
			                         page_at(check, spot->number)) -
			                         1;
	}
	return r < 0 ? r : 1;
}

/*
 * Take what was found for another leaf on this side.  Return true if that is an
 * answer: there is none, or it is not low.
 */
static bool leaf_beside_known(struct page_check *check, uint64_t beside)
{
	if (!beside || beside == NO_PAGE)
		return beside == NO_PAGE;
	if (leaf_is_low(check, beside))
		return false;
	leaf_gives(check, beside);
	return true;
}

/*
 * Check the leaf on one side of a low one: LMDB joins the two, or moves an
 * entry from it.  Low leaves may have been joined already, so the search goes
 * on behind those.
 */
static int leaf_beside_check(struct page_check *check, const struct way *way,
                             bool behind)
{
	uint64_t number = way->spots[way->depth - 1].number;
	uint64_t *beside = &mark_find(check, number)->beside[behind];
	struct way at;
	int r = 1;

	if (leaf_beside_known(check, *beside))
		return 0;
	at = *way;
	while (r > 0) {
		size_t len = check->marks_len;

		r = way_step(check, &at, behind);
		if (r <= 0)
			break;
		number = at.spots[at.depth - 1].number;
		/* Reserved marks are enough for one leaf that is new. */
		if (check->marks_len > len || !leaf_is_low(check, number)) {
			*beside = number;
			leaf_gives(check, number);
			return 0;
		}
		*beside = mark_find(check, number)->beside[behind];
		if (leaf_beside_known(check, *beside))
			return 0;
	}
	*beside = NO_PAGE;
	return r;
}

/* Check the branches on either side, which may be joined with this one. */
static int branch_beside_check(struct page_check *check,
                               const struct spot *spot, unsigned i)
{
	struct page_part bounds[2];
	struct spot child;
	int r = 0;

	if (i > 0) {
		child = spot_child(check, spot, i - 1, bounds);
		r = spot_check(check, &child);
	}
	if (r == 0 && i + 1 < page_len(page_at(check, spot->number))) {
		child = spot_child(check, spot, i + 1, bounds);
		r = spot_check(check, &child);
	}
	return r;
}

/* Check the pages that a deletion from the leaf may join with those on the way.
 */
static int beside_check(struct page_check *check, const struct way *way)
{
	unsigned d = way->depth - 1;
	int r = 0;

	if (leaf_is_low(check, way->spots[d].number)) {
		r = leaf_beside_check(check, way, false);
		if (r == 0)
			r = leaf_beside_check(check, way, true);
	}
	while (r == 0 && d-- > 1)
		r = branch_beside_check(check, &way->spots[d - 1],
		                        way->index[d - 1]);
	return r;
}

/* Check data in overflow pages: the first one has their number. */
static int big_check(struct page_check *check, const uint8_t *node)
{
	struct page_part data = page_node_data(node);
	uint64_t number = le64_get(data.at), have;
	const char *what;

	if (number < 2 || number >= check->end)
		return damaged(check, number, "is outside of the file");
	what = page_head_fault(page_at(check, number), number, PAGE_OVERFLOW);
	have = le32_get(page_at(check, number) + 12);
	if (!what &&
	    (!page_big_fits(have, data.len) || have > check->end - number))
		what = "has a bad number of pages";
	return what ? damaged(check, number, what) : 0;
}

/* Check the data of the key in overflow pages, and note what the leaf loses. */
static int leaf_check(struct page_check *check, const struct spot *spot,
                      const struct page_part *key, bool removal)
{
	const struct page_tree *tree = &check->trees[spot->tree];
	const uint8_t *page = page_at(check, spot->number), *node;
	unsigned i = page_search(page, tree, key);
	struct mark *mark = mark_find(check, spot->number);
	struct page_part found;
	bool big;

	/* The page may be split, or its content become smaller. */
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
	return big ? big_check(check, node) : 0;
}

/* Check the pages from the root to the key, and those beside them. */
static int way_check(struct page_check *check, unsigned tree,
                     const struct page_part *key, bool removal)
{
	struct way way;
	struct spot *spot = way.spots;
	unsigned d = 0;
	int r;

	way.depth = check->trees[tree].depth;
	*spot = (struct spot){
	        .number = check->trees[tree].root, .tree = tree, .depth = 1};
	if (!way.depth)
		return 0;
	while ((r = spot_check(check, spot)) == 0 && d + 1 < way.depth) {
		const uint8_t *page = page_at(check, spot->number);

		way.index[d] = page_search(page, &check->trees[tree], key);
		spot[1] = spot_child(check, spot, way.index[d], way.bounds[d]);
		spot++;
		d++;
	}
	if (r == 0)
		r = leaf_check(check, spot, key, removal);
	return r == 0 && removal ? beside_check(check, &way) : r;
}

/* ---- Free pages --------------------------------------------------------- */

/* Descend to the first leaf below the page, and set the position to it. */
static int place_descend(struct page_check *check, uint64_t number)
{
	struct place *place = &check->free;
	const struct page_tree *tree = &check->trees[FREE];

	for (;;) {
		struct spot spot = {.number = number,
		                    .tree = FREE,
		                    .depth = place->depth + 1};
		int r = spot_check(check, &spot);

		if (r < 0)
			return r;
		place->pages[place->depth] = page_at(check, number);
		place->index[place->depth++] = 0;
		if (place->depth == tree->depth)
			return 0;
		number = page_node_child(page_node(page_at(check, number), 0));
	}
}

/*
 * Move to the next entry of a leaf; the position is behind the last if there is
 * none.
 */
static int place_advance(struct page_check *check)
{
	struct place *place = &check->free;

	while (place->depth) {
		const uint8_t *page = place->pages[place->depth - 1];
		unsigned i = ++place->index[place->depth - 1];

		if (i == page_len(page)) {
			place->depth--;
			continue;
		}
		if (place->depth == check->trees[FREE].depth)
			return 0;
		return place_descend(check,
		                     page_node_child(page_node(page, i)));
	}
	return 0;
}

/* Check a list: a count, and that many numbers in descending order. */
static const char *list_fault(struct page_check *check,
                              const struct page_part *data)
{
	uint64_t above = check->end, count;

	if (data->len < 8 || data->len % 8)
		return "has a bad list of free pages";
	count = le64_get(data->at);
	if (count > data->len / 8 - 1)
		return "has a bad list of free pages";
	for (uint64_t i = 1; i <= count; i++) {
		uint64_t one = le64_get(data->at + 8 * i);

		if (one < 2 || one >= above)
			return "has a bad list of free pages";
		above = one;
	}
	return NULL;
}

/* The list at the place. */
static int list_check(struct page_check *check)
{
	const struct place *place = &check->free;
	const uint8_t *page = place->pages[place->depth - 1];
	const uint8_t *node = page_node(page, place->index[place->depth - 1]);
	struct page_part data = page_node_data(node);
	uint64_t number = le64_get(page);
	struct page_part key;
	const char *what;
	int r = 0;

	if (page_node_flags(node) & NODE_BIG) {
		r = big_check(check, node);
		number = le64_get(data.at);
		data.at = page_at(check, number) + PAGE_HEADER;
	}
	if (r < 0)
		return r;
	what = list_fault(check, &data);
	if (what)
		return damaged(check, number, what);
	check->supply += le64_get(data.at);
	/* A list that pages were taken from is removed. */
	key = page_key(page, place->index[place->depth - 1]);
	return way_check(check, FREE, &key, true);
}

static int list_call(void *arg)
{
	struct page_check *check = arg;
	int r = list_check(check);

	return r == 0 ? place_advance(check) : r;
}

/* ---- A transaction ------------------------------------------------------ */

static int tree_read(struct page_check *check, unsigned i, const uint8_t *at)
{
	struct page_tree *tree = &check->trees[i];
	const char *what;

	*tree = page_tree_get(at);
	/* Flags of the environment are kept there, too. */
	if (i == FREE)
		tree->flags &= 0xff;
	what = tree->flags == check->flags[i] ? page_tree_fault(tree)
	                                      : "is the root of another tree";
	return what ? damaged(check, tree->root, what) : 0;
}

/*
 * Check the meta page of the transaction before: the two are written in turn.
 */
static int meta_check(struct page_check *check)
{
	const uint8_t *meta = page_at(check, check->txn & 1) + PAGE_HEADER;
	int r;

	if (le64_get(meta + META_TXN) != check->txn)
		return damaged(check, check->txn & 1,
		               "is not of the last transaction");
	check->end = le64_get(meta + META_LAST) + 1;
	r = tree_read(check, FREE, meta + META_DBS);
	return r ? r : tree_read(check, NAMES, meta + META_DBS + DB_LEN);
}

static int name_check(struct page_check *check, MDB_dbi dbi)
{
	struct page_part key = {(const uint8_t *)check->names[dbi],
	                        strlen(check->names[dbi])};
	const struct page_tree *tree = &check->trees[NAMES];
	const uint8_t *page = page_at(check, tree->root);
	struct page_part found, data;
	const uint8_t *node;
	unsigned i;

	/* There are so few names that one page has them all. */
	if (tree->depth != 1)
		return damaged(check, tree->root, "is not the page of names");
	i = page_search(page, tree, &key);
	if (i == page_len(page))
		return damaged(check, tree->root, "lacks a name");
	node = page_node(page, i);
	found = page_key(page, i);
	data = page_node_data(node);
	if (page_key_compare(tree, &key, &found) ||
	    page_node_flags(node) != NODE_SUB || data.len != DB_LEN)
		return damaged(check, tree->root, "lacks a name");
	return tree_read(check, dbi, data.at);
}

static int begin_call(void *arg)
{
	struct page_check *check = arg;
	struct page_part last = {(const uint8_t *)&(uint64_t){UINT64_MAX}, 8};
	struct spot names = {.tree = NAMES, .depth = 1};
	int r;

	r = meta_check(check);
	names.number = check->trees[NAMES].root;
	if (r == 0 && names.number != NO_PAGE)
		r = spot_check(check, &names);
	for (MDB_dbi i = 0; r == 0 && i < TREES_MAX; i++)
		if (check->names[i])
			r = name_check(check, i);
	/* A list is added behind. */
	if (r == 0)
		r = way_check(check, FREE, &last, false);
	if (r == 0 && check->trees[FREE].root != NO_PAGE)
		r = place_descend(check, check->trees[FREE].root);
	return r;
}

struct key_call {
	struct page_check *check;
	MDB_dbi dbi;
	struct page_part key;
	bool removal;
};

static int key_call(void *arg)
{
	struct key_call *c = arg;

	return way_check(c->check, c->dbi, &c->key, c->removal);
}

static int guarded(struct page_check *check, int (*fn)(void *arg), void *arg)
{
	int r = marks_reserve(check);

	if (r < 0)
		return r;
	r = fault_guard(fn, arg);
	return r == FAULT ? damaged(check, check->at, "cannot be read") : r;
}

/* Check as many free lists as the demand may take pages from, and `more`. */
static int supply_check(struct page_check *check, uint64_t more)
{
	int r = 0;

	while (r == 0 && check->free.depth) {
		if (check->supply >= check->demand && !more--)
			break;
		r = guarded(check, list_call, check);
	}
	return r;
}

int page_check_begin(struct page_check *check, MDB_txn *txn)
{
	int r;

	check->txn = mdb_txn_id(txn) - 1;
	check->run++;
	check->marks_len = 0;
	check->free.depth = 0;
	check->supply = 0;
	check->demand = PAGES_FIRST;
	r = guarded(check, begin_call, check);
	return r == 0 ? supply_check(check, 0) : r;
}

int page_check_key(struct page_check *check, MDB_dbi dbi, const MDB_val *key,
                   bool removal)
{
	struct key_call call = {
	        check, dbi, {key->mv_data, key->mv_size}, removal};
	int r;

	check->demand += PAGES_KEY;
	r = guarded(check, key_call, &call);
	return r == 0 ? supply_check(check, 0) : r;
}

int page_check_end(struct page_check *check)
{
	if (check->demand <= LIST_SMALL)
		return 0;
	return supply_check(check,
	                    LISTS_MORE * (check->demand / LIST_SMALL + 1));
}
