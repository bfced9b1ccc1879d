/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stored forms of a tree node: as it is, or compressed.  A compressed node
 * is a tag, the number of another node (the base) or 0, a checksum, and the
 * node without its tag and checksum, compressed with the base as prefix.  So a
 * copy of a node takes little more than its changes.  A base has no base
 * itself: decoding a node needs one more read at most.
 */
#include "node_codec.h"

#include <errno.h>
#include <xxhash.h>
#include <zstd.h>

#include "chunk_codec.h"
#include "codec.h"
#include "engine.h"
#include "node.h"

enum {
	DELTA_HEAD_MAX = 19,     /* tag, number, checksum */
	DELTA_SKIP = NODE_LEVEL, /* bytes of the node that are left out */
	DELTA_LEVEL = -1,
	DELTA_WINDOW_BITS = 13, /* a node and its prefix */
	/* A node compressed alone must save one byte in this many. */
	DELTA_SHARE = 8,
};

/* ---- Reading ------------------------------------------------------------ */

struct delta_header {
	uint64_t base, sum;
	const uint8_t *payload;
	size_t len; /* of the payload */
};

static int header_decode(const MDB_val *value, struct delta_header *ret_header)
{
	struct reader r = reader_init(value->mv_data, value->mv_size);
	struct delta_header h;

	if (get_u8(&r) != BLOCK_TAG_NODE_DELTA)
		return -EUCLEAN;
	h.base = get_varint(&r);
	h.sum = get_u64(&r);
	if (r.bad)
		return -EUCLEAN;
	h.payload = r.at;
	h.len = reader_left(&r);
	*ret_header = h;
	return 0;
}

uint64_t node_stored_base(const MDB_val *value)
{
	struct delta_header h;

	return header_decode(value, &h) ? 0 : h.base;
}

/*
 * Return the checksum of the payload.  Its seed is the checksum in the node, so
 * it covers the node, too.
 */
static uint64_t delta_sum(const uint8_t *payload, size_t len,
                          const uint8_t *node)
{
	return XXH3_64bits_withSeed(payload, len, be64_get(node + NODE_SUM));
}

/* Decode the node from its payload, and set its checksum.  -EUCLEAN. */
static int unpack(struct store *store, uint64_t number,
                  const struct delta_header *h, const uint8_t *prefix,
                  size_t prefix_len, uint8_t *buffer, size_t *ret_len)
{
	size_t len;
	int r = decoder_unpack(store, prefix, prefix_len, h->payload, h->len,
	                       buffer + DELTA_SKIP,
	                       store->geometry.node_size - DELTA_SKIP, &len);

	if (r < 0)
		return r;
	len += DELTA_SKIP;
	if (len < NODE_HEADER)
		return -EUCLEAN;
	buffer[NODE_TAG] = BLOCK_TAG_NODE;
	be64_put(buffer + NODE_SUM, node_sum(number, buffer, (uint32_t)len));
	if (delta_sum(h->payload, h->len, buffer) != h->sum)
		return -EUCLEAN;
	*ret_len = len;
	return 0;
}

/*
 * Return the bytes of a node that has no base; not verified if it is stored as
 * it is.
 */
static int base_get(struct store *store, MDB_txn *txn, uint64_t number,
                    uint8_t *buffer, const uint8_t **ret_data, size_t *ret_len)
{
	struct delta_header h;
	MDB_val value;
	int r = disk_get(txn, store->disk.blocks, number << DISK_FRAGMENT_BITS,
	                 &value);

	if (r < 0)
		return r;
	if (!block_tag_is_node(&value))
		return -EUCLEAN;
	*ret_data = value.mv_data;
	*ret_len = value.mv_size;
	if (*(const uint8_t *)value.mv_data == BLOCK_TAG_NODE)
		return 0;
	r = header_decode(&value, &h);
	if (r == 0 && h.base)
		r = -EUCLEAN;
	*ret_data = buffer;
	return r < 0 ? r : unpack(store, number, &h, NULL, 0, buffer, ret_len);
}

int node_decode(struct store *store, MDB_txn *txn, uint64_t number,
                const MDB_val *value, uint8_t *buffer, const uint8_t **ret_data,
                uint32_t *ret_len)
{
	uint8_t prefix_buffer[NODE_SIZE_MAX];
	const uint8_t *data = value->mv_data, *prefix = NULL;
	size_t prefix_len = 0, len = value->mv_size;
	struct delta_header h;
	int r = 0;

	if (len && *data == BLOCK_TAG_NODE_DELTA) {
		r = header_decode(value, &h);
		if (r == 0 && h.base >= number)
			r = -EUCLEAN;
		if (r == 0 && h.base)
			r = base_get(store, txn, h.base, prefix_buffer, &prefix,
			             &prefix_len);
		if (r == 0)
			r = unpack(store, number, &h, prefix, prefix_len,
			           buffer, &len);
		data = buffer;
	}
	if (r == 0)
		r = node_verify(store, number, data, len);
	if (r < 0)
		return r == -ENOENT ? -EUCLEAN : r;
	*ret_data = data;
	*ret_len = (uint32_t)len;
	return 0;
}

