/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rows.h"

#include <stdlib.h>
#include <string.h>

void *rows_add(void **rows, size_t size, size_t *len, size_t *capacity)
{
	if (*len == *capacity) {
		size_t more = *capacity ? *capacity * 2 : 64;
		void *grown = realloc(*rows, more * size);

		if (!grown)
			return NULL;
		*rows = grown;
		*capacity = more;
	}
	return memset((char *)*rows + size * (*len)++, 0, size);
}
