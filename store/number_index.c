/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hash indexes of arrays. */
#include "number_index.h"

#include <errno.h>
#include <stdlib.h>

uint32_t *number_index_find(uint32_t *index, size_t size, uint64_t number,
                            number_at_fn *number_at, void *arg)
{
	size_t i = (size_t)((number * 0x9e3779b97f4a7c15) >> 32) & (size - 1);

	while (index[i] && number_at(arg, index[i] - 1) != number)
		i = (i + 1) & (size - 1);
	return &index[i];
}

int number_index_grow(void **array, size_t item, size_t len, size_t *capacity,
                      uint32_t **index, size_t *index_size,
                      number_at_fn *number_at, void *arg)
{
	size_t more = *capacity ? *capacity * 2 : 16;
	void *new_array;
	uint32_t *new_index;

	if (len < *capacity)
		return 0;
	new_array = realloc(*array, more * item);
	if (!new_array)
		return -ENOMEM;
	*array = new_array;
	new_index = calloc(more * 2, sizeof(*new_index));
	if (!new_index)
		return -ENOMEM;
	free(*index);
	*index = new_index;
	*index_size = more * 2;
	*capacity = more;
	for (uint32_t i = 0; i < len; i++)
		*number_index_find(*index, *index_size, number_at(arg, i),
		                   number_at, arg) = i + 1;
	return 0;
}
