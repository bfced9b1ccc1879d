/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checks of the pages on the way to a key, each once in a transaction.  Inside
 * store/ only, for page_check.c.
 */
#ifndef COPPICE_PAGE_WAY_H
#define COPPICE_PAGE_WAY_H

#include "page.h"

enum { TREES_MAX = 16 }; /* handles of databases */

struct mark;

/* The checked pages.  page_check.c sets path, map, end and trees. */
struct pages {
	const char *path;   /* the caller's */
	const uint8_t *map; /* NULL until a database is registered */
	uint64_t run;       /* number of the transaction's checks */
	uint64_t end;       /* one more than the last page */
	struct page_tree trees[TREES_MAX];
	struct mark *marks; /* hashed by page */
	size_t marks_cap, marks_len;
	uint64_t checked;  /* pages checked in this run */
	uint64_t at;       /* the page that is being read */
	uint64_t reported; /* one more than the page logged last */
};

/* A page and its position; NULL as a bound: none. */
struct spot {
	uint64_t number;
	unsigned tree, depth; /* the root's is 1 */
	const struct page_part *low, *high;
};

/* Begin a new run: a page may have other content now. */
void pages_begin(struct pages *pages);
/*
 * Reserve memory for the checks of one key, because none can be allocated under
 * a guard.  -ENOMEM.
 */
int pages_reserve(struct pages *pages);
void pages_release(struct pages *pages);

/* Log once that the page is damaged, and return -EUCLEAN. */
int pages_damaged(struct pages *pages, uint64_t page, const char *what);
/* Return the page, and set pages->at to it. */
const uint8_t *pages_at(struct pages *pages, uint64_t number);

/*
 * Check a page of a tree.  This and the next functions return -EUCLEAN for a
 * damaged page.
 */
int pages_check(struct pages *pages, const struct spot *spot);
/* Check the first of the overflow pages with a node's data. */
int pages_check_big(struct pages *pages, const uint8_t *node);
/*
 * Check the pages from the root to the key, for putting or (removal) deleting
 * it, and those beside them that a deletion may change.
 */
int pages_check_way(struct pages *pages, unsigned tree,
                    const struct page_part *key, bool removal);

#endif
