/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stored form of a chunk: a header (tag, lengths, hash of the content) and
 * a payload, cut into fragments of at most DISK_VALUE_MAX bytes.  The payload
 * is the content as it is, compressed, compressed with another chunk as prefix,
 * or the parts in which it differs from another chunk.
 */
#include "chunk_codec.h"

#include <errno.h>
#include <xxhash.h>
#include <zstd.h>

#include "codec.h"
#include "engine.h"
#include "lock.h"

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
	return tag == BLOCK_TAG_DELTA || tag == BLOCK_TAG_SPARSE_DELTA ||
	       tag == BLOCK_TAG_SPLICE;
}

size_t chunk_header_encode(const struct chunk_header *h,
                           uint8_t out[CHUNK_HEADER_MAX])
{
	struct writer w = writer_init(out, CHUNK_HEADER_MAX);

	put_u8(&w, (uint8_t)h->tag);
	put_varint(&w, h->len);
	put_varint(&w, h->stored);
	if (h->tag == BLOCK_TAG_SPLICE)
		put_u8(&w, (uint8_t)h->base_count);
	if (tag_has_base(h->tag)) {
		for (unsigned i = 0; i < h->base_count; i++)
			put_varint(&w, h->bases[i]);
		put_u8(&w, h->depth);
	}
	put_bytes(&w, h->hash, 16);
	return writer_len(&w);
}

/* Decode what says of which chunks this one is made.  false: it is not valid.
 */
