/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bytes to numbers and back: the one codec for all that is kept in a store or
 * sent over a socket.  Fixed numbers are big-endian, so that memcmp order is
 * number order; varints are LEB128 (7 bits a byte, lowest first, at most ten
 * bytes, no needless zero bytes at the end).
 *
 * Every source may include this header.
 *
 * A writer or reader that would pass the end of its buffer sets `bad`, and does
 * nothing from then on (a reader returns 0).  The caller checks `bad` once, at
 * the end.
 */
#ifndef COPPICE_CODEC_H
#define COPPICE_CODEC_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline void be16_put(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline uint16_t be16_get(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void be32_put(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, 4);
}

static inline uint32_t be32_get(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return be32toh(v);
}

static inline void be64_put(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, 8);
}

static inline uint64_t be64_get(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return be64toh(v);
}

struct writer {
	uint8_t *start, *at, *end;
	bool bad;
};

struct reader {
	const uint8_t *at, *end;
	bool bad;
};

static inline struct writer writer_init(void *buffer, size_t size)
{
	uint8_t *p = buffer;

	return (struct writer){p, p, p + size, false};
}

static inline size_t writer_len(const struct writer *w)
{
	return (size_t)(w->at - w->start);
}

static inline struct reader reader_init(const void *buffer, size_t size)
{
	const uint8_t *p = buffer;

	return (struct reader){p, p + size, false};
}

static inline size_t reader_left(const struct reader *r)
{
	return (size_t)(r->end - r->at);
}

static inline uint8_t *writer_take(struct writer *w, size_t n)
{
	uint8_t *p = w->at;

	if (w->bad || (size_t)(w->end - w->at) < n) {
		w->bad = true;
		return NULL;
	}
	w->at += n;
	return p;
}

static inline const uint8_t *reader_take(struct reader *r, size_t n)
{
	const uint8_t *p = r->at;

	if (r->bad || (size_t)(r->end - r->at) < n) {
		r->bad = true;
		return NULL;
	}
	r->at += n;
	return p;
}

static inline void put_u8(struct writer *w, uint8_t v)
{
	uint8_t *p = writer_take(w, 1);

	if (p)
		*p = v;
}

static inline void put_u16(struct writer *w, uint16_t v)
{
	uint8_t *p = writer_take(w, 2);

	if (p)
		be16_put(p, v);
}

static inline void put_u32(struct writer *w, uint32_t v)
{
	uint8_t *p = writer_take(w, 4);

	if (p)
		be32_put(p, v);
}

static inline void put_u64(struct writer *w, uint64_t v)
{
	uint8_t *p = writer_take(w, 8);

	if (p)
		be64_put(p, v);
}

static inline void put_bytes(struct writer *w, const void *data, size_t n)
{
	uint8_t *p = writer_take(w, n);

	if (p && n)
		memcpy(p, data, n);
}

static inline void put_varint(struct writer *w, uint64_t v)
{
	while (v >= 0x80) {
		put_u8(w, (uint8_t)(v | 0x80));
		v >>= 7;
	}
	put_u8(w, (uint8_t)v);
}

/* Write a signed number; small magnitudes of either sign are short (zigzag). */
static inline void put_svarint(struct writer *w, int64_t v)
{
	put_varint(w, ((uint64_t)v << 1) ^ (uint64_t)(v >> 63));
}

static inline uint8_t get_u8(struct reader *r)
{
	const uint8_t *p = reader_take(r, 1);

	return p ? *p : 0;
}

static inline uint16_t get_u16(struct reader *r)
{
	const uint8_t *p = reader_take(r, 2);

	return p ? be16_get(p) : 0;
}

static inline uint32_t get_u32(struct reader *r)
{
	const uint8_t *p = reader_take(r, 4);

	return p ? be32_get(p) : 0;
}

static inline uint64_t get_u64(struct reader *r)
{
	const uint8_t *p = reader_take(r, 8);

	return p ? be64_get(p) : 0;
}

static inline uint64_t get_varint(struct reader *r)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t b = get_u8(r);

		v |= (uint64_t)(b & 0x7f) << shift;
		if (b < 0x80) {
			/*
			 * Numbers have one encoding: no padding, no overflow.
			 */
			if ((shift && !b) || (shift == 63 && b > 1))
				r->bad = true;
			return r->bad ? 0 : v;
		}
	}
	r->bad = true;
	return 0;
}

static inline int64_t get_svarint(struct reader *r)
{
	uint64_t v = get_varint(r);

	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/* Return true if all bytes were read, and no read passed the end. */
static inline bool reader_done(const struct reader *r)
{
	return !r->bad && r->at == r->end;
}

#endif
