/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * struct view, for the parts of the check.  Inside store/ only.
 *
 * For each block the view keeps the number, a byte of marks, and the count of
 * dedup references and deltas that name it.  A number is found by bisection;
 * its position in the arrays is its index.
 */
#ifndef COPPICE_VIEW_H
#define COPPICE_VIEW_H

#include "chunk_codec.h"
#include "engine.h"
#include "node.h"

enum mark {
	MARK_NODE = 1,
	MARK_CHUNK = 2,
	MARK_DEDUP_REF = 4,
	MARK_BAD = 8,   /* its bytes are damaged */
	MARK_USED = 16, /* a tree or a list holds it */
	/* About the tree that is being checked: */
	MARK_DEAD = 32,   /* on its deadlist */
	MARK_SHARED = 64, /* the tree has it, and its parent should, too */
	MARK_MET = 128,   /* seen in the parent's tree */
};
#define NO_INDEX SIZE_MAX

struct indexes {
	size_t *at;
	size_t len, capacity;
};

struct view_list {
	uint64_t list;
	int64_t entries, bytes; /* counted */
	int64_t unique;         /* unique bytes of its usage record */
	bool known;             /* a version or task refers to it */
	bool bad;               /* reported */
};

/* Inodes that a damaged node had, or may have had, items of. */
struct unreadable {
	uint64_t first, last;
};

enum { VIEW_CACHE = 1 << 13 };

struct view {
	struct store *store;
	struct view_options options;
	MDB_txn *txn;
	int stopped; /* an error, or the result of a callback; else 0 */

	uint64_t *numbers; /* ascending */
	uint8_t *marks;
	uint32_t *names; /* counts of dedup references and deltas */
	size_t len, capacity;

	struct view_list *lists; /* ascending */
	size_t lists_len, lists_capacity;

	/* About the tree that is being checked: */
	const struct view_tree *tree;
	struct indexes shared, dead;
	struct unreadable *unreadable;
	size_t unreadable_len, unreadable_capacity;
	bool new_unreadable; /* in the part that is private to it */
	bool old_unreadable; /* in the parent's tree */
	bool any_unreadable; /* in some tree; the blocks below are unknown */
	int64_t unique;      /* stored bytes of its own part */

	/* Recently read nodes that are used in place, in the map. */
	struct {
		uint64_t number;
		const uint8_t *data;
	} cache[VIEW_CACHE];
	uint8_t value[NODE_SIZE_MAX]; /* of the item looked up last */
};

/* view.c */
/* Return the index of a block number, or NO_INDEX. */
size_t view_index(const struct view *view, uint64_t number);
/*
 * Return the bytes of an intact node, in the map or in `buffer`; NULL: missing,
 * damaged, or not a node.
 */
const uint8_t *view_node(struct view *view, uint64_t number,
                         uint8_t buffer[NODE_SIZE_MAX]);
/* Report damage by options.found, unless the view was stopped. */
void view_report(struct view *view, const char *kind, uint64_t block,
                 const struct key *key, const char *format, ...)
        __attribute__((format(printf, 5, 6)));
/*
 * Return the error that ends the walk, or 0 to go on.  -EIO: the environment
 * was opened again, and the view would keep it from being written.
 */
int view_stopped(struct view *view);
/* Report progress.  Nonzero: stop. */
int view_progress(struct view *view, const char *what, uint64_t done,
                  uint64_t all);
/* Make room for one more item.  Without memory, stop and return false. */
bool view_grow(struct view *view, void **array, size_t item, size_t len,
               size_t *capacity);

/* view_block.c: the databases blocks, dedup references, hashes and counts */
int view_scan_blocks(struct view *view);
int view_scan_dedup_refs(struct view *view);
int view_scan_hashes(struct view *view);
int view_finish_counts(struct view *view);
/* Return the fault of a block that is marked as bad. */
const char *view_block_fault(struct view *view, uint64_t number);

/* view_list.c */
int view_scan_lists(struct view *view);
struct view_list *view_list_find(struct view *view, uint64_t list);
/* Call fn for each entry of the list, in order, as far as it can be read. */
int view_list_each(struct view *view, uint64_t list,
                   void (*fn)(struct view *view, uint64_t number,
                              uint32_t bytes));

/*
 * view_diff.c: call fn for the items that differ, like view_tree().  The marks
 * of the tree that is being checked must be set.
 */
int view_diff(struct view *view,
              int (*fn)(void *arg, const struct item *old,
                        const struct item *new),
              void *arg);

/* view_page.c: check the pages. -EUCLEAN: LMDB must not read this file. */
int view_scan_pages(struct view *view);

#endif
