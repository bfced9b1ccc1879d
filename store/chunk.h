/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A chunk in memory: a buffer with a reference count.  Its functions are in
 * store_chunk.h.  Inside store/ only.
 */
#ifndef COPPICE_CHUNK_H
#define COPPICE_CHUNK_H

#include <stdatomic.h>

#include "block.h"

struct chunk {
	struct block block;
	struct store *store;
	atomic_uint refs;
	/* A dedup reference or patch names it: do not change or undo it. */
	bool cloned;
	/* BLOCK_CHUNK: logged as a patch, so the next entry needs all of it */
	bool logged_patch;
	bool bulk;     /* its memory goes back to bulk_chunk_free() */
	uint8_t depth; /* BLOCK_PATCH: chunks to be read before it */
	uint32_t len;  /* of the content */
	uint32_t capacity;
	/* BLOCK_CHUNK: hint for a delta; BLOCK_PATCH: the base */
	uint64_t replaces;
	/*
	 * The parts (parts.h) whose bytes below `len` are the same as those of
	 * `replaces`.  0: unknown.
	 */
	uint64_t same;
	/* If the block is logged and unlogged: bytes changed since the entry */
	uint32_t unlogged_from, unlogged_to;
	uint64_t dedup_of; /* BLOCK_DEDUP: number with the content */
	/* BLOCK_PATCH: the parts that are not `same`, one after the other */
	uint8_t *data;
	uint8_t first[]; /* the data, until it outgrows its first capacity */
};

#endif
