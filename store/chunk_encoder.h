/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making the stored form of chunks (chunk_codec.h): as they are, compressed, as
 * a delta or as a patch.  Inside store/ only.
 */
#ifndef COPPICE_CHUNK_ENCODER_H
#define COPPICE_CHUNK_ENCODER_H

#include "chunk_header.h"

struct encoder;
int encoder_create(struct store *store, struct encoder **ret_encoder);
void encoder_destroy(struct encoder *encoder);
/* A stored form of a chunk; valid until the encoder's next run. */
struct form {
	const uint8_t *data;
	size_t len;
	/* Other chunks that it is made of, and the chunks to read before it. */
	unsigned base_count, depth;
	uint64_t bases[SPLICE_BASES];
};

/* Encode the chunk, whose content has this hash, without a base. */
void encoder_run(struct encoder *encoder, const struct chunk *chunk,
                 const uint8_t hash[16], struct form *ret_form);
/*
 * Encode the chunk as a delta, at `depth`, against the chunk that is stored as
 * base_number.  If the delta saves a quarter of *form, which has the form
 * without a base, replace *form and return true.
 */
bool encoder_run_delta(struct encoder *encoder, const struct chunk *chunk,
                       const uint8_t hash[16], const struct chunk *base,
                       uint64_t base_number, unsigned depth, struct form *form);
/* Return true if the chunk is or could become a patch of the replaced one. */
bool chunk_is_patch(const struct chunk *chunk);
/*
 * Encode a chunk for which chunk_is_patch() is true as a patch of the replaced
 * chunk, which is stored as base_number and has this header.
 */
void encoder_run_patch(struct encoder *encoder, const struct chunk *chunk,
                       const struct chunk_header *base, uint64_t base_number,
                       struct form *ret_form);
/*
 * Encode the chunk as a splice of the bases that *form names, at its depth.
 * Return true, and complete *form, if its payload has at most `most` bytes.
 */
bool encoder_run_splice(struct encoder *encoder, const struct chunk *chunk,
                        const uint8_t hash[16], const struct splice *splice,
                        size_t most, struct form *form);

#endif
