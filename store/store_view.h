/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Views, for checking and repairing a store.  A part of store.h: include that.
 */
#ifndef COPPICE_STORE_VIEW_H
#define COPPICE_STORE_VIEW_H

#include "store_table.h"
#include "store_tree.h"

/*
 * A view is the store as of its last commit, seen through one read transaction
 * while other threads go on changing the store.  A check proves that all of it
 * is consistent.  A view is used by one thread, does not use the store's caches
 * or its lock, and takes 13 bytes of memory a block.
 *
 * Damage is not an error: it is reported, and the data that depend on the
 * damaged block are skipped.
 */
struct view;

struct damage {
	const char *kind;      /* one word: see coppice-check(1) */
	uint64_t block;        /* the damaged block; 0: none */
	uint64_t version;      /* with the tree or list; 0: none */
	const struct key *key; /* position in the tree, or NULL */
	const char *text;      /* the fault */
};

/* A nonzero result of a callback ends the work, which then returns it. */
struct view_options {
	bool data; /* read all chunks and compare them with their hashes */
	int (*found)(void *arg, const struct damage *damage);
	/* Called now and then; `what` is one word.  May be NULL. */
	int (*progress)(void *arg, const char *what, uint64_t done,
	                uint64_t all);
	void *arg;
};

/*
 * Open a view, and check the pages of the file.  -EUCLEAN: the store is damaged
 * too much (reported) to be checked further.
 */
int view_open(struct store *store, const struct view_options *options,
              struct view **ret_view);
void view_close(struct view *view); /* NULL is ignored */

/* Find the first record at or after the key (`after`: after it).  -ENOENT. */
int view_record(struct view *view, enum table table, const void *key,
                size_t key_len, bool after, struct record *ret_record);
/* Return the counters as the view has them.  -EUCLEAN. */
int view_counters(struct view *view, uint64_t *ret_seq,
                  uint64_t ret_counters[COUNTER_COUNT]);

/* Return true if the store uses a feature, as the view has it. */
bool view_has_feature(struct view *view, enum store_feature feature);

/* Check every block, dedup reference and list by itself.  Call this first. */
int view_scan(struct view *view);

/* One version's tree, and the versions and lists that it shares blocks with. */
struct view_tree {
	uint64_t version;
	uint64_t root;
	uint64_t base;
	uint64_t top;         /* no block of it has a higher number */
	uint64_t parent_root; /* of the version it was forked from, or 0 */
	uint64_t lists[2];    /* together its deadlist; 0: none */
	/*
	 * Below the base: the base of the nearest ancestor that is not hollow.
	 * Blocks between the two are those that hollow ancestors have left;
	 * they may be in several trees.
	 */
	uint64_t left_base;
	bool hollow;  /* its tree is incomplete: other trees have the rest */
	bool alone;   /* not to be compared with its parent's */
	bool reaping; /* alone, and freed up to `from` */
	struct key from;
	uint64_t (*chunk)(const struct item *item); /* chunk an item names */
};
/*
 * Check the part of the tree that is private to it; that all the rest is in its
 * parent's tree; and that all other blocks of the parent's tree are on its
 * deadlist.  Each tree of the store must be checked once.  Then `item`, unless
 * it is NULL, is called for each item that differs from the parent's tree, in
 * key order.  old or new is NULL if that tree has no item with the key.
 */
int view_tree(struct view *view, const struct view_tree *tree,
              int (*item)(void *arg, const struct item *old,
                          const struct item *new),
              void *arg);
/*
 * After all trees were checked, mark as used those blocks on the lists of a
 * tree that its hollow ancestors have left.
 */
int view_left_lists(struct view *view, const struct view_tree *tree);
/*
 * Return true if damage hides items of this inode (view_incomplete(): of any
 * inode) from view_tree().  Valid within view_tree(), and after it until the
 * next one.
 */
bool view_uncertain(const struct view *view, uint64_t ino);
bool view_incomplete(const struct view *view);
/* Record that a tree cannot be checked: its blocks will look like a leak. */
void view_unreadable_tree(struct view *view);

/* Do the same as tree_get() and tree_seek().  -EUCLEAN: a node is damaged. */
int view_get(struct view *view, uint64_t root, const struct key *key,
             struct item *ret_item);
int view_seek(struct view *view, uint64_t root, const struct key *key,
              struct item *ret_item);

/* Record that a version or task refers to the list and its usage record. */
void view_list_known(struct view *view, uint64_t list);
/*
 * Check for blocks and lists without a reference, and check the reference
 * counts.  Call this after all trees.
 */
int view_finish(struct view *view);

/* ---- Repairing ---------------------------------------------------------- */

/*
 * Call fn for the items in which two trees differ, like tree_diff(), as far as
 * they can be read.  A node that is damaged or missing is skipped like an empty
 * one.  For such a node of the new tree `unreadable` (may be NULL) is called
 * with the lowest key that the node can have had.  A root of 0 is an empty
 * tree.  Call this after view_scan().
 */
int view_compare(struct view *view, uint64_t old_root, uint64_t new_root,
                 int (*fn)(void *arg, const struct item *old,
                           const struct item *new),
                 void (*unreadable)(void *arg, const struct key *low),
                 void *arg);

/*
 * Call fn with the name of each database that this version of the program does
 * not know: a later one may have added it, as a compatible feature.
 */
int view_unknown_databases(struct view *view,
                           int (*fn)(void *arg, const char *name), void *arg);
/* Add these databases to the store at the path, which must not be open. */
int view_copy_unknown(struct view *view, const char *path);

/* Return the number under which a chunk's content is stored; 0: unknown. */
uint64_t view_content(struct view *view, uint64_t number);

#endif
