/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copy-on-write B+trees of items.  A part of store.h: include that. */
#ifndef COPPICE_STORE_TREE_H
#define COPPICE_STORE_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

/*
 * One copy-on-write B+tree.  A block numbered above `base` is private to this
 * tree and changed in place.  Any other block is copied under a new number
 * before its first change, and the old number is put on the deadlist `list`.
 * The struct belongs to the caller, who keeps it as a record of its own.
 * on_root is called when the root's number changes; it may be NULL.
 */
struct tree {
	struct store *store;
	uint64_t root; /* block number of the root node; 0: an empty tree */
	uint64_t base;
	uint64_t list;  /* deadlist for shared blocks that are dropped */
	uint64_t owner; /* deadlist whose version new blocks are charged to */
	void (*on_root)(struct tree *tree, uint64_t old_root);
	/* Another number after each change; no two trees have the same. */
	uint64_t stamp;
};

/* Keys order by ino, then kind, then off. */
struct key {
	uint64_t ino; /* below 2^36 */
	uint8_t kind; /* below 16 */
	uint64_t off;
};

enum { TREE_VALUE_MAX = 448 }; /* bytes; four such items fit a 2016-byte node */

/* An item as it lies in its node. */
struct item {
	struct key key;
	const uint8_t *value; /* valid until unlock or the tree's next change */
	uint32_t len;
};

int key_compare(const struct key *a, const struct key *b);

/* Give the tree another stamp: it is a new one, or changes. */
void tree_stamp(struct tree *tree);

/* All of these: lock held. */

/* Look up the item with exactly this key.  -ENOENT. */
int tree_get(struct tree *tree, const struct key *key, struct item *ret_item);
/* Find the first item at or after key.  -ENOENT: there is none. */
int tree_seek(struct tree *tree, const struct key *key, struct item *ret_item);
/* Find the last item at or before key.  -ENOENT: there is none. */
int tree_seek_back(struct tree *tree, const struct key *key,
                   struct item *ret_item);
/* Insert the item or replace its value.  -E2BIG: len is over TREE_VALUE_MAX. */
int tree_put(struct tree *tree, const struct key *key, const void *value,
             size_t len);
/* Remove the item.  -ENOENT. */
int tree_del(struct tree *tree, const struct key *key);

/*
 * Load the memory that look-ups of these keys read into the processor's caches.
 * This saves time for several keys; those over WARM_MOST are ignored.  Lock
 * held or shared.
 */
enum { WARM_MOST = 64 };
void tree_warm(struct tree *tree, const struct key *keys, size_t count);

/*
 * A position in a tree, for walking many items.  It is valid until the lock is
 * released or the tree is changed; then seek again.
 */
enum { TREE_DEPTH_MAX = 12 };
struct cursor {
	struct tree *tree;
	int depth; /* of path[] in use; 0: at the end */
	struct {
		const struct node *node;
		uint32_t slot;
	} path[TREE_DEPTH_MAX];
};
/* Move to the first item at or after key.  -ENOENT: past the last item. */
int cursor_seek(struct cursor *cursor, struct tree *tree, const struct key *key,
                struct item *ret_item);
/* Move to the next item.  -ENOENT: past the last item. */
int cursor_next(struct cursor *cursor, struct item *ret_item);

/*
 * Call fn for each item that differs between two trees, in key order.  Nodes
 * that are the same block in both are not entered.  fn gets the item of each
 * side, or NULL if the side has none; a nonzero result ends the walk and is
 * returned.  The walk begins at *from.  After `limit` nodes were read (0: no
 * limit) it sets *from to the key to go on with and returns -EAGAIN.
 */
int tree_diff(struct tree *a, struct tree *b, struct key *from, uint32_t limit,
              int (*fn)(void *arg, const struct item *a, const struct item *b),
              void *arg);

/*
 * Free the blocks that are private to the tree.  They are walked in key order
 * from *from on, at most about `limit` nodes a call.  For each item of a
 * private leaf fn is called, to free the chunks it names with tree_drop().
 * -EAGAIN: *from is the key to go on with, and everything before it is freed;
 * the caller records it in the same transaction group.  0: all is freed, the
 * root included, and the tree must not be used again.  A damaged node is passed
 * over and stays allocated, with everything below it.
 */
int tree_reap(struct tree *tree, struct key *from, uint32_t limit,
              void (*fn)(void *arg, const struct item *item), void *arg);

/*
 * Callbacks of a check that every node is readable and well-formed, is on its
 * level, and has its keys in order and within the bounds that its parent sets.
 * A damaged node is reported and passed over with everything below it.
 */
struct tree_checker {
	/*
	 * Called before a node is read.  false leaves it out, with everything
	 * below it (for example, because it was seen in another tree).  level
	 * is -1 for the root, which has not been read yet.  May be NULL.
	 */
	bool (*enter)(void *arg, uint64_t number, int level, bool is_private);
	/* Called for each item; number is the leaf's.  May be NULL. */
	void (*item)(void *arg, uint64_t number, const struct item *item);
	/* Called for each damaged node; `what` is the fault in a few words. */
	void (*damage)(void *arg, uint64_t number, int level, const char *what);
	void *arg;
};
/*
 * Check a tree.  0: the walk has ended, with or without damage.  `from` and
 * `limit` are used as in tree_diff(); -EAGAIN: *from is the key to go on with.
 */
int tree_check(struct tree *tree, struct key *from, uint32_t limit,
               const struct tree_checker *checker);

/*
 * Drop a block from the tree (a chunk that its items named): free it if it is
 * private, else put it on the deadlist.
 */
void tree_drop(struct tree *tree, uint64_t number);

#endif
