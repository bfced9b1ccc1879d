/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "chunk_encoder.h"

#include <errno.h>
#include <limits.h>
#include <zstd.h>

#include "chunk_codec.h"
#include "codec.h"
#include "engine.h"
#include "parts.h"

enum {
	NOISE_MIN = 128,
	NOISE_SAMPLE = 4096,
	LEVEL_FAST = -5,
	LEVEL_DELTA = 4, /* added to the level for a delta */
	OWN_SHARE = 2,   /* a splice's own bytes: at most 1 in this many */
};

struct encoder {
	ZSTD_CCtx *zstd;
	struct encoder *delta;  /* with a window that reaches into the base */
	struct encoder *splice; /* its buffer is for splices */
	struct chunk *parts;    /* of a patch or splice */
	int level;
	size_t capacity;
	uint8_t out[];
};

static struct encoder *encoder_alloc(struct store *store, bool delta)
{
	unsigned bits = store->geometry.chunk_bits;
	size_t capacity = CHUNK_HEADER_MAX +
	                  MAX((size_t)PARTS_HEAD, (size_t)SPLICE_HEAD_MAX) +
	                  ZSTD_compressBound(1u << bits);
	struct encoder *encoder = malloc(sizeof(*encoder) + capacity);

	if (!encoder)
		return NULL;
	encoder->delta = NULL;
	encoder->splice = NULL;
	encoder->parts = NULL;
	encoder->capacity = capacity;
	encoder->level = store->options.level;
	encoder->zstd = ZSTD_createCCtx();
	if (!encoder->zstd) {
		free(encoder);
		return NULL;
	}
	if (delta) {
		/* Content like its prefix compresses fast at any level. */
		ZSTD_CCtx_setParameter(encoder->zstd, ZSTD_c_compressionLevel,
		                       encoder->level + LEVEL_DELTA);
		ZSTD_CCtx_setParameter(encoder->zstd, ZSTD_c_windowLog,
		                       (int)MAX(bits + 1, 10u));
	}
	return encoder;
}

int encoder_create(struct store *store, struct encoder **ret_encoder)
{
	struct encoder *encoder = encoder_alloc(store, false);

	if (encoder) {
		encoder->delta = encoder_alloc(store, true);
		encoder->splice = encoder_alloc(store, false);
		encoder->parts = chunk_alloc(
		        store, (1u << store->geometry.chunk_bits) / OWN_SHARE);
	}
	if (!encoder || !encoder->delta || !encoder->splice ||
	    !encoder->parts) {
		encoder_destroy(encoder);
		return -ENOMEM;
	}
	*ret_encoder = encoder;
	return 0;
}

void encoder_destroy(struct encoder *encoder)
{
	if (!encoder)
		return;
	encoder_destroy(encoder->delta);
	encoder_destroy(encoder->splice);
	chunk_unref(encoder->parts);
	ZSTD_freeCCtx(encoder->zstd);
	free(encoder);
}

/*
 * Return true if all byte values are about equally likely: two of the bytes are
 * equal about once in 256 pairs.
 */
static bool bytes_are_noise(const uint8_t *data, uint32_t len)
{
	/* Two tables, so that equal adjacent bytes do not stall each other. */
	uint16_t even[256] = {0}, odd[256] = {0};
	uint32_t pairs = 0;
	uint64_t n = len;

	for (uint32_t i = 0; i + 1 < len; i += 2) {
		even[data[i]]++;
		odd[data[i + 1]]++;
	}
	if (len % 2)
		even[data[len - 1]]++;
	for (int i = 0; i < 256; i++) {
		uint32_t count = (uint32_t)even[i] + odd[i];

		pairs += count * count;
	}
	return (pairs - n) * 256 < n * n + n * n / 4;
}
_Static_assert(NOISE_SAMPLE <= UINT16_MAX, "counts and their squares fit");

/*
 * Return the level to compress at; INT_MIN: not at all, because the content is
 * small and looks random (keys, hashes, compressed data).  Large content that
 * looks random may repeat itself, which the fastest level of zstd finds, too.
 */
static int chunk_level(const struct chunk *chunk, int level)
{
	if (chunk->len < NOISE_MIN)
		return level;
	if (chunk->len < NOISE_SAMPLE)
		return bytes_are_noise(chunk->data, chunk->len) ? INT_MIN
		                                                : level;
	if (!bytes_are_noise(chunk->data, NOISE_SAMPLE))
		return level;
	/* The sample is all of a patch of one page. */
	if (chunk->len > NOISE_SAMPLE &&
	    !bytes_are_noise(chunk->data + chunk->len - NOISE_SAMPLE,
	                     NOISE_SAMPLE))
		return level;
	return MIN(level, LEVEL_FAST);
}

/*
 * Write the header directly before the payload, at the end of the space that
 * is left for it.
 */
static void encoder_finish(struct encoder *encoder, struct chunk_header *h,
                           size_t payload_len, struct form *ret_form)
{
	uint8_t head[CHUNK_HEADER_MAX];
	struct form form = {.base_count = h->base_count, .depth = h->depth};
	size_t head_len;

	h->stored = (uint32_t)payload_len;
	head_len = chunk_header_encode(h, head);
	form.data = encoder->out + CHUNK_HEADER_MAX - head_len;
	memcpy(encoder->out + CHUNK_HEADER_MAX - head_len, head, head_len);
	form.len = head_len + payload_len;
	memcpy(form.bases, h->bases, sizeof(form.bases));
	*ret_form = form;
}

