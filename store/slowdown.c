/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "slowdown.h"

#include "util.h"

int64_t slowdown_ns(const struct slowdown *s, size_t bytes)
{
	/* A commit that takes longer than expected is not near its end. */
	int64_t late = s->elapsed + s->elapsed / 8, due;

	if (!s->expected || bytes <= s->first || bytes > s->mark)
		return 0;
	due = (int64_t)((double)MAX(s->expected, late) *
	                (double)(bytes - s->first) /
	                (double)(s->mark - s->first));
	return MIN(MAX(due - s->elapsed, (int64_t)0), s->most);
}
