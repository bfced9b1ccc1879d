/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stored form of a chunk: a header (tag, lengths, hash of the content) and
 * a payload, cut into fragments of at most DISK_VALUE_MAX bytes.  The payload
 * is the content as it is, compressed, compressed with another chunk as prefix,
 * or the parts in which it differs from another chunk.
 */
#include "chunk_codec.h"

#include <errno.h>
#include <limits.h>
#include <xxhash.h>
#include <zstd.h>

#include "codec.h"
#include "engine.h"
#include "lock.h"
#include "node_codec.h"

/* ---- Hash and header ---------------------------------------------------- */

void chunk_hash(const struct chunk *chunk, uint8_t ret_hash[16])
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical,
	                         XXH3_128bits(chunk->data, chunk->len));
	memcpy(ret_hash, canonical.digest, 16);
}

static bool tag_has_base(enum block_tag tag)
{
	return tag == BLOCK_TAG_DELTA || tag == BLOCK_TAG_SPARSE_DELTA;
}

static size_t chunk_header_encode(const struct chunk_header *h, uint8_t *out)
{
	struct writer w = writer_init(out, CHUNK_HEADER_MAX);

	put_u8(&w, (uint8_t)h->tag);
	put_varint(&w, h->len);
	put_varint(&w, h->stored);
	if (tag_has_base(h->tag)) {
		put_varint(&w, h->base);
		put_u8(&w, h->depth);
	}
	put_bytes(&w, h->hash, 16);
	return writer_len(&w);
}

int chunk_header_decode(const void *data, size_t len,
                        struct chunk_header *ret_header)
{
	struct reader r = reader_init(data, len);
	struct chunk_header h = {0};
	const uint8_t *hash;
	uint64_t content, stored;

	h.tag = get_u8(&r);
	content = get_varint(&r);
	stored = get_varint(&r);
	if (tag_has_base(h.tag)) {
		h.base = get_varint(&r);
		h.depth = get_u8(&r);
	}
	hash = reader_take(&r, 16);
	if (!hash || content > (1 << 17) || stored > (1 << 17) ||
	    (h.tag != BLOCK_TAG_RAW && h.tag != BLOCK_TAG_ZSTD &&
	     !tag_has_base(h.tag)) ||
	    (tag_has_base(h.tag) &&
	     (!h.base || !h.depth || h.depth > CHUNK_DEPTH_MAX)) ||
	    (h.tag == BLOCK_TAG_RAW && stored != content))
		return -EUCLEAN;
	h.len = (uint32_t)content;
	h.stored = (uint32_t)stored;
	memcpy(h.hash, hash, 16);
	h.header_len = (uint32_t)(len - reader_left(&r));
	*ret_header = h;
	return 0;
}

int chunk_header_get(struct store *store, MDB_txn *txn, uint64_t number,
                     struct chunk_header *ret_header)
{
	MDB_val value;
	int r = disk_get(txn, store->disk.blocks, number << DISK_FRAGMENT_BITS,
	                 &value);

	return r < 0 ? r
	             : chunk_header_decode(value.mv_data, value.mv_size,
	                                   ret_header);
}

/* ---- Decoding ----------------------------------------------------------- */

/* The state of a decompression, kept for the next one. */
struct decoder {
	struct decoder *next;
	ZSTD_DCtx *zstd;
	uint8_t payload[1 << 17];
};

static struct decoder *decoder_get(struct store *store)
{
	struct decoder *decoder;

	pthread_mutex_lock(&store->disk.pool_lock);
	decoder = store->decoders;
	if (decoder)
		store->decoders = decoder->next;
	pthread_mutex_unlock(&store->disk.pool_lock);
	if (decoder)
		return decoder;
	decoder = malloc(sizeof(*decoder));
	if (!decoder)
		return NULL;
	decoder->zstd = ZSTD_createDCtx();
	if (!decoder->zstd) {
		free(decoder);
		return NULL;
	}
	return decoder;
}

