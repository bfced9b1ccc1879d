/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "duration.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>

#include "util.h"

/* Parse digits and move *text after them. */
static int parse_number(const char **text, int64_t max, int64_t *ret_number)
{
	int64_t n = 0;

	if (!isdigit((unsigned char)**text))
		return -EINVAL;
	for (; isdigit((unsigned char)**text); (*text)++) {
		n = n * 10 + (**text - '0');
		if (n > max)
			return -ERANGE;
	}
	*ret_number = n;
	return 0;
}

int duration_parse(const char *text, int64_t *ret_seconds)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = {
	        {'w', 7 * 86400}, {'d', 86400}, {'h', 3600},
	        {'m', 60},        {'s', 1},
	};
	int64_t sum = 0, n;
	size_t next = 0;

	do {
		int r = parse_number(&text, DURATION_MAX, &n);

		if (r < 0)
			return r;
		while (next < ARRAY_SIZE(units) && units[next].unit != *text)
			next++;
		if (next == ARRAY_SIZE(units))
			return -EINVAL;
		text++;
		if (n > (DURATION_MAX - sum) / units[next].seconds)
			return -ERANGE;
		sum += n * units[next++].seconds;
	} while (*text);
	*ret_seconds = sum;
	return 0;
}

int span_parse(const char *text, struct span *ret_span)
{
	struct span span = {0};
	const struct {
		char unit;
		int *field;
	} units[] = {
	        {'y', &span.years},
	        {'m', &span.months},
	        {'d', &span.days},
	        {'h', &span.hours},
	};
	unsigned seen = 0;

	do {
		int64_t n;
		size_t i = 0;

		if (parse_number(&text, 100000, &n))
			return -EINVAL;
		while (i < ARRAY_SIZE(units) && units[i].unit != *text)
			i++;
		if (i == ARRAY_SIZE(units) || seen & 1u << i)
			return -EINVAL;
		seen |= 1u << i;
		*units[i].field = (int)n;
		text++;
	} while (*text);
	if (!span.years && !span.months && !span.days && !span.hours)
		return -EINVAL;
	*ret_span = span;
	return 0;
}
