/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making the stored form of chunks (chunk_codec.h): as they are, compressed, as
 * a delta or as a sparse delta.  Inside store/ only.
 */
#ifndef COPPICE_CHUNK_ENCODER_H
#define COPPICE_CHUNK_ENCODER_H

#include "chunk.h"

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

#endif
