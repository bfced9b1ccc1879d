/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "chunk_header.h"

#include <errno.h>

#include "codec.h"

static bool tag_has_base(enum block_tag tag)
{
	return tag == BLOCK_TAG_DELTA || tag == BLOCK_TAG_SPARSE_DELTA ||
	       tag == BLOCK_TAG_SPLICE || tag == BLOCK_TAG_PATCH;
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

/* Decode the bases and the depth.  Return false if they are not valid. */
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
