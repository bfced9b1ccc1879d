/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A chunk in memory: a counted reference to the content of a piece of a file.
 * Its functions are in store_chunk.h.  Inside store/ only.
 */
#ifndef COPPICE_CHUNK_H
#define COPPICE_CHUNK_H

#include <stdatomic.h>

#include "block.h"

enum { CHUNK_PARTS = 64, CHUNK_PARTS_BITS = 6 };

struct chunk {
	struct block block;
	struct store *store;
	atomic_uint refs;
	/* A dedup reference names it: it must not be changed or undone. */
	bool cloned;
	uint32_t len;
	uint32_t capacity;
	uint64_t replaces; /* BLOCK_CHUNK: hint for a delta */
	/*
	 * Bit map of the 64ths of a full chunk, the lowest bit for the first
	 * one.  A bit is set if the part, as far as it lies within `len`, is
	 * the same as in `replaces`.  0: nothing is known.
	 */
	uint64_t same;
	/* If the block is logged and unlogged: bytes changed in between. */
	uint32_t unlogged_from, unlogged_to;
	uint64_t dedup_of; /* BLOCK_DEDUP: number with the content */
	uint8_t *data;
	uint8_t first[]; /* the data, until it outgrows its first capacity */
};

#endif
