/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The nodes that a mount's kernel knows: how often it looked each one up, how
 * often it has it open, and whether it may hold pages of it.  Kept by state,
 * because it is by state that they are invalidated.
 *
 * Every function takes the set's own lock, which is taken last of all.
 */
#ifndef COPPICE_KNOWN_H
#define COPPICE_KNOWN_H

#include "fs.h"

struct known;

/* -ENOMEM */
int known_create(struct known **ret_known);
void known_destroy(struct known *known); /* takes NULL */

/* One more look-up was (or is about to be) answered.  -ENOMEM. */
int known_add(struct known *known, node_t node);
/* The kernel forgot `count` look-ups; true: the hold on the node went, too. */
bool known_forget(struct known *known, node_t node, uint64_t count);

/* One more open file.  -ENOMEM. */
int known_open(struct known *known, node_t node);
/* One less; false: it was not open. */
bool known_close(struct known *known, node_t node);

/*
 * Hold a node that the kernel knows until it is forgotten, which counts as an
 * open.  False: the kernel does not know it, or it is held already.
 */
bool known_hold(struct known *known, node_t node);

/* The kernel may have pages of the node from now on. */
void known_mark_cached(struct known *known, node_t node);
/* Whether it may have some; the mark is taken away. */
bool known_take_cached(struct known *known, node_t node);

/*
 * The known nodes of a state (or only those open or with pages) in an array
 * to be freed.  -ENOMEM.
 */
int known_list(struct known *known, uint64_t state, bool in_use,
               node_t **ret_nodes, size_t *ret_count);

/* The states of which any node is known, likewise. */
int known_states(struct known *known, uint64_t **ret_states, size_t *ret_count);

/* Call fn once for each open of each node, and forget all of them. */
void known_close_all(struct known *known, void (*fn)(void *arg, node_t node),
                     void *arg);

#endif
