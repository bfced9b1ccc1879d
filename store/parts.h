/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The 64 equal parts of a full chunk.  A bit map names some of them, the lowest
 * bit the first one; parts beyond the end of a chunk have no bytes.  Inside
 * store/ only.
 */
#ifndef COPPICE_PARTS_H
#define COPPICE_PARTS_H

#include "chunk.h"

enum { CHUNK_PARTS_BITS = 6, CHUNK_PARTS = 1 << CHUNK_PARTS_BITS };

/*
 * The parts in which a patch differs from its base have at most 1 in
 * PARTS_SHARE of its bytes.
 */
enum { PARTS_SHARE = 4 };

/*
 * The payload of a patch or sparse delta: a bit map of the parts that differ
 * from the base, then these parts one after the other, compressed if they get
 * shorter.
 */
enum { PARTS_HEAD = 8 };

/* Return the parts that the bytes [from, to) touch. */
uint64_t parts_of(const struct store *store, uint32_t from, uint32_t to);
/* Return true if the bytes [from, to) of a chunk of `len` are whole parts. */
bool parts_are_whole(const struct store *store, uint32_t len, uint32_t from,
                     uint32_t to);
/* Return the bytes of the parts, for a chunk of `len` bytes. */
uint32_t parts_len(const struct store *store, uint32_t len, uint64_t parts);
/* Copy parts of the chunk to `out`, one after the other. */
void parts_copy(const struct chunk *chunk, uint64_t parts, uint8_t *out);
/* Copy such parts back to their places in the chunk. */
void parts_paste(struct chunk *chunk, uint64_t parts, const uint8_t *bytes);
/*
 * Compute the hash of a patch: of the `bytes` of its parts, seeded with its
 * base's hash, its length and the map of its parts.
 */
void parts_hash(const struct store *store, const uint8_t base_hash[16],
                uint32_t len, uint64_t parts, const uint8_t *bytes,
                uint8_t ret_hash[16]);

#endif