void encoder_run(struct encoder *encoder, const struct chunk *chunk,
                 const uint8_t hash[16], struct form *ret_form)
{
	uint8_t *payload = encoder->out + CHUNK_HEADER_MAX;
	struct chunk_header h = {.tag = BLOCK_TAG_ZSTD, .len = chunk->len};
	int level = chunk_level(chunk, encoder->level);
	size_t n = SIZE_MAX;

	if (level != INT_MIN)
		n = ZSTD_compressCCtx(encoder->zstd, payload,
		                      encoder->capacity - CHUNK_HEADER_MAX,
		                      chunk->data, chunk->len, level);
	/* A saving below one part in sixteen is not worth the reading. */
	if (n > chunk->len - chunk->len / 16) { /* errors are large numbers */
		h.tag = BLOCK_TAG_RAW;
		n = chunk->len;
		memcpy(payload, chunk->data, n);
	}
	memcpy(h.hash, hash, 16);
	encoder_finish(encoder, &h, n, ret_form);
}

bool encoder_run_delta(struct encoder *encoder, const struct chunk *chunk,
                       const uint8_t hash[16], const struct chunk *base,
                       uint64_t base_number, unsigned depth, struct form *form)
{
	struct encoder *delta = encoder->delta;
	struct chunk_header h = {
	        .tag = BLOCK_TAG_DELTA,
	        .len = chunk->len,
	        .base_count = 1,
	        .bases = {base_number},
	        .depth = (uint8_t)depth,
	};
	size_t n = ZSTD_CCtx_refPrefix(delta->zstd, base->data, base->len);

	if (!ZSTD_isError(n))
		n = ZSTD_compress2(delta->zstd, delta->out + CHUNK_HEADER_MAX,
		                   delta->capacity - CHUNK_HEADER_MAX,
		                   chunk->data, chunk->len);
	/* A delta must save a quarter: it depends on another chunk. */
	if (ZSTD_isError(n) || n > form->len / 4 * 3)
		return false;
	memcpy(h.hash, hash, 16);
	encoder_finish(delta, &h, n, form);
	return true;
}

/* ---- Parts of a chunk --------------------------------------------------- */

/*
 * Compress encoder->parts to `out`, or copy them if that saves little.  Return
 * the length.
 */
static size_t parts_pack(struct encoder *encoder, uint8_t *out, size_t capacity)
{
	const struct chunk *parts = encoder->parts;
	int level = chunk_level(parts, encoder->level);
	size_t n = SIZE_MAX;

	if (level != INT_MIN)
		n = ZSTD_compressCCtx(encoder->zstd, out, capacity, parts->data,
		                      parts->len, level);
	if (n <= parts->len - parts->len / 16)
		return n;
	memcpy(out, parts->data, parts->len);
	return parts->len;
}

bool chunk_is_patch(const struct chunk *chunk)
{
	return chunk->block.kind == BLOCK_PATCH ||
	       (chunk->replaces && chunk->same &&
	        parts_len(chunk->store, chunk->len, ~chunk->same) <=
	                chunk->len / PARTS_SHARE);
}

void encoder_run_patch(struct encoder *encoder, const struct chunk *chunk,
                       const struct chunk_header *base, uint64_t base_number,
                       struct form *ret_form)
{
	uint8_t *payload = encoder->out + CHUNK_HEADER_MAX;
	struct chunk_header h = {
	        .tag = BLOCK_TAG_PATCH,
	        .len = chunk->len,
	        .base_count = 1,
	        .bases = {base_number},
	        .depth = (uint8_t)(base->depth + 1),
	};
	struct chunk *parts = encoder->parts;
	uint64_t own = ~chunk->same & parts_of(chunk->store, 0, chunk->len);
	size_t n;

	parts->len = parts_len(chunk->store, chunk->len, own);
	if (chunk->block.kind == BLOCK_PATCH)
		memcpy(parts->data, chunk->data, parts->len);
	else
		parts_copy(chunk, own, parts->data);
	parts_hash(chunk->store, base->hash, chunk->len, own, parts->data,
	           h.hash);
	n = parts_pack(encoder, payload + PARTS_HEAD,
	               encoder->capacity - CHUNK_HEADER_MAX - PARTS_HEAD);
	be64_put(payload, own);
	encoder_finish(encoder, &h, PARTS_HEAD + n, ret_form);
}

/* Copy the bytes of the chunk that are the splice's own to encoder->parts. */
static void own_copy(struct encoder *encoder, const struct chunk *chunk,
                     const struct splice *splice)
{
	struct chunk *parts = encoder->parts;
	const uint8_t *bytes = chunk->data;

	parts->len = 0;
	for (unsigned i = 0; i < splice->count; i++) {
		uint32_t len = splice->pieces[i].len;

		if (!splice->pieces[i].base) {
			memcpy(parts->data + parts->len, bytes, len);
			parts->len += len;
		}
		bytes += len;
	}
}

bool encoder_run_splice(struct encoder *encoder, const struct chunk *chunk,
                        const uint8_t hash[16], const struct splice *splice,
                        size_t most, struct form *form)
{
	uint8_t *payload = encoder->splice->out + CHUNK_HEADER_MAX;
	struct chunk_header h = {
	        .tag = BLOCK_TAG_SPLICE,
	        .len = chunk->len,
	        .base_count = form->base_count,
	        .depth = (uint8_t)form->depth,
	};
	size_t n;

	if (splice_own(splice) > chunk->len / OWN_SHARE)
		return false;
	own_copy(encoder, chunk, splice);
	n = splice_encode(splice, payload);
	n += parts_pack(encoder, payload + n,
	                encoder->capacity - CHUNK_HEADER_MAX - n);
	if (n > most)
		return false;
	memcpy(h.bases, form->bases, sizeof(h.bases));
	memcpy(h.hash, hash, 16);
	encoder_finish(encoder->splice, &h, n, form);
	return true;
}
