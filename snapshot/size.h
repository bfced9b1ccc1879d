/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sizes as text with units: 512, 64K, 1.5G.
 */
#ifndef COPPICE_SNAPSHOT_SIZE_H
#define COPPICE_SNAPSHOT_SIZE_H

#include <stdint.h>

enum { SIZE_TEXT_MAX = 16 };

/*
 * Parse a number of bytes, or a number with K, M, G, T, P or E (powers of 1024,
 * optionally followed by "iB" or "B").  -EINVAL: not a size; -ERANGE: too
 * large.
 */
int size_parse(const char *text, uint64_t *ret_bytes);
/*
 * Format a number below 1024 as it is, a larger one with two or three digits
 * and a unit: "17", "1.4K", "230M".
 */
void size_format(uint64_t bytes, char out[SIZE_TEXT_MAX]);

#endif
