/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing a syncing group in one transaction.  Inside store/ only.
 */
#ifndef COPPICE_WRITE_H
#define COPPICE_WRITE_H

#include "accounting.h"
#include "chunk_codec.h"
#include "engine.h"
#include "node_codec.h"

struct window;

/* What is remembered between the tries of splices: see write_splice.c. */
struct splicing {
	struct window *window; /* NULL: not needed yet */
	size_t next;     /* index of the chunk behind the last splice; or 0 */
	unsigned misses; /* tries since one that found anything */
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
	struct accounting accounting;
	uint64_t last_key; /* highest in blocks */
	size_t leaves;     /* pages with items that blocks has */
	size_t tail;       /* bytes that are free in the last; 0: not known */
};

/* Bytes that an item takes besides its value: head of a node, key, offset. */
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
/* Return the group's entry that frees the number, or NULL. */
struct freed *writing_freed(const struct writing *w, uint64_t number);
/* Return true if the stored block has more than one reference. */
bool block_is_counted(const struct writing *w, uint64_t number);
/*
 * Write the chunk in its smallest form, or as a dedup reference if its content
 * is stored already.
 */
int writing_chunk(struct writing *w, struct chunk *chunk);

/* Write all of a syncing group.  Lock NOT held. */
int commit_write(struct store *store, struct txg *txg);

#endif
