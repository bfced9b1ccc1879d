/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing a syncing group in one transaction.  Inside store/ only.
 */
#ifndef COPPICE_WRITE_H
#define COPPICE_WRITE_H

#include "accounting.h"
#include "chunk_codec.h"
#include "chunk_encoder.h"
#include "engine.h"
#include "node_codec.h"

struct stored_size;
struct window;

/* State that is kept between the tries of splices: see write_splice.c. */
struct splicing {
	struct window *window; /* NULL: not needed yet */
	size_t next;     /* index of the chunk after the last splice; or 0 */
	unsigned misses; /* tries since one that found anything */
};

/* The form in which a block is to be stored, and what its encoder found. */
struct encoded {
	/* Encoded from the last commit: preceding blocks were not written. */
	bool ahead;
	struct form form; /* a node has no more than one base */
	/* The block that it replaces or is a copy of, and its stored size. */
	uint64_t former; /* 0: not known */
	uint64_t former_bytes;
	/* chunks */
	uint8_t hash[16];
	uint64_t same;     /* stored block with the same content; 0: none */
	uint64_t replaced; /* stored block that it replaces; 0: none */
	bool patch;
	/* nodes that are stored already */
	uint64_t old_base;
	size_t old_len;
};

struct writing {
	struct store *store;
	struct disk *disk;
	MDB_txn *txn;
	MDB_cursor *blocks;
	struct txg *txg;
	struct encoder *encoder;
	struct node_encoder *node_encoder;
	struct splicing splicing;
	size_t at; /* index in txg->chunks of the one being written */
	uint8_t node[DISK_VALUE_MAX]; /* a sealed copy of the last one */
	uint64_t content, stored;     /* bytes of chunks, and of their forms */
	struct accounting accounting;
	/* of blocks whose sizes the encoders found, in any order */
	struct stored_size *sizes;
	size_t sizes_len, sizes_capacity;
	uint64_t last_key; /* highest in blocks */
	size_t leaves;     /* leaf pages of blocks */
	size_t tail;       /* bytes free in the last one; 0: not known */
};

/* Bytes that an item takes besides its value: header, key, offset. */
enum { ITEM_HEAD = 8 + 8 + 2 };

/*
 * Return the bytes of a leaf that an item takes.  A large value lies in
 * overflow pages, and the leaf has their number.
 */
static inline size_t item_size(size_t len)
{
	return ITEM_HEAD +
	       (len > DISK_LEAF_MAX ? sizeof(uint64_t) : len + len % 2);
}

/* Return the key of an item of a table whose keys are numbers. */
static inline uint64_t key_number(const MDB_val *key)
{
	uint64_t number;

	memcpy(&number, key->mv_data, sizeof(number));
	return number;
}

/* Append or replace the value under the key of a fragment. */
int writing_put(struct writing *w, uint64_t key, const void *data, size_t len);
/* Count the leaves again, after a change other than writing_put(). */
void writing_leaves(struct writing *w);
/* Return the group's entry that frees the number, or NULL. */
struct freed *writing_freed(const struct writing *w, uint64_t number);
/* Return true if the stored block has more than one reference. */
bool block_is_counted(const struct writing *w, uint64_t number);
/*
 * Choose the form of a chunk, except for splices (write_splice.h), or find a
 * stored chunk with its content.  The transaction is not changed.  The bytes of
 * the form are valid until the next block is encoded.
 */
int chunk_encode(struct writing *w, const struct chunk *chunk,
                 struct encoded *ret_encoded);
/* Write the chunk in this form, as a splice, or as a dedup reference. */
int writing_chunk(struct writing *w, struct chunk *chunk,
                  struct encoded *encoded);
/* Choose the form of a node, likewise. */
void node_encode(struct writing *w, const struct node *node,
                 struct encoded *ret_encoded);
/* Write the node in this form. */
int writing_node(struct writing *w, const struct node *node,
                 const struct encoded *encoded);

/* Abort the process: the map could not be read in the middle of a commit. */
void commit_fault(const struct store *store) __attribute__((noreturn));
/* Write all of a syncing group.  Lock NOT held. */
int commit_write(struct store *store, struct txg *txg);

#endif
