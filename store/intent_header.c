/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The header of an entry of the intent log. */
#include "intent_header.h"

#include <xxhash.h>

#include "codec.h"

/* "copplog1" */
static const uint64_t magic = UINT64_C(0x636f70706c6f6731);

enum { SUM_LEN = 16, SUM_AT = INTENT_HEADER - SUM_LEN };

/* Set the checksum of the entry, in which its own bytes count as zero. */
static void sum_put(uint8_t *entry, size_t len)
{
	XXH128_hash_t sum;

	memset(entry + SUM_AT, 0, SUM_LEN);
	sum = XXH3_128bits(entry, INTENT_HEADER + len);
	be64_put(entry + SUM_AT, sum.high64);
	be64_put(entry + SUM_AT + 8, sum.low64);
}

void intent_header_seal(const struct intent_header *h, uint8_t *entry)
{
	struct writer w = writer_init(entry, INTENT_HEADER + h->len);

	put_u64(&w, magic);
	put_bytes(&w, h->nonce, sizeof(h->nonce));
	put_u64(&w, h->group);
	put_u32(&w, h->index);
	put_u32(&w, h->flags);
	put_u32(&w, h->len);
	put_u32(&w, h->part);
	sum_put(entry, h->len);
}

bool intent_header_decode(const uint8_t entry[INTENT_HEADER], size_t most,
                          struct intent_header *ret_header)
{
	struct reader r = reader_init(entry, INTENT_HEADER);
	struct intent_header h;

	if (get_u64(&r) != magic)
		return false;
	memcpy(h.nonce, reader_take(&r, INTENT_NONCE), INTENT_NONCE);
	h.group = get_u64(&r);
	h.index = get_u32(&r);
	h.flags = get_u32(&r);
	h.len = get_u32(&r);
	h.part = get_u32(&r);
	if (h.part > h.index || h.len > most)
		return false;
	*ret_header = h;
	return true;
}

bool intent_header_verify(uint8_t *entry, size_t len)
{
	uint8_t sum[SUM_LEN];

	memcpy(sum, entry + SUM_AT, SUM_LEN);
	sum_put(entry, len);
	return !memcmp(sum, entry + SUM_AT, SUM_LEN);
}
