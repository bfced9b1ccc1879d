/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading the stored form of chunks, which chunk_encoder.h makes.  Inside
 * store/ only.
 */
#ifndef COPPICE_CHUNK_CODEC_H
#define COPPICE_CHUNK_CODEC_H

#include <lmdb.h>
#include <sys/uio.h>

#include "chunk_header.h"

/* Read the header of the chunk stored as `number`.  -ENOENT; -EUCLEAN. */
int chunk_header_get(struct store *store, MDB_txn *txn, uint64_t number,
                     struct chunk_header *ret_header);
/*
 * Read the content of the chunk that is stored under just this number; dedup
 * references are not followed.  -ENOENT; -EUCLEAN.
 */
int chunk_decode(struct store *store, MDB_txn *txn, uint64_t number,
                 struct chunk **ret_chunk);
/*
 * Decode a chunk from the bytes of its fragments, into a buffer of
 * bulk_chunk_alloc().  -EAGAIN: it needs other chunks; -EUCLEAN.
 */
int chunk_decode_fragments(struct store *store, const struct iovec *fragments,
                           size_t count, struct chunk **ret_chunk);
/*
 * Read the pieces of the splice that is stored under the number.  -EUCLEAN.
 */
int chunk_splice_get(struct store *store, MDB_txn *txn, uint64_t number,
                     struct splice *ret);
/*
 * Return how many chunks must be read for the flat bytes (splice.h) of the base
 * with this header, itself included.
 */
unsigned splice_base_cost(const struct chunk_header *base);
/*
 * Return the content of a chunk that is stored as it is, in one fragment; valid
 * until the transaction ends.  -EAGAIN: the chunk is stored otherwise, or not
 * under this number; -EUCLEAN.
 */
int chunk_plain(struct store *store, MDB_txn *txn, uint64_t number,
                const uint8_t **ret_data, uint32_t *ret_len);
/* Compute the XXH3-128 of the content. */
void chunk_hash(const struct chunk *chunk, uint8_t ret_hash[16]);

/*
 * Decompress a zstd frame.  `prefix` is the one it was compressed with, or
 * NULL.  -EUCLEAN; -ENOMEM.
 */
int decoder_unpack(struct store *store, const void *prefix, size_t prefix_len,
                   const void *data, size_t len, void *out, size_t capacity,
                   size_t *ret_len);
void decoder_destroy_all(struct store *store);

#endif
