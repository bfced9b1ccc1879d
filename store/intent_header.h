/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The header of an entry of the intent log.  Inside store/ only. */
#ifndef COPPICE_INTENT_HEADER_H
#define COPPICE_INTENT_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	INTENT_HALF = 4 << 20,       /* least bytes of a half of the file */
	INTENT_HALF_MAX = 128 << 20, /* most bytes of a half */
	INTENT_ENTRY_MAX = 1 << 20,  /* bytes of an entry */
	INTENT_ALIGN = 4096,         /* entries begin at multiples of this */
	INTENT_HEADER = 64,
	INTENT_NONCE = 16,
};

enum intent_flag {
	INTENT_LAST = 1, /* the log has all of the group */
	INTENT_MORE = 2, /* the next entry belongs to the same run */
};

struct intent_header {
	uint8_t nonce[INTENT_NONCE]; /* of the use of the log */
	uint64_t group;
	uint32_t index; /* of the entry in its group, from 0 */
	uint32_t flags; /* enum intent_flag */
	uint32_t len;   /* bytes of the payload after the header */
	uint32_t part;  /* entries before it in its run: see intent_log.h */
};

/*
 * Return the offset in the file at which the entries of a group begin; half:
 * bytes of a half of the file.
 */
static inline uint64_t intent_start(uint64_t group, uint64_t half)
{
	return (group & 1) * half;
}

/* Return the bytes of the file that an entry takes. */
static inline size_t intent_size(size_t len)
{
	return (INTENT_HEADER + len + INTENT_ALIGN - 1) / INTENT_ALIGN *
	       INTENT_ALIGN;
}

/*
 * Write the header before the payload, with a checksum of both.  `entry`
 * has INTENT_HEADER bytes and the payload.
 */
void intent_header_seal(const struct intent_header *header, uint8_t *entry);

/*
 * Decode a header.  Return false if it is none, or its length is above `most`.
 * When the payload has been read, too, intent_header_verify() compares the
 * checksum; it writes to the entry.
 */
bool intent_header_decode(const uint8_t entry[INTENT_HEADER], size_t most,
                          struct intent_header *ret_header);
bool intent_header_verify(uint8_t *entry, size_t len);

#endif
