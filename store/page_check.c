/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checking the pages that a transaction is about to change.
 *
 * LMDB takes the pages it writes to from the lists of free pages, the oldest
 * list first.  So enough lists are checked for all pages that the transaction
 * may need.
 */
#include "page_check.h"

#include <errno.h>

#include "fault.h"
#include "page_way.h"
#include "util.h"

enum {
	FREE = 0,         /* LMDB's database of free pages by transaction */
	NAMES = 1,        /* LMDB's database of databases by name */
	PAGES_FIRST = 64, /* free pages for a small transaction, at most */
	PAGES_KEY = 4,    /* further ones for each key, at most */
	/*
	 * LMDB needs adjacent pages for a longer list.  LISTS_MORE: lists that
	 * it may search for each such list.
	 */
	LIST_SMALL = 509,
	LISTS_MORE = 60,
};

/* A position in the tree of free pages: that of the next entry. */
struct place {
	const uint8_t *pages[DEPTH_MAX];
	unsigned index[DEPTH_MAX];
	unsigned depth; /* 0: after the last */
};

struct page_check {
	const char *names[TREES_MAX];
	unsigned flags[TREES_MAX];
	uint64_t txn; /* the last that was committed */
	struct pages pages;
	struct place free;
	/* Free pages in checked lists, and needed ones: see demand(). */
	uint64_t supply, wanted;
};

struct page_check *page_check_create(const char *path)
{
	struct page_check *check = calloc(1, sizeof(*check));

	if (!check)
		return NULL;
	check->pages.path = path;
	check->flags[FREE] = MDB_INTEGERKEY;
	return check;
}

void page_check_destroy(struct page_check *check)
{
	if (!check)
		return;
	pages_release(&check->pages);
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
	/* LMDB does not report the address of its map: compute it. */
	if (!check->pages.map) {
		const uint8_t *data = value.mv_data;
		const uint8_t *page = data - (uintptr_t)data % DISK_PAGE;

		check->pages.map = page - le64_get(page) * DISK_PAGE;
	}
	check->names[dbi] = name;
	return mdb_dbi_flags(txn, dbi, &check->flags[dbi]);
}

/* ---- Free pages --------------------------------------------------------- */

/* Descend to the first leaf below the page, and set the position to it. */
static int place_descend(struct page_check *check, uint64_t number)
{
	struct place *place = &check->free;
	const struct page_tree *tree = &check->pages.trees[FREE];

	for (;;) {
		struct spot spot = {.number = number,
		                    .tree = FREE,
		                    .depth = place->depth + 1};
		int r = pages_check(&check->pages, &spot);

		if (r < 0)
			return r;
		place->pages[place->depth] = pages_at(&check->pages, number);
		place->index[place->depth++] = 0;
		if (place->depth == tree->depth)
			return 0;
		number = page_node_child(
		        page_node(pages_at(&check->pages, number), 0));
	}
}

/*
 * Move to the next entry of a leaf; the position is after the last if there is
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
		if (place->depth == check->pages.trees[FREE].depth)
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
	uint64_t above = check->pages.end, count;

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

/* Check the list at the position, and the way to it. */
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
		r = pages_check_big(&check->pages, node);
		number = le64_get(data.at);
		data.at = pages_at(&check->pages, number) + PAGE_HEADER;
	}
	if (r < 0)
		return r;
	what = list_fault(check, &data);
	if (what)
		return pages_damaged(&check->pages, number, what);
	check->supply += le64_get(data.at);
	/* LMDB removes a list when it takes pages from it. */
	key = page_key(page, place->index[place->depth - 1]);
	return pages_check_way(&check->pages, FREE, &key, true);
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
	struct page_tree *tree = &check->pages.trees[i];
	const char *what;

	*tree = page_tree_get(at);
	/* This record also has flags of the environment. */
	if (i == FREE)
		tree->flags &= 0xff;
	what = tree->flags == check->flags[i] ? page_tree_fault(tree)
	                                      : "is the root of another tree";
	return what ? pages_damaged(&check->pages, tree->root, what) : 0;
}

/*
 * Check the meta page of the transaction before: the two are written in turn.
 */
