/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Growing arrays of rows of one size. */
#ifndef COPPICE_ROWS_H
#define COPPICE_ROWS_H

#include <stddef.h>

/*
 * Append a row of `size` zero bytes to the array and return it; the array,
 * which may move, is to be freed by its owner.  NULL: no memory, and nothing
 * has changed.
 */
void *rows_add(void **rows, size_t size, size_t *len, size_t *capacity);

#endif
