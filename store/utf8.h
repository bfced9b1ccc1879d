/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text in UTF-8. */
#ifndef COPPICE_UTF8_H
#define COPPICE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Decode the sequence at p, of at least one byte, into *ret_char.  Return its
 * length; 0: it is not valid.
 */
size_t utf8_decode(const unsigned char *p, size_t len, uint32_t *ret_char);
/* Return true if the whole text is valid. */
bool utf8_valid(const char *text);

#endif
