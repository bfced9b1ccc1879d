/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The codec of chunks: the stored form, its header, and the encoders and
 * decoders of zstd that make and read it.  Inside store/ only.
 */
#ifndef COPPICE_CHUNK_CODEC_H
#define COPPICE_CHUNK_CODEC_H

#include <lmdb.h>

#include "chunk.h"

struct chunk_header {
	enum block_tag tag;
	uint32_t len;    /* bytes of the content */
	uint32_t stored; /* bytes of payload behind the header */
	uint64_t base; /* deltas and sparse deltas: number of the other chunk */
	uint8_t depth; /* deltas: chunks to read before this one */
	uint8_t hash[16]; /* XXH3-128 of the content */
	uint32_t header_len;
};
enum { CHUNK_HEADER_MAX = 40, CHUNK_DEPTH_MAX = 32 };

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

struct encoder;
int encoder_create(struct store *store, struct encoder **ret_encoder);
void encoder_destroy(struct encoder *encoder);
/*
 * Encode the chunk, whose content has this hash, without a base.  The result is
 * valid until the next call.
 */
int encoder_run(struct encoder *encoder, const struct chunk *chunk,
                const uint8_t hash[16], const uint8_t **ret_data,
                size_t *ret_len);
/*
 * Encode the chunk as a delta, at `depth`, against the chunk that is stored as
 * base_number.  plain_len is the length of what encoder_run() returned last.
 * 1: the delta is much shorter, and *ret_data and *ret_len are set.  0: it is
 * not.
 */
int encoder_run_delta(struct encoder *encoder, const struct chunk *chunk,
                      const uint8_t hash[16], const struct chunk *base,
                      uint64_t base_number, unsigned depth, size_t plain_len,
                      const uint8_t **ret_data, size_t *ret_len);
/* Return true if a sparse delta against the replaced chunk is small enough. */
bool chunk_is_sparse_delta(const struct chunk *chunk);
/*
 * Encode a chunk for which chunk_is_sparse_delta() is true as a sparse delta,
 * at `depth`, against the replaced chunk, which is stored as base_number.
 */
void encoder_run_sparse(struct encoder *encoder, const struct chunk *chunk,
                        const uint8_t hash[16], uint64_t base_number,
                        unsigned depth, const uint8_t **ret_data,
                        size_t *ret_len);

/* A block as the map has it. */
struct stored_block {
	uint64_t bytes; /* stored size; 0 for a dedup reference */
	bool is_chunk;
	bool is_dedup_ref;
	uint64_t target; /* of a dedup reference; else the number itself */
	uint64_t hash64; /* chunks: head of the content's hash */
};
/* Look up a block in the map.  -ENOENT; -EUCLEAN. */
int stored_block_get(struct store *store, MDB_txn *txn, uint64_t number,
                     struct stored_block *ret_block);

#endif
