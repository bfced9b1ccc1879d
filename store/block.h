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
	struct block *older;     /* clean: towards the next to be evicted */
	struct block *newer;
	uint64_t number;
	uint64_t owner; /* deadlist whose version is charged for it */
	uint32_t place; /* index in its group's array */
	/* Index in intent_track.blocks of the open group + 1, or 0. */
	uint32_t unlogged;
	uint8_t kind;  /* enum block_kind */
	uint8_t state; /* enum block_state */
	bool hashed;   /* still the newest of its number */
	bool used;     /* clean: found since the clock hand passed */
	bool logged;   /* an entry of the intent log has it */
};

enum block_kind { BLOCK_NODE, BLOCK_CHUNK, BLOCK_DEDUP, BLOCK_PATCH };

/*
 * A tree node.  `data` has space for store_node_size() bytes, in the stored
 * format.  Its checksum is only set when the node is written, and only checked
 * when it is read.
 */
struct node {
	struct block block;
	bool stored; /* the map or the syncing group has this number already */
	uint64_t copied; /* number of the node that it was copied from, or 0 */
	uint64_t logged_sum; /* if the block is logged: hash of those bytes */
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
 * The lock is held in all of these.  Nodes stay valid until it is released,
 * except for those that node_edit() replaced or tree_drop() freed.
 */

/*
 * Return the node for reading.  -EUCLEAN: missing or damaged (logged); -EAGAIN:
 * not in memory, and the lock is shared.
 */
int node_read(struct store *store, uint64_t number, struct node **ret_node);

/*
 * Return the node for changing it in this tree.  A private node keeps its
 * number.  A shared one is copied under a new number, and its old number is put
 * on the deadlist of the tree; the caller changes the pointer in the parent.
 */
int node_edit(struct tree *tree, uint64_t number, struct node **ret_node);

/* Record for the intent log that a node of the open group will change again. */
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

/* Return the head of the chain that the number belongs to. */
struct block **block_bucket(struct store *store, uint64_t number);
/* Return the newest block of the number, or NULL. */
struct block *block_find(struct store *store, uint64_t number);
/* Mark the block as used, to keep it in the cache.  The lock may be shared. */
static inline void block_use(struct block *block)
{
	if (!__atomic_load_n(&block->used, __ATOMIC_RELAXED))
		__atomic_store_n(&block->used, true, __ATOMIC_RELAXED);
}
/* Add the block to the table, as the newest of its number. */
void block_insert(struct store *store, struct block *block);
/* Remove the block from the table and the cache; it is not freed. */
void block_unhash(struct store *store, struct block *block);
/*
 * Make the block a clean one of the cache.  Free it instead if it is outdated,
 * a dedup reference or a patch.
 */
void block_clean(struct store *store, struct block *block);
/*
 * While the cache is over its limit, look at up to `most` clean blocks, and
 * free those that were not used lately.
 */
void block_trim(struct store *store, size_t most);
void block_release_all(struct store *store);
/* Free all nodes of a store that is only read. */
void block_forget_nodes(struct store *store);
/* Return the bytes of memory that the block takes. */
size_t block_bytes(const struct store *store, const struct block *block);
/*
 * Return the read transaction of the lock's holder, which begins with its first
 * read and ends when the lock is released.  -EAGAIN: the lock is shared.
 */
int store_reader(struct store *store, struct MDB_txn **ret_txn);

#endif
