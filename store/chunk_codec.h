/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The codec of chunks: the stored form, its header, and reading it.
 * chunk_encoder.h makes it.  Inside store/ only.
 */
#ifndef COPPICE_CHUNK_CODEC_H
#define COPPICE_CHUNK_CODEC_H

#include <lmdb.h>

#include "chunk.h"
#include "splice.h"

struct chunk_header {
	enum block_tag tag;
	uint32_t len;    /* bytes of the content */
	uint32_t stored; /* bytes of payload behind the header */
	/* Other chunks that it is made of: one of a delta or sparse delta. */
	unsigned base_count;
	uint64_t bases[SPLICE_BASES];
	uint8_t depth;    /* chunks to read before this one */
	uint8_t hash[16]; /* XXH3-128 of the content */
	uint32_t header_len;
};
enum {
	/* Less than the first fragment of a chunk of several always has. */
	CHUNK_HEADER_MAX = 1 + 3 + 3 + 1 + 10 * SPLICE_BASES + 1 + 16,
	CHUNK_DEPTH_MAX = 32,
};

/* Write the header to `out`; return its length. */
size_t chunk_header_encode(const struct chunk_header *h,
                           uint8_t out[CHUNK_HEADER_MAX]);
/* Decode the header of a stored chunk.  -EUCLEAN. */
int chunk_header_decode(const void *data, size_t len,
                        struct chunk_header *ret_header);
/* Read the header of the chunk stored as `number`.  -ENOENT; -EUCLEAN. */
int chunk_header_get(struct store *store, MDB_txn *txn, uint64_t number,
                     struct chunk_header *ret_header);
/*
 * Read the content of the chunk that is stored under just this number; dedup
 * references are not followed.
 */
int chunk_decode(struct store *store, MDB_txn *txn, uint64_t number,
                 struct chunk **ret_chunk);
/*
 * Read the pieces of the splice that is stored under the number.  -EUCLEAN.
 */
int chunk_splice_get(struct store *store, MDB_txn *txn, uint64_t number,
                     struct splice *ret);
/*
 * Return how many chunks must be read for the flat bytes of a base of a splice,
 * whose header this is: the base and what comes before it.
 */
unsigned splice_base_cost(const struct chunk_header *base);
/*
 * Return the content of a chunk that is stored as it is, in one fragment; it is
 * valid until the transaction ends.  -EAGAIN: it is stored otherwise, or not
 * under this number; -EUCLEAN.
 */
int chunk_plain(struct store *store, MDB_txn *txn, uint64_t number,
                const uint8_t **ret_data, uint32_t *ret_len);
/* Compute the XXH3-128 of the content. */
void chunk_hash(const struct chunk *chunk, uint8_t ret_hash[16]);

/*
 * Decompress a zstd frame.  `prefix` is the one it was compressed with, or
 * NULL.
 */
int decoder_unpack(struct store *store, const void *prefix, size_t prefix_len,
                   const void *data, size_t len, void *out, size_t capacity,
                   size_t *ret_len);
void decoder_destroy_all(struct store *store);

/*
 * The payload of a sparse delta: a bit map of the parts that differ from the
 * base, then these parts one after the other, compressed if they get shorter.
 */
enum { SPARSE_HEAD = 8 };
/* Return the bytes of the parts in the bit map, for a chunk of `len` bytes. */
uint32_t parts_len(const struct store *store, uint32_t len, uint64_t parts);
/* Copy parts from the chunk to `out`, one after the other, or back. */
void parts_copy(struct chunk *chunk, uint64_t parts, uint8_t *out, bool back);

#endif
