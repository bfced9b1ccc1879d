/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "array.h"

#include <errno.h>
#include <stdint.h>

int array_grow_items(void **array, size_t item, size_t len, size_t *capacity)
{
	size_t more = *capacity ? *capacity + *capacity / 2 : 16;
	size_t size;
	void *grown;

	if (len < *capacity)
		return 0;
	if (__builtin_mul_overflow(more, item, &size) || size > PTRDIFF_MAX)
		return -ENOMEM;
	grown = realloc(*array, size);
	if (!grown)
		return -ENOMEM;
	*array = grown;
	*capacity = more;
	return 0;
}

void *array_add_item(void **array, size_t item, size_t *len, size_t *capacity)
{
	if (array_grow_items(array, item, *len, capacity))
		return NULL;
	return memset((char *)*array + item * (*len)++, 0, item);
}

size_t numbers_unique(uint64_t *numbers, size_t len)
{
	size_t kept = 0;

	for (size_t i = 0; i < len; i++)
		if (!i || numbers[i] != numbers[kept - 1])
			numbers[kept++] = numbers[i];
	return kept;
}
