/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "splice.h"

#include <errno.h>

#include "codec.h"

uint32_t splice_own(const struct splice *splice)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < splice->count; i++)
		if (!splice->pieces[i].base)
			sum += splice->pieces[i].len;
	return sum;
}

size_t splice_encode(const struct splice *splice, uint8_t *out)
{
	struct writer w = writer_init(out, SPLICE_HEAD_MAX);

	put_varint(&w, splice->count);
	for (unsigned i = 0; i < splice->count; i++) {
		const struct splice_piece *piece = &splice->pieces[i];

		put_varint(&w, piece->base);
		if (piece->base)
			put_varint(&w, piece->from);
		put_varint(&w, piece->len);
	}
	return writer_len(&w);
}

int splice_decode(const uint8_t *payload, size_t len, uint32_t content,
                  unsigned bases, struct splice *ret, size_t *ret_head)
{
	struct reader r = reader_init(payload, len);
	uint64_t count = get_varint(&r), own = 0, at = 0;

	if (r.bad || count > SPLICE_PIECES)
		return -EUCLEAN;
	for (unsigned i = 0; i < count; i++) {
		uint64_t base = get_varint(&r);
		uint64_t from = base ? get_varint(&r) : own;
		uint64_t n = get_varint(&r);

		if (r.bad || base > bases || !n || n > content - at ||
		    from > UINT32_MAX - n)
			return -EUCLEAN;
		ret->pieces[i] = (struct splice_piece){
		        (uint32_t)base, (uint32_t)from, (uint32_t)n};
		at += n;
		if (!base)
			own += n;
	}
	if (at != content)
		return -EUCLEAN;
	ret->count = (unsigned)count;
	*ret_head = len - reader_left(&r);
	return 0;
}