static void decoder_put(struct store *store, struct decoder *decoder)
{
	pthread_mutex_lock(&store->disk.pool_lock);
	decoder->next = store->decoders;
	store->decoders = decoder;
	pthread_mutex_unlock(&store->disk.pool_lock);
}

int decoder_unpack(struct store *store, const void *prefix, size_t prefix_len,
                   const void *data, size_t len, void *out, size_t capacity,
                   size_t *ret_len)
{
	struct decoder *decoder = decoder_get(store);
	size_t n = 0;

	if (!decoder)
		return -ENOMEM;
	if (prefix)
		n = ZSTD_DCtx_refPrefix(decoder->zstd, prefix, prefix_len);
	if (!ZSTD_isError(n))
		n = ZSTD_decompressDCtx(decoder->zstd, out, capacity, data,
		                        len);
	decoder_put(store, decoder);
	if (ZSTD_isError(n))
		return -EUCLEAN;
	*ret_len = n;
	return 0;
}

void decoder_destroy_all(struct store *store)
{
	while (store->decoders) {
		struct decoder *next = store->decoders->next;

		ZSTD_freeDCtx(store->decoders->zstd);
		free(store->decoders);
		store->decoders = next;
	}
}

/*
 * Gather the payload from the fragments; the cursor stands on the first, whose
 * bytes are in *value.
 */
static int payload_read(MDB_cursor *cursor, uint64_t number, MDB_val *value,
                        const struct chunk_header *h, uint8_t *out)
{
	size_t at = 0, skip = h->header_len;
	uint64_t key_number, want = number << DISK_FRAGMENT_BITS;
	MDB_val key;

	for (;;) {
		size_t n = value->mv_size - skip;

		if (n > h->stored - at)
			return -EUCLEAN;
		memcpy(out + at, (const uint8_t *)value->mv_data + skip, n);
		at += n;
		if (at == h->stored)
			return 0;
		skip = 0;
		if (disk_cursor_get(cursor, &key, value, MDB_NEXT))
			return -EUCLEAN;
		memcpy(&key_number, key.mv_data, sizeof(key_number));
		if (key_number != ++want || !value->mv_size)
			return -EUCLEAN;
	}
}

/*
 * The base of a delta has a lower number, so chains end, and its depth is one
 * less, so they end soon.
 */
static int chunk_base(struct store *store, MDB_txn *txn, uint64_t number,
                      const struct chunk_header *h, struct chunk **ret_base)
{
	struct chunk_header base;
	int r;

	if (h->base >= number)
		return -EUCLEAN;
	r = chunk_header_get(store, txn, h->base, &base);
	if (r == 0 && base.depth + 1 != h->depth)
		r = -EUCLEAN;
	if (r == 0)
		r = chunk_decode(store, txn, h->base, ret_base);
	return r == -ENOENT ? -EUCLEAN : r;
}

static int payload_unpack(struct decoder *decoder, const struct chunk_header *h,
                          const struct chunk *base, struct chunk *chunk)
{
	size_t n = 0;

	if (base)
		n = ZSTD_DCtx_refPrefix(decoder->zstd, base->data, base->len);
	if (!ZSTD_isError(n))
		n = ZSTD_decompressDCtx(decoder->zstd, chunk->data,
		                        chunk->capacity, decoder->payload,
		                        h->stored);
	return ZSTD_isError(n) || n != h->len ? -EUCLEAN : 0;
}

/* ---- Sparse deltas
 * ------------------------------------------------------------ */

enum {
	PATCH_HEAD = 8,
	PATCH_SHARE = 4, /* at most one in so many of the parts of a chunk */
};

static uint32_t part_len(const struct store *store, uint32_t len, unsigned part)
{
	uint32_t full = 1u << (store->geometry.chunk_bits - CHUNK_PARTS_BITS);
	uint64_t from = (uint64_t)part * full;

	return from >= len ? 0 : MIN(full, len - (uint32_t)from);
}

/* Return the bytes of the parts in the bit map, for a chunk of `len` bytes. */
static uint32_t parts_len(const struct store *store, uint32_t len,
                          uint64_t parts)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < CHUNK_PARTS; i++)
		if (parts >> i & 1)
			sum += part_len(store, len, i);
	return sum;
}

