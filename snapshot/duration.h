/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lengths of time as text. */
#ifndef COPPICE_SNAPSHOT_DURATION_H
#define COPPICE_SNAPSHOT_DURATION_H

#include <stdint.h>

/*
 * Parse numbers with the units s, m (minutes), h, d and w, as in 90m or 1d12h,
 * each unit at most once and the largest first.  -EINVAL: not a duration;
 * -ERANGE: more than DURATION_MAX seconds.
 */
int duration_parse(const char *text, int64_t *ret_seconds);

#define DURATION_MAX (INT64_C(1000) * 366 * 86400)

/* A length of time by the calendar. */
struct span {
	int years, months, days, hours;
};

/*
 * Parse numbers with the units y, m (months), d and h, as in 1y6m or 2d12h,
 * each unit at most once, in any order.  -EINVAL: not a span, or none at all
 * (0d).
 */
int span_parse(const char *text, struct span *ret_span);

#endif
