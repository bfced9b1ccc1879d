/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Blocks in memory: tree nodes and chunks by number, whether clean (as in the
 * map), syncing (being committed) or new (changed since).  A look-up finds the
 * newest.  Inside store/ only.
 */
#ifndef COPPICE_BLOCK_H
#define COPPICE_BLOCK_H

#include "store.h"

struct MDB_txn;

enum block_state {
	BLOCK_CLEAN,
	BLOCK_NEW,
	BLOCK_SYNCING,
};

/* The common part of nodes and chunks in memory. */
struct block {
	struct block *hash_next; /* in the bucket of the number */
	struct block *older;     /* clean ones: towards the next to go */
	struct block *newer;
	uint64_t number;
	uint64_t owner; /* deadlist whose version is charged for it */
	uint32_t place; /* index in its group's array */
	/* Index in intent_track.blocks of the open group + 1, or 0. */
	uint32_t unlogged;
	uint8_t kind;  /* enum block_kind */
	uint8_t state; /* enum block_state */
	bool hashed;   /* still the newest of its number */
	bool used;     /* clean ones: looked at since the clock hand passed */
	bool logged;   /* an entry of its group has it */
};

enum block_kind { BLOCK_NODE, BLOCK_CHUNK, BLOCK_DEDUP, BLOCK_PATCH };

/*
 * A tree node: `data` has space for store_node_size() bytes and is in the
 * format of the store, but for the checksum, which is set when it is written
 * and checked when it is read.
 */
struct node {
	struct block block;
	bool stored; /* the map or the syncing group has this number already */
	uint64_t copied; /* number of the node it is a copy of, or was; or 0 */
	uint64_t logged_sum; /* if the block is logged: hash of the bytes */
	uint8_t data[];
};

/*
 * The first byte of a stored block is its type. node_new() and node_seal() set
 * that of a node to BLOCK_TAG_NODE.
 */
enum block_tag {
	BLOCK_TAG_NODE = 0x4e,
	BLOCK_TAG_NODE_DELTA =
	        0x4f,           /* a delta-compressed node: see node_codec.c */
	BLOCK_TAG_RAW = 0x10,   /* a chunk as it is */
	BLOCK_TAG_ZSTD = 0x11,  /* a chunk compressed */
	BLOCK_TAG_DELTA = 0x12, /* a chunk compressed with another as prefix */
	BLOCK_TAG_SPARSE_DELTA =
	        0x13, /* the parts of a chunk that differ from another */
	BLOCK_TAG_SPLICE = 0x14, /* pieces of other chunks: see splice.h */
	BLOCK_TAG_PATCH = 0x15,  /* a sparse delta that is read with its base */
};

uint32_t store_node_size(const struct store *store);
/* Draw a number for tree_stamp().  Lock held. */
uint64_t store_stamp(struct store *store);

/*
 * All of these: lock held.  Nodes stay valid until the lock is released, but
 * for one that node_edit() replaced and one that tree_drop() freed.
 */

/* Return the node for reading. -EUCLEAN: missing or damaged (logged). */
int node_read(struct store *store, uint64_t number, struct node **ret_node);

/*
 * Return the node for changing it in this tree.  A private node keeps its
 * number.  Any other is copied under a new number, and the old number is put on
 * the deadlist of the tree; the caller then changes the pointer in the parent.
 */
int node_edit(struct tree *tree, uint64_t number, struct node **ret_node);

/* Note that a node of the open group is going to be changed again. */
void node_touch(struct store *store, struct node *node);

/* Return a new node with a new number; its data is all zeroes. */
int node_new(struct tree *tree, struct node **ret_node);

/*
 * node.c: node_seal() sets the checksum and returns the bytes in use.
 * node_verify() checks it, and that every offset and length in the node is in
 * bounds.
 */
uint32_t node_seal(const struct store *store, uint64_t number, uint8_t *data);
int node_verify(const struct store *store, uint64_t number, const uint8_t *data,
                size_t len);

/* The table of blocks by number, and the cache of the clean ones. */

/* Return the place of the first block of the number's chain. */
struct block **block_bucket(struct store *store, uint64_t number);
/* Return the newest block of the number, or NULL. */
struct block *block_find(struct store *store, uint64_t number);
/* Note that it was looked at.  Lock held or shared. */
static inline void block_use(struct block *block)
{
	if (!__atomic_load_n(&block->used, __ATOMIC_RELAXED))
		__atomic_store_n(&block->used, true, __ATOMIC_RELAXED);
}
void block_insert(struct store *store, struct block *block);
void block_unhash(struct store *store, struct block *block);
/* Make the block a clean one of the cache, or free it if it is outdated. */
void block_clean(struct store *store, struct block *block);
/* Free clean blocks over the cache's limit, at most `most` of them. */
void block_trim(struct store *store, size_t most);
void block_release_all(struct store *store);
/* Free all nodes of a store that is only read. */
void block_forget_nodes(struct store *store);
/* Return the bytes of memory that the block takes. */
size_t block_bytes(const struct store *store, const struct block *block);
/*
 * Return the read transaction of the lock's holder, which begins with its first
 * read and ends when the lock is released.
 */
int store_reader(struct store *store, struct MDB_txn **ret_txn);

#endif