/* Copy parts from the chunk to `out`, one after the other, or back. */
static void parts_copy(struct chunk *chunk, uint64_t parts, uint8_t *out,
                       bool back)
{
	unsigned bits = chunk->store->geometry.chunk_bits - CHUNK_PARTS_BITS;

	for (unsigned i = 0; i < CHUNK_PARTS; i++) {
		uint8_t *part = chunk->data + ((size_t)i << bits);
		uint32_t n;

		if (!(parts >> i & 1))
			continue;
		n = part_len(chunk->store, chunk->len, i);
		memcpy(back ? part : out, back ? out : part, n);
		out += n;
	}
}

static int sparse_delta_apply(struct decoder *decoder,
                              const struct chunk_header *h,
                              const struct chunk *base, struct chunk *chunk)
{
	const struct store *store = chunk->store;
	uint8_t *bytes = decoder->payload + PATCH_HEAD;
	uint32_t want, have = h->stored - PATCH_HEAD;
	_cleanup_free_ uint8_t *unpacked = NULL;
	uint64_t parts;

	if (h->stored < PATCH_HEAD || h->len > 1u << store->geometry.chunk_bits)
		return -EUCLEAN;
	parts = be64_get(decoder->payload);
	want = parts_len(store, h->len, parts);
	if (have > want)
		return -EUCLEAN;
	if (have < want) {
		unpacked = malloc(want);
		if (!unpacked)
			return -ENOMEM;
		if (ZSTD_decompressDCtx(decoder->zstd, unpacked, want, bytes,
		                        have) != want)
			return -EUCLEAN;
		bytes = unpacked;
	}
	chunk->len = h->len;
	memcpy(chunk->data, base->data, MIN(base->len, h->len));
	/*
	 * Bytes that neither has are damage; set them to zero, so that the
	 * result is always the same.
	 */
	if (base->len < h->len)
		memset(chunk->data + base->len, 0, h->len - base->len);
	parts_copy(chunk, parts, bytes, true);
	return 0;
}

static int chunk_unpack(struct store *store, MDB_cursor *cursor,
                        uint64_t number, MDB_val *value,
                        const struct chunk_header *h, struct chunk *chunk)
{
	struct decoder *decoder;
	struct chunk *base = NULL;
	int r;

	if (h->tag == BLOCK_TAG_RAW)
		return payload_read(cursor, number, value, h, chunk->data);
	decoder = decoder_get(store);
	if (!decoder)
		return -ENOMEM;
	r = payload_read(cursor, number, value, h, decoder->payload);
	if (r == 0 && h->base)
		r = chunk_base(store, mdb_cursor_txn(cursor), number, h, &base);
	if (r == 0)
		r = h->tag == BLOCK_TAG_SPARSE_DELTA
		            ? sparse_delta_apply(decoder, h, base, chunk)
		            : payload_unpack(decoder, h, base, chunk);
	chunk_unref(base);
	decoder_put(store, decoder);
	return r;
}

int chunk_decode(struct store *store, MDB_txn *txn, uint64_t number,
                 struct chunk **ret_chunk)
{
	uint64_t id = number << DISK_FRAGMENT_BITS;
	MDB_val key = {sizeof(id), &id}, value;
	struct chunk *chunk = NULL;
	struct chunk_header h;
	MDB_cursor *cursor;
	uint8_t hash[16];
	int r;

	r = disk_error(disk_cursor_open(txn, store->disk.blocks, &cursor));
	if (r < 0)
		return r;
	r = disk_error(disk_cursor_get(cursor, &key, &value, MDB_SET));
	if (r == 0)
		r = chunk_header_decode(value.mv_data, value.mv_size, &h);
	if (r == 0) {
		chunk = chunk_alloc(store, h.len);
		r = chunk ? chunk_unpack(store, cursor, number, &value, &h,
		                         chunk)
		          : -ENOMEM;
	}
	mdb_cursor_close(cursor);
	if (r == 0) {
		chunk->len = h.len;
		chunk_hash(chunk, hash);
		if (memcmp(hash, h.hash, sizeof(hash)))
			r = -EUCLEAN;
	}
	if (r < 0) {
		chunk_unref(chunk);
		return r;
	}
	*ret_chunk = chunk;
	return 0;
}
int stored_block_get(struct store *store, MDB_txn *txn, uint64_t number,
                     struct stored_block *ret_block)
{
	struct stored_block b = {.target = number};
	struct chunk_header h;
	MDB_val value;
	int r;

