/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Choosing the snapshots that a policy keeps.  The rules are those of restic's
 * `forget`: a rule keeps the newest snapshot of each period, for so many
 * periods that have snapshots.
 * Times are compared in the local time zone of the process.
 */
#ifndef COPPICE_SNAPSHOT_RETENTION_H
#define COPPICE_SNAPSHOT_RETENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "duration.h"

enum retention_period {
	RETENTION_LAST, /* each snapshot is a period of its own */
	RETENTION_HOURLY,
	RETENTION_DAILY,
	RETENTION_WEEKLY, /* from Monday on */
	RETENTION_MONTHLY,
	RETENTION_YEARLY,
	RETENTION_PERIODS,
};

struct retention {
	/* For how many periods a snapshot is kept; 0: no such rule. */
	uint64_t keep[RETENTION_PERIODS];
	/*
	 * For how long before the newest snapshot one of each period is kept;
	 * all 0: no such rule.  RETENTION_LAST: all of them.
	 */
	struct span within[RETENTION_PERIODS];
};

/* A reason is a bit: that of a rule `keep`, or of a rule `within`. */
#define RETENTION_KEEP(period) (1u << (period))
#define RETENTION_WITHIN(period) (1u << (RETENTION_PERIODS + (period)))
enum { RETENTION_REASONS = 2 * RETENTION_PERIODS }; /* bits */

/* Return true if there is no rule at all: then nothing would be kept. */
bool retention_is_empty(const struct retention *policy);
/* Return the name of a reason, by the number of its bit: "daily", "within". */
const char *retention_reason(unsigned bit);
/*
 * Add a rule by the name of its reason, as "daily", with its value: a number
 * above 0 for a rule of `keep`, a span for one of `within`.  -ENOENT: no such
 * rule; -EINVAL.
 */
int retention_add(struct retention *policy, const char *rule,
                  const char *value);
/*
 * Add rules as RULE:VALUE, separated by '+', as in "hourly:24+daily:7".
 * -EINVAL.
 */
int retention_parse(struct retention *policy, const char *text);

/*
 * Set the reasons to keep each of `count` snapshots, whose times (in ns since
 * the epoch) are given from the newest to the oldest.  0: no rule keeps it.
 * The spans of `within` end at the newest snapshot before `now`, a time, too.
 */
void retention_apply(const struct retention *policy, int64_t now,
                     const int64_t *times, size_t count, uint32_t *ret_reasons);

#endif
