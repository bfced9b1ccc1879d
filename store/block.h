/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocks in memory: tree nodes and chunks by number, whether clean (as the map
 * has them), frozen (being committed) or new (changed since).  A look-up finds
 * the newest.  Inside store/ only.
 */
#ifndef COPPICE_BLOCK_H
#define COPPICE_BLOCK_H

#include "store.h"

enum block_state {
	BLOCK_CLEAN,
	BLOCK_NEW,
	BLOCK_SYNCING,
};

/* What nodes and chunks in memory have in common. */
struct block {
	struct block *hash_next; /* in the bucket of the number */
	struct block *older;     /* clean ones: towards the next to go */
	struct block *newer;
	uint64_t number;
	uint64_t owner; /* account the block is booked on */
	uint32_t place; /* index in its group's array */
	uint8_t kind;   /* enum block_kind */
	uint8_t state;  /* enum block_state */
	bool hashed;    /* still the newest of its number */
	bool used;      /* clean ones: looked at since the clock hand passed */
};

enum block_kind { BLOCK_NODE, BLOCK_CHUNK, BLOCK_DEDUP };

/*
 * A tree node: `data` has room for store_node_size() bytes and is in the
 * format of the store, but for the checksum, which is set when it is written
 * and checked when it is read.
 */
struct node {
	struct block block;
	bool stored; /* the map or the syncing group has this number already */
	uint64_t copied; /* number of the node it is a copy of, or was; or 0 */
	uint8_t data[];
};

/*
 * The first byte of a stored block tells what it is; node_new() and node_seal()
 * see to it that a node's is BLOCK_TAG_NODE.
 */
enum block_tag {
	BLOCK_TAG_NODE = 0x4e,
	BLOCK_TAG_NODE_DELTA = 0x4f, /* a node compressed: see node_codec.c */
	BLOCK_TAG_RAW = 0x10,        /* a chunk as it is */
	BLOCK_TAG_ZSTD = 0x11,       /* a chunk compressed */
	BLOCK_TAG_DELTA = 0x12, /* a chunk compressed with another as prefix */
	BLOCK_TAG_SPARSE_DELTA =
	        0x13, /* what of a chunk differs from another */
};

uint32_t store_node_size(const struct store *store);

/*
 * All of these: lock held.  Nodes stay valid until the lock is released, but
 * for one that node_edit() replaced and one that tree_drop() freed.
 */

/* The node to read. -EUCLEAN: missing or damaged (logged). */
int node_read(struct store *store, uint64_t number, struct node **ret_node);

/*
 * The node to change, on behalf of the tree.  If the number is private it is
 * the same number; else it is a copy under a new one, and the old one has gone
 * on the tree's deadlist: the caller then changes the parent's pointer.
 */
int node_edit(struct tree *tree, uint64_t number, struct node **ret_node);

/* A new node with a new number; its data is all zeroes. */
int node_new(struct tree *tree, struct node **ret_node);

/* Let go of a node or chunk number: see tree_drop() in store.h. */

/*
 * In node.c: seal sets the checksum and returns the bytes in use; verify
 * checks it, and that every offset and length in the node is in bounds.
 */
uint32_t node_seal(const struct store *store, uint64_t number, uint8_t *data);
int node_verify(const struct store *store, uint64_t number, const uint8_t *data,
                size_t len);

#endif
