/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stored form of a chunk: a header (tag, lengths, hash of the content) and
 * a payload, cut into fragments of at most DISK_VALUE_MAX bytes.  The payload
 * is the content as it is, compressed, compressed with another chunk as prefix,
 * the parts in which it differs from another chunk, or pieces of several.
 */
#include "chunk_codec.h"

#include <errno.h>
#include <xxhash.h>
#include <zstd.h>

#include "codec.h"
#include "engine.h"
#include "lock.h"
#include "parts.h"

void chunk_hash(const struct chunk *chunk, uint8_t ret_hash[16])
{
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical,
	                         XXH3_128bits(chunk->data, chunk->len));
	memcpy(ret_hash, canonical.digest, 16);
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

/* Read the header of a base.  Its number must be lower, so that chains end. */
static int base_header(struct store *store, MDB_txn *txn, uint64_t number,
                       uint64_t base, struct chunk_header *ret_header)
{
	int r;

	if (base >= number)
		return -EUCLEAN;
	r = chunk_header_get(store, txn, base, ret_header);
	return r == -ENOENT ? -EUCLEAN : r;
}

/* Read the base of a delta or patch.  Its depth must be one less. */
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

/* ---- Patches and sparse deltas ------------------------------------------ */

/*
 * Return the bytes of the parts of a patch or sparse delta: those in the
 * decoder, or unpacked to a buffer that the caller frees.
 */
static int parts_unpack(struct store *store, struct decoder *decoder,
                        const struct chunk_header *h, uint8_t **ret_unpacked,
                        uint64_t *ret_parts, const uint8_t **ret_bytes)
{
	const uint8_t *bytes = decoder->payload + PARTS_HEAD;
	_cleanup_free_ uint8_t *unpacked = NULL;
	uint32_t want, have = h->stored - PARTS_HEAD;

	if (h->stored < PARTS_HEAD || h->len > 1u << store->geometry.chunk_bits)
		return -EUCLEAN;
	*ret_parts = be64_get(decoder->payload);
	want = parts_len(store, h->len, *ret_parts);
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
	*ret_bytes = bytes;
	*ret_unpacked = steal(&unpacked);
	return 0;
}

static int sparse_delta_apply(struct decoder *decoder,
                              const struct chunk_header *h,
                              const struct chunk *base, struct chunk *chunk)
{
	_cleanup_free_ uint8_t *unpacked = NULL;
	const uint8_t *bytes = NULL;
	uint64_t parts = 0;
	int r = parts_unpack(chunk->store, decoder, h, &unpacked, &parts,
	                     &bytes);

	if (r < 0)
		return r;
	chunk->len = h->len;
	memcpy(chunk->data, base->data, MIN(base->len, h->len));
	/*
	 * Bytes that neither the base nor the parts have are damage.  Set them
	 * to zero, so that the result is always the same.
	 */
	if (base->len < h->len)
		memset(chunk->data + base->len, 0, h->len - base->len);
	parts_paste(chunk, parts, bytes);
	return 0;
}

/* Verify the patch in the decoder, and paste its parts over its base. */
static int patch_apply(struct store *store, MDB_txn *txn, uint64_t number,
                       struct decoder *decoder, const struct chunk_header *h,
                       struct chunk **ret_chunk)
{
	_cleanup_free_ uint8_t *unpacked = NULL;
	struct chunk *chunk = NULL;
	struct chunk_header base;
	const uint8_t *bytes = NULL;
	uint8_t hash[16];
	uint64_t parts = 0;
	int r = base_header(store, txn, number, h->bases[0], &base);

