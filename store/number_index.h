/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A hash index (open addressing) of an array whose items have distinct numbers.
 * A slot has the item's index in the array plus one; 0: empty.  Inside store/
 * only.
 */
#ifndef COPPICE_NUMBER_INDEX_H
#define COPPICE_NUMBER_INDEX_H

#include <stddef.h>
#include <stdint.h>

/* Return the number of item i; `arg` is the caller's. */
typedef uint64_t number_at_fn(void *arg, uint32_t i);

/* Return the slot of the number, or the empty one where it belongs. */
uint32_t *number_index_find(uint32_t *index, size_t size, uint64_t number,
                            number_at_fn *number_at, void *arg);
/*
 * Make sure that the array has capacity for one more item.  If it is full, the
 * capacities of the array and of its index are doubled.  -ENOMEM.
 */
int number_index_grow(void **array, size_t item, size_t len, size_t *capacity,
                      uint32_t **index, size_t *index_size,
                      number_at_fn *number_at, void *arg);

#endif