	r = disk_get(txn, store->disk.blocks, number << DISK_FRAGMENT_BITS,
	             &value);
	/*
	 * The content of a freed chunk may remain under its number, but then no
	 * tree refers to the number and it is not looked up.
	 */
	if (r == -ENOENT) {
		r = disk_get_u64(txn, store->disk.dedup_refs, number,
		                 &b.target);
		b.is_chunk = b.is_dedup_ref = true;
	} else if (r == 0 && value.mv_size && !block_tag_is_node(&value)) {
		r = chunk_header_decode(value.mv_data, value.mv_size, &h);
		b.is_chunk = true;
		b.bytes = r < 0 ? 0 : h.header_len + h.stored;
		b.hash64 = r < 0 ? 0 : be64_get(h.hash);
	} else if (r == 0) {
		b.bytes = value.mv_size;
	}
	if (r < 0)
		return r;
	*ret_block = b;
	return 0;
}
/* ---- Encoding ----------------------------------------------------------- */

enum {
	NOISE_MIN = 128,
	NOISE_SAMPLE = 4096,
	LEVEL_FAST = -5,
	LEVEL_DELTA = 4, /* more for a delta */
};

struct encoder {
	ZSTD_CCtx *zstd;
	struct encoder *delta; /* with a window that reaches into the base */
	struct chunk *parts;   /* those of a sparse delta */
	int level;
	size_t capacity;
	uint8_t out[];
};

static struct encoder *encoder_alloc(struct store *store, bool delta)
{
	unsigned bits = store->geometry.chunk_bits;
	size_t capacity =
	        CHUNK_HEADER_MAX + PATCH_HEAD + ZSTD_compressBound(1u << bits);
	struct encoder *encoder = malloc(sizeof(*encoder) + capacity);

	if (!encoder)
		return NULL;
	encoder->delta = NULL;
	encoder->parts = NULL;
	encoder->capacity = capacity;
	encoder->level = store->options.level;
	encoder->zstd = ZSTD_createCCtx();
	if (!encoder->zstd) {
		free(encoder);
		return NULL;
	}
	if (delta) {
		/*
		 * Content that resembles its prefix compresses fast at any
		 * level.
		 */
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
		encoder->parts =
		        chunk_alloc(store, (1u << store->geometry.chunk_bits) /
		                                   PATCH_SHARE);
	}
	if (!encoder || !encoder->delta || !encoder->parts) {
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
	chunk_unref(encoder->parts);
	ZSTD_freeCCtx(encoder->zstd);
	free(encoder);
}

/*
 * Return true if all byte values are about equally likely, which is measured by
 * how often two of the bytes are equal: once in 256 then.
 */
static bool bytes_are_noise(const uint8_t *data, uint32_t len)
{
	uint32_t counts[256] = {0};
	uint64_t pairs = 0, n = len;

	for (uint32_t i = 0; i < len; i++)
		counts[data[i]]++;
	for (int i = 0; i < 256; i++)
		pairs += (uint64_t)counts[i] * counts[i];
	pairs -= n;
	return pairs * 256 < n * n + n * n / 4;
}

/*
 * Return the level to compress at.  Content that looks random (keys, hashes,
 * compressed data) is not compressed at all if it is small (INT_MIN).  If it is
 * large it may repeat itself, which the fastest level of zstd finds as well.
 */
static int chunk_level(const struct chunk *chunk, int level)
{
	if (chunk->len < NOISE_MIN)
		return level;
	if (chunk->len < NOISE_SAMPLE)
		return bytes_are_noise(chunk->data, chunk->len) ? INT_MIN
		                                                : level;
	return bytes_are_noise(chunk->data, NOISE_SAMPLE) &&
	                       bytes_are_noise(chunk->data + chunk->len -
	                                               NOISE_SAMPLE,
	                                       NOISE_SAMPLE)
	               ? MIN(level, LEVEL_FAST)
	               : level;
}

/*
 * Write the header directly in front of the payload, at the end of the space
 * left for it.
 */
static void encoder_finish(struct encoder *encoder, struct chunk_header *h,
                           size_t payload_len, const uint8_t **ret_data,
                           size_t *ret_len)
{
	uint8_t head[CHUNK_HEADER_MAX];
	size_t head_len;

	h->stored = (uint32_t)payload_len;
	head_len = chunk_header_encode(h, head);
	*ret_data = encoder->out + CHUNK_HEADER_MAX - head_len;
	memcpy(encoder->out + CHUNK_HEADER_MAX - head_len, head, head_len);
	*ret_len = head_len + payload_len;
}

int encoder_run(struct encoder *encoder, const struct chunk *chunk,
                const uint8_t hash[16], const uint8_t **ret_data,
                size_t *ret_len)
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
	encoder_finish(encoder, &h, n, ret_data, ret_len);
	return 0;
}

