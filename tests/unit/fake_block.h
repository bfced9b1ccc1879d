/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A store that is memory alone: just what the tree needs of block.h, kept
 * strictly.  Reading or freeing what is not there, changing a node that is
 * frozen or shared, and killing a block twice end the program.
 */
#ifndef COPPICE_FAKE_BLOCK_H
#define COPPICE_FAKE_BLOCK_H

#include "block.h"

struct store *fake_create(uint32_t node_size);
void fake_destroy(struct store *store); /* whatever is left in it */

/* An empty tree with a deadlist; a fork of one: both go on above one seq. */
struct tree fake_tree(struct store *store);
struct tree fake_fork(struct tree *tree);

/* A block that is no node, private to the tree. */
uint64_t fake_chunk(struct tree *tree);

size_t fake_blocks(const struct store *store);
uint64_t fake_reads(const struct store *store); /* of nodes, so far */
bool fake_has(const struct store *store, uint64_t number);

/* Marking what is reachable: true if the block was not marked in this round. */
void fake_mark_begin(struct store *store);
bool fake_mark(struct store *store, uint64_t number);
size_t fake_marked(const struct store *store);

/* Freeze new blocks; check that frozen ones are unchanged, and make them clean.
 */
void fake_freeze(struct store *store);
/* All nodes are written to bytes and read from these, verified. */
void fake_reopen(struct store *store);

/* The n-th allocation from now (0: the next) fails with -ENOMEM; <0: none. */
void fake_fail(struct store *store, int n);

/* Damage is then an error to be returned, as it is in a real store. */
void fake_set_lenient(struct store *store);

/* Deadlists, by number. */
uint64_t fake_list_new(struct store *store);
size_t fake_list_count(const struct store *store, uint64_t list);
uint64_t fake_list_at(const struct store *store, uint64_t list, size_t i);
void fake_list_add(struct store *store, uint64_t list, uint64_t number);
void fake_list_drop(struct store *store, uint64_t list);
void fake_free(struct store *store, uint64_t number);

/* The nodes' numbers, in a new array to be freed; for tests that damage. */
uint64_t *fake_nodes(const struct store *store, size_t *ret_count);

#endif