/* ---- Writing ------------------------------------------------------------ */

struct node_encoder {
	ZSTD_CCtx *zstd;
	uint8_t buffer[NODE_SIZE_MAX];
	uint8_t out[DELTA_HEAD_MAX + ZSTD_COMPRESSBOUND(NODE_SIZE_MAX)];
};

int node_encoder_create(struct node_encoder **ret_node_encoder)
{
	struct node_encoder *node_encoder = malloc(sizeof(*node_encoder));

	if (!node_encoder)
		return -ENOMEM;
	node_encoder->zstd = ZSTD_createCCtx();
	if (!node_encoder->zstd) {
		free(node_encoder);
		return -ENOMEM;
	}
	ZSTD_CCtx_setParameter(node_encoder->zstd, ZSTD_c_compressionLevel,
	                       DELTA_LEVEL);
	ZSTD_CCtx_setParameter(node_encoder->zstd, ZSTD_c_windowLog,
	                       DELTA_WINDOW_BITS);
	ZSTD_CCtx_setParameter(node_encoder->zstd, ZSTD_c_contentSizeFlag, 0);
	*ret_node_encoder = node_encoder;
	return 0;
}

void node_encoder_destroy(struct node_encoder *node_encoder)
{
	if (!node_encoder)
		return;
	ZSTD_freeCCtx(node_encoder->zstd);
	free(node_encoder);
}

/* Return the bytes of the compressed form; SIZE_MAX: compression failed. */
static size_t pack(struct node_encoder *node_encoder, const uint8_t *data,
                   size_t len, uint64_t base, const uint8_t *prefix,
                   size_t prefix_len)
{
	struct writer w = writer_init(node_encoder->out, DELTA_HEAD_MAX);
	uint8_t *payload;
	size_t n = 0;

	put_u8(&w, BLOCK_TAG_NODE_DELTA);
	put_varint(&w, base);
	payload = w.at + sizeof(uint64_t);
	if (base)
		n = ZSTD_CCtx_refPrefix(node_encoder->zstd, prefix, prefix_len);
	if (!ZSTD_isError(n))
		n = ZSTD_compress2(node_encoder->zstd, payload,
		                   (size_t)(node_encoder->out +
		                            sizeof(node_encoder->out) -
		                            payload),
		                   data + DELTA_SKIP, len - DELTA_SKIP);
	if (ZSTD_isError(n))
		return SIZE_MAX;
	put_u64(&w, delta_sum(payload, n, data));
	return n + writer_len(&w);
}

/* Return the node to use as prefix for a copy of this one; 0: none. */
static uint64_t prefix_get(struct store *store, MDB_txn *txn,
                           struct node_encoder *node_encoder, uint64_t number,
                           const uint8_t **ret_prefix, size_t *ret_len,
                           uint64_t *ret_stored_len)
{
	MDB_val value;
	uint64_t base;

	if (disk_get(txn, store->disk.blocks, number << DISK_FRAGMENT_BITS,
	             &value) ||
	    !block_tag_is_node(&value))
		return 0;
	*ret_stored_len = value.mv_size;
	base = node_stored_base(&value);
	if (base)
		number = base;
	return base_get(store, txn, number, node_encoder->buffer, ret_prefix,
	                ret_len)
	               ? 0
	               : number;
}

uint64_t node_encoder_run(struct node_encoder *node_encoder,
                          struct store *store, MDB_txn *txn, uint64_t copied,
                          const uint8_t *data, size_t len,
                          const uint8_t **ret_data, size_t *ret_len,
                          uint64_t *ret_copied_len)
{
	const uint8_t *prefix;
	size_t prefix_len, n, most = len - len / DELTA_SHARE;
	uint64_t base = 0;

	*ret_copied_len = 0;
	if (copied)
		base = prefix_get(store, txn, node_encoder, copied, &prefix,
		                  &prefix_len, ret_copied_len);
	*ret_data = node_encoder->out;
	if (base) {
		*ret_len =
		        pack(node_encoder, data, len, base, prefix, prefix_len);
		if (*ret_len <= len / 2)
			return base;
	}
	n = pack(node_encoder, data, len, 0, NULL, 0);
	if (n <= most) {
		*ret_len = n;
	} else {
		*ret_data = data;
		*ret_len = len;
	}
	return 0;
}