int encoder_run_delta(struct encoder *encoder, const struct chunk *chunk,
                      const uint8_t hash[16], const struct chunk *base,
                      uint64_t base_number, unsigned depth, size_t plain_len,
                      const uint8_t **ret_data, size_t *ret_len)
{
	struct encoder *delta = encoder->delta;
	struct chunk_header h = {
	        .tag = BLOCK_TAG_DELTA,
	        .len = chunk->len,
	        .base = base_number,
	        .depth = (uint8_t)depth,
	};
	size_t n = ZSTD_CCtx_refPrefix(delta->zstd, base->data, base->len);

	if (!ZSTD_isError(n))
		n = ZSTD_compress2(delta->zstd, delta->out + CHUNK_HEADER_MAX,
		                   delta->capacity - CHUNK_HEADER_MAX,
		                   chunk->data, chunk->len);
	/*
	 * A delta that makes the chunk depend on another must save a quarter.
	 */
	if (ZSTD_isError(n) || n > plain_len / 4 * 3)
		return 0;
	memcpy(h.hash, hash, 16);
	encoder_finish(delta, &h, n, ret_data, ret_len);
	return 1;
}

bool chunk_is_sparse_delta(const struct chunk *chunk)
{
	return chunk->replaces && chunk->same &&
	       parts_len(chunk->store, chunk->len, ~chunk->same) <=
	               chunk->len / PATCH_SHARE;
}

void encoder_run_sparse(struct encoder *encoder, const struct chunk *chunk,
                        const uint8_t hash[16], uint64_t base_number,
                        unsigned depth, const uint8_t **ret_data,
                        size_t *ret_len)
{
	uint8_t *payload = encoder->out + CHUNK_HEADER_MAX;
	uint8_t *out = payload + PATCH_HEAD;
	struct chunk_header h = {
	        .tag = BLOCK_TAG_SPARSE_DELTA,
	        .len = chunk->len,
	        .base = base_number,
	        .depth = (uint8_t)depth,
	};
	struct chunk *parts = encoder->parts;
	uint64_t differ = ~chunk->same;
	size_t n = SIZE_MAX;
	int level;

	parts->len = parts_len(chunk->store, chunk->len, differ);
	parts_copy((struct chunk *)chunk, differ, parts->data, false);
	level = chunk_level(parts, encoder->level);
	if (level != INT_MIN)
		n = ZSTD_compressCCtx(encoder->zstd, out,
		                      encoder->capacity - CHUNK_HEADER_MAX -
		                              PATCH_HEAD,
		                      parts->data, parts->len, level);
	if (n > parts->len - parts->len / 16) {
		n = parts->len;
		memcpy(out, parts->data, n);
	}
	be64_put(payload, differ);
	memcpy(h.hash, hash, 16);
	encoder_finish(encoder, &h, PATCH_HEAD + n, ret_data, ret_len);
}
