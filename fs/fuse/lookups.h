/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The lookup table of a mount: for each node that its kernel has, the number of
 * lookups (nlookup) and opens, and what it may have cached.  Kept by state,
 * because nodes are invalidated by state.
 *
 * Every function takes the table's own lock, under which no other lock is
 * taken.
 */
#ifndef COPPICE_LOOKUPS_H
#define COPPICE_LOOKUPS_H

#include "fs.h"

struct lookups;

/* Create an empty table.  -ENOMEM. */
int lookups_create(struct lookups **ret_lookups);
void lookups_destroy(struct lookups *lookups); /* takes NULL */

/*
 * Add a lookup that was (or is about to be) replied with attributes which the
 * kernel may cache.  -ENOMEM.
 */
int lookups_add(struct lookups *lookups, node_t node);
/*
 * Remove `count` lookups.  Return true if the node's hold ended with the last
 * one.
 */
bool lookups_forget(struct lookups *lookups, node_t node, uint64_t count);

/* Add an open.  -ENOMEM. */
int lookups_open(struct lookups *lookups, node_t node);
/* Remove an open.  Return false if the node was not open. */
bool lookups_close(struct lookups *lookups, node_t node);

/*
 * Hold a node until its last lookup is removed; a hold counts as an open.
 * Return false if the kernel has not looked up the node, or it is held already.
 */
bool lookups_hold(struct lookups *lookups, node_t node);

/* Return true if the table has a node of the state. */
bool lookups_any(struct lookups *lookups, uint64_t state);
/* Return true if the table has a node with NODE_VIRTUAL. */
bool lookups_virtual(struct lookups *lookups);
/* Return true if the kernel has looked up the node or has it open. */
bool lookups_has(struct lookups *lookups, node_t node);
/*
 * From now on count each node of the table as open, too: the kernel does not
 * announce opens.
 */
void lookups_assume_open(struct lookups *lookups);
/* Return true if the kernel may have the node open. */
bool lookups_is_open(struct lookups *lookups, node_t node);

/* Parts of a node that a kernel may have cached. */
enum {
	CACHED_ATTRS = 1, /* attributes and ACLs */
	CACHED_PAGES = 2, /* bytes of a file, entries of a directory */
	CACHED_WHOLE = 4, /* lookups_take(): invalidate all of the pages */
	CACHED_END = 8,   /* lookups_take(): see lookups_mark_end() */
};
/*
 * Record what the kernel may cache from a reply.  Called before the reply is
 * computed, so that a later change finds the mark.
 */
void lookups_mark(struct lookups *lookups, node_t node, unsigned what);
/*
 * Record that the kernel may cache the page with the file's end (pages is 1),
 * or up to `pages` - 1 pages beyond it.  Called before the reply is sent.
 */
void lookups_mark_end(struct lookups *lookups, node_t node, uint64_t pages);
/*
 * Return the greatest `pages` of lookups_mark_end() since CACHED_END was last
 * taken; 0: there was none; UINT64_MAX: unknown.
 */
uint64_t lookups_end(struct lookups *lookups, node_t node);
/*
 * Return which of `what` the kernel may have cached, in order to invalidate it.
 * Clears the marks of the attributes, and of the end.  The mark of the pages is
 * cleared if `what` contains CACHED_WHOLE, or by the eighth call after the last
 * read; then CACHED_WHOLE is returned, and all pages are to be invalidated.
 */
unsigned lookups_take(struct lookups *lookups, node_t node, unsigned what);

/*
 * List the nodes of a state in the table in an array that the caller frees.
 * -ENOMEM.
 */
int lookups_list(struct lookups *lookups, uint64_t state, node_t **ret_nodes,
                 size_t *ret_count);
/*
 * List the nodes of a state that are open, or may be and have marks, in an
 * array that the caller frees.  Clear their marks: the caller invalidates all
 * that the kernel has cached of them.  -ENOMEM.
 */
int lookups_take_open(struct lookups *lookups, uint64_t state,
                      node_t **ret_nodes, size_t *ret_count);

/*
 * List the states that have nodes in the table or, with `open`, those for which
 * lookups_take_open() may return some, in an array that the caller frees.
 * -ENOMEM.
 */
int lookups_states(struct lookups *lookups, bool open, uint64_t **ret_states,
                   size_t *ret_count);

/* Call fn once for each open of each node, and empty the table. */
void lookups_close_all(struct lookups *lookups,
                       void (*fn)(void *arg, node_t node), void *arg);

#endif
