/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Splices: chunks that are stored as pieces of other chunks, their bases, and
 * the bytes that no base has.
 *
 * The flat bytes of a base are its content or, if it is a splice itself, only
 * its own bytes, which no base has.  Pieces come from flat bytes, so a splice
 * never leads to another one, and is read in few steps however often the file
 * was rewritten.
 *
 * The payload begins with the number of pieces; for each there follow the base,
 * counted from 1, or 0 for the splice's own bytes; where the piece begins among
 * the flat bytes of the base (not for own bytes, which are taken in order); and
 * its length.  All are varints.  The own bytes follow, compressed with zstd if
 * the rest of the payload is shorter than they are.  Inside store/ only.
 */
#ifndef COPPICE_SPLICE_H
#define COPPICE_SPLICE_H

#include <stddef.h>
#include <stdint.h>

enum {
	SPLICE_BASES = 6,
	SPLICE_PIECES = 128,
	/* The number of pieces, and each with two lengths below 2^21. */
	SPLICE_HEAD_MAX = 2 + SPLICE_PIECES * (1 + 3 + 3),
};

struct splice_piece {
	uint32_t base; /* counted from 1; 0: own bytes */
	uint32_t from; /* offset in the flat bytes of the base */
	uint32_t len;
};

struct splice {
	unsigned count;
	struct splice_piece pieces[SPLICE_PIECES]; /* in the content's order */
};

/* Return the number of the splice's own bytes. */
uint32_t splice_own(const struct splice *splice);
/* Write the pieces to `out`, of SPLICE_HEAD_MAX bytes; return their length. */
size_t splice_encode(const struct splice *splice, uint8_t *out);
/*
 * Decode the pieces of a splice of `content` bytes with so many bases.
 * *ret_head: length of the encoded pieces.  -EUCLEAN: they are not valid.
 */
int splice_decode(const uint8_t *payload, size_t len, uint32_t content,
                  unsigned bases, struct splice *ret, size_t *ret_head);

#endif
