/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "size.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char units[] = "KMGTPE";

int size_parse(const char *text, uint64_t *ret_bytes)
{
	const char *unit;
	char *end;
	unsigned shift = 0;
	uint64_t bytes;

	/* strtoull() would accept a sign and leading spaces. */
	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	bytes = strtoull(text, &end, 10);
	if (errno)
		return -ERANGE;
	if (*end && (unit = strchr(units, toupper((unsigned char)*end)))) {
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
		if (!strcasecmp(end, "iB") || !strcasecmp(end, "B"))
			end = strchr(end, '\0');
	}
	if (*end)
		return -EINVAL;
	if (shift && bytes >> (64 - shift))
		return -ERANGE;
	*ret_bytes = bytes << shift;
	return 0;
}

void size_format(uint64_t bytes, char out[SIZE_TEXT_MAX])
{
	double value = (double)bytes;
	int unit = -1;

	if (bytes < 1024) {
		snprintf(out, SIZE_TEXT_MAX, "%u", (unsigned)bytes);
		return;
	}
	/* 999.5 and more would be printed with four digits. */
	while (value >= 999.5 && units[unit + 1]) {
		value /= 1024;
		unit++;
	}
	if (unit < 0) {
		value /= 1024;
		unit = 0;
	}
	snprintf(out, SIZE_TEXT_MAX, value < 9.95 ? "%.1f%c" : "%.0f%c", value,
	         units[unit]);
}
