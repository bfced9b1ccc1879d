/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The header before a stored chunk: its form, its lengths, the chunks that
 * it is made of, and its hash.  Inside store/ only.
 */
#ifndef COPPICE_CHUNK_HEADER_H
#define COPPICE_CHUNK_HEADER_H

#include "chunk.h"
#include "splice.h"

struct chunk_header {
	enum block_tag tag;
	uint32_t len;    /* bytes of the content */
	uint32_t stored; /* bytes of payload after the header */
	/* Other chunks that it is made of: one of a delta or patch. */
	unsigned base_count;
	uint64_t bases[SPLICE_BASES];
	uint8_t depth;    /* chunks to read before this one */
	uint8_t hash[16]; /* XXH3-128 of the content; a patch: parts_hash() */
	uint32_t header_len;
};
enum {
	/* Always fits the first fragment of a chunk that has several. */
	CHUNK_HEADER_MAX = 1 + 3 + 3 + 1 + 10 * SPLICE_BASES + 1 + 16,
	CHUNK_DEPTH_MAX = 32,
};

/* Write the header to `out`; return its length. */
size_t chunk_header_encode(const struct chunk_header *h,
                           uint8_t out[CHUNK_HEADER_MAX]);
/* Decode the header of a stored chunk.  -EUCLEAN. */
int chunk_header_decode(const void *data, size_t len,
                        struct chunk_header *ret_header);

#endif
