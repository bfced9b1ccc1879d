/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The nodes that a mount's kernel knows: how often it looked each one up, how
 * often it has it open, and what it may have cached of it.  Kept by state,
 * because it is by state that they are invalidated.
 *
 * Every function takes the set's own lock, which is taken last of all.
 */
#ifndef COPPICE_LOOKUPS_H
#define COPPICE_LOOKUPS_H

#include "fs.h"

struct lookups;

/* -ENOMEM */
int lookups_create(struct lookups **ret_lookups);
void lookups_destroy(struct lookups *lookups); /* takes NULL */

/*
 * One more look-up was (or is about to be) answered, with attributes that the
 * kernel may keep.  -ENOMEM.
 */
int lookups_add(struct lookups *lookups, node_t node);
/* The kernel forgot `count` look-ups; true: the hold on the node went, too. */
bool lookups_forget(struct lookups *lookups, node_t node, uint64_t count);

/* One more open file.  -ENOMEM. */
int lookups_open(struct lookups *lookups, node_t node);
/* One less; false: it was not open. */
bool lookups_close(struct lookups *lookups, node_t node);

/*
 * Hold a node that the kernel knows until it is forgotten, which counts as an
 * open.  False: the kernel does not know it, or it is held already.
 */
bool lookups_hold(struct lookups *lookups, node_t node);

/* Return true if any node of the state is known. */
bool lookups_any(struct lookups *lookups, uint64_t state);
/* Return true if the kernel has looked up the node or has it open. */
bool lookups_has(struct lookups *lookups, node_t node);
/* Return true if it has it open. */
bool lookups_is_open(struct lookups *lookups, node_t node);

/* What a kernel may have cached of a node. */
enum {
	CACHED_ATTRS = 1, /* attributes and ACLs */
	CACHED_PAGES = 2, /* bytes of a file, entries of a directory */
	CACHED_WHOLE = 4, /* lookups_take(): invalidate all of the pages */
};
/*
 * Note what is about to be put into an answer.  To be called before the answer
 * is computed, so that a later change finds the mark.
 */
void lookups_mark(struct lookups *lookups, node_t node, unsigned what);
/*
 * Return which of `what` the kernel may have, in order to invalidate it.  The
 * mark of the attributes is cleared.  That of the pages is cleared with
 * CACHED_WHOLE in `what`, or by the eighth call after they were read last;
 * CACHED_WHOLE is returned then, and all of them are to be invalidated.
 */
unsigned lookups_take(struct lookups *lookups, node_t node, unsigned what);

/*
 * The known nodes of a state (or only those that are open) in an array to be
 * freed.  -ENOMEM.
 */
int lookups_list(struct lookups *lookups, uint64_t state, bool open,
                 node_t **ret_nodes, size_t *ret_count);

/* The states of which any node is known (or open), likewise. */
int lookups_states(struct lookups *lookups, bool open, uint64_t **ret_states,
                   size_t *ret_count);

/* Call fn once for each open of each node, and forget all of them. */
void lookups_close_all(struct lookups *lookups,
                       void (*fn)(void *arg, node_t node), void *arg);

#endif