static bool bases_decode(struct reader *r, struct chunk_header *h)
{
	h->base_count = h->tag == BLOCK_TAG_SPLICE ? get_u8(r) : 1;
	if (h->base_count > SPLICE_BASES)
		return false;
	for (unsigned i = 0; i < h->base_count; i++) {
		h->bases[i] = get_varint(r);
		if (!h->bases[i])
			return false;
	}
	h->depth = get_u8(r);
	return h->base_count && h->depth && h->depth <= CHUNK_DEPTH_MAX;
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
	if (tag_has_base(h.tag) && !bases_decode(&r, &h))
		return -EUCLEAN;
	hash = reader_take(&r, 16);
	if (!hash || content > (1 << 17) || stored > (1 << 17) ||
	    (h.tag != BLOCK_TAG_RAW && h.tag != BLOCK_TAG_ZSTD &&
	     !tag_has_base(h.tag)) ||
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

/* Read the header of a base, which has a lower number: so chains end. */
static int base_header(struct store *store, MDB_txn *txn, uint64_t number,
                       uint64_t base, struct chunk_header *ret_header)
{
	int r;

	if (base >= number)
		return -EUCLEAN;
	r = chunk_header_get(store, txn, base, ret_header);
	return r == -ENOENT ? -EUCLEAN : r;
}

/* Read the base of a delta.  Its depth is one less, so that chains end soon. */
static int chunk_base(struct store *store, MDB_txn *txn, uint64_t number,
                      const struct chunk_header *h, struct chunk **ret_base)
{
	struct chunk_header base;
	int r = base_header(store, txn, number, h->bases[0], &base);

	if (r == 0 && base.depth + 1 != h->depth)
		r = -EUCLEAN;
	if (r == 0)
		r = chunk_decode(store, txn, h->bases[0], ret_base);
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

/* ---- Sparse deltas ------------------------------------------------------ */

static uint32_t part_len(const struct store *store, uint32_t len, unsigned part)
{
	uint32_t full = 1u << (store->geometry.chunk_bits - CHUNK_PARTS_BITS);
	uint64_t from = (uint64_t)part * full;

	return from >= len ? 0 : MIN(full, len - (uint32_t)from);
}

uint32_t parts_len(const struct store *store, uint32_t len, uint64_t parts)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < CHUNK_PARTS; i++)
		if (parts >> i & 1)
			sum += part_len(store, len, i);
	return sum;
}

void parts_copy(struct chunk *chunk, uint64_t parts, uint8_t *out, bool back)
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
	uint8_t *bytes = decoder->payload + SPARSE_HEAD;
	uint32_t want, have = h->stored - SPARSE_HEAD;
	_cleanup_free_ uint8_t *unpacked = NULL;
	uint64_t parts;

	if (h->stored < SPARSE_HEAD ||
	    h->len > 1u << store->geometry.chunk_bits)
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

/* ---- Splices ------------------------------------------------------------ */

unsigned splice_base_cost(const struct chunk_header *base)
{
	return base->tag == BLOCK_TAG_SPLICE ? 1 : base->depth + 1u;
}

/* Unpack a splice's own bytes, of which there are `want`, from its payload. */
static int own_unpack(struct decoder *decoder, const uint8_t *bytes, size_t len,
                      uint8_t *out, uint32_t want)
{
	if (len > want)
		return -EUCLEAN;
	if (len == want)
		memcpy(out, bytes, len);
	else if (ZSTD_decompressDCtx(decoder->zstd, out, want, bytes, len) !=
	         want)
		return -EUCLEAN;
	return 0;
}

/* Return a chunk of the own bytes of the splice in the decoder. */
static int splice_own_get(struct store *store, struct decoder *decoder,
                          const struct chunk_header *h, struct splice *splice,
                          struct chunk **ret_own)
{
	struct chunk *own;
	size_t head;
	int r = splice_decode(decoder->payload, h->stored, h->len,
	                      h->base_count, splice, &head);

	if (r < 0)
		return r;
	own = chunk_alloc(store, splice_own(splice));
	if (!own)
		return -ENOMEM;
	own->len = own->capacity;
	r = own_unpack(decoder, decoder->payload + head, h->stored - head,
	               own->data, own->len);
	if (r < 0) {
		chunk_unref(own);
		return r;
	}
	*ret_own = own;
	return 0;
}

/* Read the payload of the chunk stored as `number` into a decoder. */
static int payload_get(struct store *store, MDB_txn *txn, uint64_t number,
                       struct chunk_header *ret_header, struct decoder *decoder)
{
	uint64_t id = number << DISK_FRAGMENT_BITS;
	MDB_val key = {sizeof(id), &id}, value;
	MDB_cursor *cursor;
	int r = disk_error(disk_cursor_open(txn, store->disk.blocks, &cursor));

	if (r < 0)
		return r;
	r = disk_error(disk_cursor_get(cursor, &key, &value, MDB_SET));
	if (r == 0)
		r = chunk_header_decode(value.mv_data, value.mv_size,
		                        ret_header);
	if (r == 0)
		r = payload_read(cursor, number, &value, ret_header,
		                 decoder->payload);
	mdb_cursor_close(cursor);
	return r;
}

int chunk_splice_get(struct store *store, MDB_txn *txn, uint64_t number,
                     struct splice *ret)
{
	struct decoder *decoder = decoder_get(store);
	struct chunk_header h;
	size_t head;
	int r;

	if (!decoder)
		return -ENOMEM;
	r = payload_get(store, txn, number, &h, decoder);
	if (r == 0)
		r = h.tag != BLOCK_TAG_SPLICE
		            ? -EUCLEAN
		            : splice_decode(decoder->payload, h.stored, h.len,
		                            h.base_count, ret, &head);
	decoder_put(store, decoder);
	return r == -ENOENT ? -EUCLEAN : r;
}

/* Read the flat bytes of a base of a splice. */
static int flat_get(struct store *store, MDB_txn *txn, uint64_t number,
                    struct chunk **ret_flat)
{
	struct decoder *decoder;
	struct chunk_header h;
	struct splice splice;
	int r = chunk_header_get(store, txn, number, &h);

	if (r < 0 || h.tag != BLOCK_TAG_SPLICE)
		return r < 0 ? r : chunk_decode(store, txn, number, ret_flat);
	decoder = decoder_get(store);
	if (!decoder)
		return -ENOMEM;
	r = payload_get(store, txn, number, &h, decoder);
	if (r == 0)
		r = splice_own_get(store, decoder, &h, &splice, ret_flat);
	decoder_put(store, decoder);
	return r;
}

/* Check that so many chunks as the header says are read before this one. */
static int splice_check(struct store *store, MDB_txn *txn, uint64_t number,
                        const struct chunk_header *h)
{
	unsigned cost = 0;

	for (unsigned i = 0; i < h->base_count; i++) {
		struct chunk_header base;
		int r = base_header(store, txn, number, h->bases[i], &base);

		if (r < 0)
			return r;
		cost += splice_base_cost(&base);
	}
	return cost == h->depth ? 0 : -EUCLEAN;
}

/* Copy the pieces of one base, or with 0 the own bytes, to their places. */
static int pieces_copy(const struct splice *splice, unsigned base,
                       const struct chunk *flat, struct chunk *chunk)
{
	uint8_t *out = chunk->data;

	for (unsigned i = 0; i < splice->count; i++) {
		const struct splice_piece *piece = &splice->pieces[i];

		if (piece->base == base) {
			if (piece->from > flat->len ||
			    piece->len > flat->len - piece->from)
				return -EUCLEAN;
			memcpy(out, flat->data + piece->from, piece->len);
		}
		out += piece->len;
	}
	return 0;
}

static int splice_apply(struct store *store, MDB_txn *txn, uint64_t number,
                        struct decoder *decoder, const struct chunk_header *h,
                        struct chunk *chunk)
{
	struct splice splice;
	struct chunk *flat;
	int r = splice_check(store, txn, number, h);

	if (r == 0)
		r = splice_own_get(store, decoder, h, &splice, &flat);
	if (r < 0)
		return r;
	r = pieces_copy(&splice, 0, flat, chunk);
	chunk_unref(flat);
	for (unsigned i = 0; r == 0 && i < h->base_count; i++) {
		r = flat_get(store, txn, h->bases[i], &flat);
		if (r < 0)
			break;
		r = pieces_copy(&splice, i + 1, flat, chunk);
		chunk_unref(flat);
	}
	return r == -ENOENT ? -EUCLEAN : r;
}

/* Unpack a compressed chunk or a delta from its payload. */
static int delta_apply(struct store *store, MDB_txn *txn, uint64_t number,
                       struct decoder *decoder, const struct chunk_header *h,
                       struct chunk *chunk)
{
	struct chunk *base = NULL;
	int r = 0;

	if (h->base_count)
		r = chunk_base(store, txn, number, h, &base);
	if (r == 0)
		r = h->tag == BLOCK_TAG_SPARSE_DELTA
		            ? sparse_delta_apply(decoder, h, base, chunk)
		            : payload_unpack(decoder, h, base, chunk);
	chunk_unref(base);
	return r;
}

static int chunk_unpack(struct store *store, MDB_cursor *cursor,
                        uint64_t number, MDB_val *value,
                        const struct chunk_header *h, struct chunk *chunk)
{
	MDB_txn *txn = mdb_cursor_txn(cursor);
	struct decoder *decoder;
	int r;

	if (h->tag == BLOCK_TAG_RAW)
		return payload_read(cursor, number, value, h, chunk->data);
	decoder = decoder_get(store);
	if (!decoder)
		return -ENOMEM;
	r = payload_read(cursor, number, value, h, decoder->payload);
	if (r == 0)
		r = h->tag == BLOCK_TAG_SPLICE
		            ? splice_apply(store, txn, number, decoder, h,
		                           chunk)
		            : delta_apply(store, txn, number, decoder, h,
		                          chunk);
	decoder_put(store, decoder);
	return r;
}

int chunk_plain(struct store *store, MDB_txn *txn, uint64_t number,
                const uint8_t **ret_data, uint32_t *ret_len)
{
	XXH128_canonical_t hash;
	struct chunk_header h;
	const uint8_t *data;
	MDB_val value;
	int r = disk_get(txn, store->disk.blocks, number << DISK_FRAGMENT_BITS,
	                 &value);

	if (r == 0)
		r = chunk_header_decode(value.mv_data, value.mv_size, &h);
	if (r < 0)
		return r == -ENOENT ? -EAGAIN : r;
	if (h.tag != BLOCK_TAG_RAW || h.header_len + h.len != value.mv_size)
		return -EAGAIN;
	data = (const uint8_t *)value.mv_data + h.header_len;
	XXH128_canonicalFromHash(&hash, XXH3_128bits(data, h.len));
	if (memcmp(hash.digest, h.hash, sizeof(h.hash)))
		return -EUCLEAN;
	*ret_data = data;
	*ret_len = h.len;
	return 0;
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
