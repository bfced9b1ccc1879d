/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sizes as people write and read them: 512, 64K, 1.5G.
 */
#ifndef COPPICE_SIZE_H
#define COPPICE_SIZE_H

#include <stdint.h>

enum { SIZE_TEXT_MAX = 16 };

/*
 * Whole bytes, or a number with K, M, G, T or P (powers of 1024, an "iB" or
 * "B" after it is allowed).  -EINVAL: not a size; -ERANGE: too large.
 */
int size_parse(const char *text, uint64_t *ret_bytes);
/* Three digits at least and a unit: "17", "1.4K", "230M". */
void size_format(uint64_t bytes, char out[SIZE_TEXT_MAX]);

#endif