	if (r == 0)
		r = parts_unpack(store, decoder, h, &unpacked, &parts, &bytes);
	if (r < 0)
		return r;
	parts_hash(store, base.hash, h->len, parts, bytes, hash);
	if (memcmp(hash, h->hash, sizeof(hash)))
		return -EUCLEAN;
	r = chunk_base(store, txn, number, h, &chunk);
	if (r == 0)
		r = chunk_resize(chunk, h->len);
	if (r < 0) {
		chunk_unref(chunk);
		return r;
	}
	parts_paste(chunk, parts, bytes);
	*ret_chunk = chunk;
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

/* Check that the header's depth is the number of chunks read for the bases. */
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

/* Read a patch: its base, with the patch's parts in their places. */
static int patch_decode(struct store *store, MDB_cursor *cursor,
                        uint64_t number, MDB_val *value,
                        const struct chunk_header *h, struct chunk **ret_chunk)
{
	struct decoder *decoder = decoder_get(store);
	int r;

	if (!decoder)
		return -ENOMEM;
	r = payload_read(cursor, number, value, h, decoder->payload);
	if (r == 0)
		r = patch_apply(store, mdb_cursor_txn(cursor), number, decoder,
		                h, ret_chunk);
	decoder_put(store, decoder);
	return r;
}

/* Read a chunk that is verified by the hash of its content. */
static int whole_decode(struct store *store, MDB_cursor *cursor,
                        uint64_t number, MDB_val *value,
                        const struct chunk_header *h, struct chunk **ret_chunk)
{
	struct chunk *chunk = chunk_alloc(store, h->len);
	uint8_t hash[16];
	int r;

	if (!chunk)
		return -ENOMEM;
	r = chunk_unpack(store, cursor, number, value, h, chunk);
	if (r == 0) {
		chunk->len = h->len;
		chunk_hash(chunk, hash);
		if (memcmp(hash, h->hash, sizeof(hash)))
			r = -EUCLEAN;
	}
	if (r < 0) {
		chunk_unref(chunk);
		return r;
	}
	*ret_chunk = chunk;
	return 0;
}

int chunk_decode(struct store *store, MDB_txn *txn, uint64_t number,
                 struct chunk **ret_chunk)
{
	uint64_t id = number << DISK_FRAGMENT_BITS;
	MDB_val key = {sizeof(id), &id}, value;
	struct chunk_header h;
	MDB_cursor *cursor;
	int r;

	r = disk_error(disk_cursor_open(txn, store->disk.blocks, &cursor));
	if (r < 0)
		return r;
	r = disk_error(disk_cursor_get(cursor, &key, &value, MDB_SET));
	if (r == 0)
		r = chunk_header_decode(value.mv_data, value.mv_size, &h);
	/* Callers copy a chunk to buffers of the store's chunk size. */
	if (r == 0 && h.len > store_chunk_size(store))
		r = -EUCLEAN;
	if (r == 0)
		r = h.tag == BLOCK_TAG_PATCH
		            ? patch_decode(store, cursor, number, &value, &h,
		                           ret_chunk)
		            : whole_decode(store, cursor, number, &value, &h,
		                           ret_chunk);
	mdb_cursor_close(cursor);
	return r;
}

/* Gather the payload from the fragments. */
static int fragments_gather(const struct iovec *fragments, size_t count,
                            const struct chunk_header *h, uint8_t *out)
{
	size_t at = 0, skip = h->header_len;

	for (size_t i = 0; i < count; i++) {
		size_t n = fragments[i].iov_len - skip;

		if (n > h->stored - at)
			return -EUCLEAN;
		memcpy(out + at, (const uint8_t *)fragments[i].iov_base + skip,
		       n);
		at += n;
		skip = 0;
	}
	return at == h->stored ? 0 : -EUCLEAN;
}

static int fragments_unpack(struct store *store, const struct iovec *fragments,
                            size_t count, const struct chunk_header *h,
                            struct chunk *chunk)
{
	struct decoder *decoder;
	int r;

	if (h->tag == BLOCK_TAG_RAW)
		return fragments_gather(fragments, count, h, chunk->data);
	decoder = decoder_get(store);
	if (!decoder)
		return -ENOMEM;
	r = fragments_gather(fragments, count, h, decoder->payload);
	if (r == 0)
		r = payload_unpack(decoder, h, NULL, chunk);
	decoder_put(store, decoder);
	return r;
}

int chunk_decode_fragments(struct store *store, const struct iovec *fragments,
                           size_t count, struct chunk **ret_chunk)
{
	struct chunk *chunk;
	struct chunk_header h;
	uint8_t hash[16];
	int r = chunk_header_decode(fragments[0].iov_base, fragments[0].iov_len,
	                            &h);

	if (r < 0 || h.len > store_chunk_size(store))
		return -EUCLEAN;
	if (h.tag != BLOCK_TAG_RAW && h.tag != BLOCK_TAG_ZSTD)
		return -EAGAIN;
	chunk = bulk_chunk_alloc(store);
	if (!chunk)
		return -ENOMEM;
	r = fragments_unpack(store, fragments, count, &h, chunk);
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