static int meta_check(struct page_check *check)
{
	const uint8_t *meta =
	        pages_at(&check->pages, check->txn & 1) + PAGE_HEADER;
	int r;

	if (le64_get(meta + META_TXN) != check->txn)
		return pages_damaged(&check->pages, check->txn & 1,
		                     "is not of the last transaction");
	check->pages.end = le64_get(meta + META_LAST) + 1;
	r = tree_read(check, FREE, meta + META_DBS);
	return r ? r : tree_read(check, NAMES, meta + META_DBS + DB_LEN);
}

static int name_check(struct page_check *check, MDB_dbi dbi)
{
	struct page_part key = {(const uint8_t *)check->names[dbi],
	                        strlen(check->names[dbi])};
	const struct page_tree *tree = &check->pages.trees[NAMES];
	const uint8_t *page = pages_at(&check->pages, tree->root);
	struct page_part found, data;
	const uint8_t *node;
	unsigned i;

	/* The tree of the databases' names has one page. */
	if (tree->depth != 1)
		return pages_damaged(&check->pages, tree->root,
		                     "is not the page of names");
	i = page_search(page, tree, &key);
	if (i == page_len(page))
		return pages_damaged(&check->pages, tree->root, "lacks a name");
	node = page_node(page, i);
	found = page_key(page, i);
	data = page_node_data(node);
	if (page_key_compare(tree, &key, &found) ||
	    page_node_flags(node) != NODE_SUB || data.len != DB_LEN)
		return pages_damaged(&check->pages, tree->root, "lacks a name");
	return tree_read(check, dbi, data.at);
}

static int begin_call(void *arg)
{
	struct page_check *check = arg;
	struct page_part last = {(const uint8_t *)&(uint64_t){UINT64_MAX}, 8};
	struct spot names = {.tree = NAMES, .depth = 1};
	int r;

	r = meta_check(check);
	names.number = check->pages.trees[NAMES].root;
	if (r == 0 && names.number != NO_PAGE)
		r = pages_check(&check->pages, &names);
	for (MDB_dbi i = 0; r == 0 && i < TREES_MAX; i++)
		if (check->names[i])
			r = name_check(check, i);
	/* The commit adds a list at the end. */
	if (r == 0)
		r = pages_check_way(&check->pages, FREE, &last, false);
	if (r == 0 && check->pages.trees[FREE].root != NO_PAGE)
		r = place_descend(check, check->pages.trees[FREE].root);
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

	return pages_check_way(&c->check->pages, c->dbi, &c->key, c->removal);
}

static int guarded(struct page_check *check, int (*fn)(void *arg), void *arg)
{
	int r = pages_reserve(&check->pages);

	if (r < 0)
		return r;
	r = fault_guard(fn, arg);
	return r == FAULT ? pages_damaged(&check->pages, check->pages.at,
	                                  "cannot be read")
	                  : r;
}

/* Return the number of free pages that the transaction may take. */
static uint64_t demand(const struct page_check *check)
{
	return check->wanted + check->pages.checked;
}

/* Check as many free lists as the demand needs, and `more` lists. */
static int supply_check(struct page_check *check, uint64_t more)
{
	int r = 0;

	while (r == 0 && check->free.depth) {
		if (check->supply >= demand(check) && !more--)
			break;
		r = guarded(check, list_call, check);
	}
	return r;
}

int page_check_begin(struct page_check *check, MDB_txn *txn)
{
	int r;

	check->txn = mdb_txn_id(txn) - 1;
	pages_begin(&check->pages);
	check->free.depth = 0;
	check->supply = 0;
	check->wanted = PAGES_FIRST;
	r = guarded(check, begin_call, check);
	return r == 0 ? supply_check(check, 0) : r;
}

int page_check_key(struct page_check *check, MDB_dbi dbi, const MDB_val *key,
                   bool removal)
{
	struct key_call call = {
	        check, dbi, {key->mv_data, key->mv_size}, removal};
	int r;

	check->wanted += PAGES_KEY;
	r = guarded(check, key_call, &call);
	return r == 0 ? supply_check(check, 0) : r;
}

int page_check_end(struct page_check *check)
{
	if (demand(check) <= LIST_SMALL)
		return 0;
	return supply_check(check,
	                    LISTS_MORE * (demand(check) / LIST_SMALL + 1));
}
