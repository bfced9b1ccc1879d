/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A group that is being written: what write.c and write_chunk.c share. */
#ifndef COPPICE_WRITE_H
#define COPPICE_WRITE_H

#include "engine.h"

struct writing {
	struct store *store;
	struct disk *disk;
	MDB_txn *txn;
	MDB_cursor *blocks;
	struct txg *txg;
	struct encoder *encoder;
	struct node_encoder *node_encoder;
	struct accounting accounting;
	uint64_t last_key; /* highest in blocks */
	size_t leaves;     /* pages with items that blocks has */
	size_t tail;       /* bytes that are free in the last; 0: not known */
};

/* What LMDB needs for an item besides its value: a node's head, key, offset. */
enum { ITEM_HEAD = 8 + 8 + 2 };

/* Bytes of a leaf that an item takes: what is large lies elsewhere, and a
 * page's number stands for it. */
static inline size_t item_size(size_t len)
{
	return ITEM_HEAD +
	       (len > DISK_LEAF_MAX ? sizeof(uint64_t) : len + len % 2);
}

/* The key of an item of a table of numbers. */
static inline uint64_t key_number(const MDB_val *key)
{
	uint64_t number;

	memcpy(&number, key->mv_data, sizeof(number));
	return number;
}

/* Under the key of a fragment. */
int writing_put(struct writing *w, uint64_t key, const void *data, size_t len);
/* refill.c: repack what the group says */
int repacks_write(struct writing *w);
/* NULL: it is not freed by this group. */
struct freed *writing_freed(const struct writing *w, uint64_t number);
/*
 * Writes the chunk, in whatever form is the smallest, or makes it a dedup
 * reference of what has its content already.
 */
int writing_chunk(struct writing *w, struct chunk *chunk);

#endif
