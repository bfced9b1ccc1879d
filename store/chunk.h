/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A chunk in memory: a counted reference to the content of a piece of a file.
 * Its functions are in store_chunk.h.  Inside store/ only.
 */
#ifndef COPPICE_CHUNK_H
#define COPPICE_CHUNK_H

#include <stdatomic.h>

#include "block.h"

struct chunk {
	struct block block;
	struct store *store;
	atomic_uint refs;
	/*
	 * A dedup reference or patch names it: it must not be changed or
	 * undone.
	 */
	bool cloned;
	/* BLOCK_CHUNK: the log has it as a patch, so it needs all of it next */
	bool logged_patch;
	bool bulk;     /* its memory goes back to bulk_chunk_free() */
	uint8_t depth; /* BLOCK_PATCH: chunks to be read before it */
	uint32_t len;  /* of the content */
	uint32_t capacity;
	/* BLOCK_CHUNK: hint for a delta; BLOCK_PATCH: the base */
	uint64_t replaces;
	/*
	 * The parts (parts.h) that are, as far as they lie within `len`, the
	 * same as in `replaces`.  0: nothing is known.
	 */
	uint64_t same;
	/* If the block is logged and unlogged: bytes changed in between. */
	uint32_t unlogged_from, unlogged_to;
	uint64_t dedup_of; /* BLOCK_DEDUP: number with the content */
	/* BLOCK_PATCH: the parts that are not `same`, one after the other */
	uint8_t *data;
	uint8_t first[]; /* the data, until it outgrows its first capacity */
};

#endif
