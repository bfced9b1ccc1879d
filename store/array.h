/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Growing arrays, and arrays in the order of numbers.  Every source may include
 * this header.
 *
 * The owner keeps the pointer, the length and the capacity, begins with NULL, 0
 * and 0, and frees the array.  Functions on numbers take arrays of uint64_t, or
 * of structs whose first field is a uint64_t: the number of the item.
 */
#ifndef COPPICE_ARRAY_H
#define COPPICE_ARRAY_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* For the macros below; `item` is the size of an item in bytes. */
int array_grow_items(void **array, size_t item, size_t len, size_t *capacity);
void *array_add_item(void **array, size_t item, size_t *len, size_t *capacity);

/*
 * Make sure that *array, which has `len` items, has capacity for one more.
 * -ENOMEM: nothing has changed.
 */
#define array_grow(array, len, capacity)                                       \
	array_grow_items((void **)(array), sizeof(**(array)), len, capacity)
/*
 * Append an item of zero bytes to *array and return it.  NULL: no memory;
 * nothing has changed.
 */
#define array_add(array, len, capacity)                                        \
	((__typeof__(*(array)))array_add_item(                                 \
	        (void **)(array), sizeof(**(array)), len, capacity))

/* Return -1, 0 or 1: the order of two numbers. */
static inline int number_order(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/* Compare two items by number, for qsort() and bsearch(). */
static inline int number_compare(const void *a, const void *b)
{
	return number_order(*(const uint64_t *)a, *(const uint64_t *)b);
}

typedef int array_compare_fn(const void *a, const void *b);

/* Do what qsort() does, but accept an array that was never allocated. */
#define array_sort(array, len, compare)                                        \
	array_sort_items(array, sizeof(*(array)), len, compare)

static inline void array_sort_items(void *array, size_t item, size_t len,
                                    array_compare_fn *compare)
{
	if (len > 1)
		qsort(array, len, item, compare);
}

/*
 * Return the index of the first item of an ascending array whose number is at
 * least this one; `len` if there is none.
 */
#define array_lower_bound(array, len, number)                                  \
	array_lower_bound_items(array, sizeof(*(array)), len, number)

static inline size_t array_lower_bound_items(const void *array, size_t item,
                                             size_t len, uint64_t number)
{
	size_t low = 0, high = len;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (*(const uint64_t *)((const char *)array + middle * item) <
		    number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Return the item of an ascending array with this number, or NULL. */
#define array_find(array, len, number)                                         \
	((__typeof__(&(array)[0]))array_find_item(array, sizeof(*(array)),     \
	                                          len, number))

static inline void *array_find_item(const void *array, size_t item, size_t len,
                                    uint64_t number)
{
	size_t i = array_lower_bound_items(array, item, len, number);
	const char *at = (const char *)array + i * item;

	return i < len && *(const uint64_t *)at == number ? (void *)at : NULL;
}

/* Remove the repetitions from an ascending array; return the new length. */
size_t numbers_unique(uint64_t *numbers, size_t len);

#endif
