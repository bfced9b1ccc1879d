/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "retention.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "util.h"

static const int64_t second_ns = 1000000000;

static const char *const names[RETENTION_REASONS] = {
        "last",         "hourly",        "daily",          "weekly",
        "monthly",      "yearly",        "within",         "within-hourly",
        "within-daily", "within-weekly", "within-monthly", "within-yearly",
};

static bool span_is_empty(const struct span *span)
{
	return !span->years && !span->months && !span->days && !span->hours;
}

bool retention_is_empty(const struct retention *policy)
{
	for (int i = 0; i < RETENTION_PERIODS; i++)
		if (policy->keep[i] || !span_is_empty(&policy->within[i]))
			return false;
	return true;
}

const char *retention_reason(unsigned bit)
{
	return names[bit];
}

/* ---- Parsing ------------------------------------------------------------ */

static int parse_count(const char *text, uint64_t *ret_count)
{
	char *end;
	unsigned long long count;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	count = strtoull(text, &end, 10);
	if (errno || *end || !count)
		return -EINVAL;
	*ret_count = count;
	return 0;
}

int retention_add(struct retention *policy, const char *rule, const char *value)
{
	for (unsigned i = 0; i < RETENTION_REASONS; i++) {
		if (strcmp(rule, names[i]) != 0)
			continue;
		if (i < RETENTION_PERIODS)
			return parse_count(value, &policy->keep[i]);
		return span_parse(value,
		                  &policy->within[i - RETENTION_PERIODS]);
	}
	return -ENOENT;
}

int retention_parse(struct retention *policy, const char *text)
{
	_cleanup_free_ char *copy = strdup(text);
	struct retention made = *policy;
	char *rest = copy, *rule;

	if (!copy)
		return -ENOMEM;
	while ((rule = strsep(&rest, "+"))) {
		char *value = strchr(rule, ':');

		if (!value)
			return -EINVAL;
		*value++ = 0;
		if (retention_add(&made, rule, value))
			return -EINVAL;
	}
	*policy = made;
	return 0;
}

/* ---- Applying ----------------------------------------------------------- */

/* Return a number that all times in a period, and no others, have. */
static int64_t period_of(enum retention_period period, const struct tm *tm)
{
	struct tm day = {.tm_year = tm->tm_year,
	                 .tm_mon = tm->tm_mon,
	                 .tm_mday = tm->tm_mday};
	int64_t days;

	switch (period) {
	case RETENTION_HOURLY:
		return ((tm->tm_year * INT64_C(12) + tm->tm_mon) * 31 +
		        tm->tm_mday) *
		               24 +
		       tm->tm_hour;
	case RETENTION_DAILY:
		return (tm->tm_year * INT64_C(12) + tm->tm_mon) * 31 +
		       tm->tm_mday;
	case RETENTION_WEEKLY:
		/* The first day of 1970 was a Thursday. */
		days = timegm(&day) / 86400 + 3;
		return days >= 0 ? days / 7 : (days - 6) / 7;
	case RETENTION_MONTHLY:
		return tm->tm_year * INT64_C(12) + tm->tm_mon;
	default:
		return tm->tm_year;
	}
}

/* Return the time that lies a span before another one. */
static int64_t time_before(int64_t time, const struct span *span)
{
	time_t sec = (time_t)(time / second_ns);
	struct tm tm;

	if (!localtime_r(&sec, &tm))
		return INT64_MIN;
	tm.tm_year -= span->years;
	tm.tm_mon -= span->months;
	tm.tm_mday -= span->days;
	tm.tm_isdst = -1;
	sec = mktime(&tm) - span->hours * INT64_C(3600);
	if (sec < INT64_MIN / second_ns)
		return INT64_MIN;
	return sec * second_ns + time % second_ns;
}

/* The rules, and how far they have been applied. */
struct applied {
	uint64_t left[RETENTION_PERIODS]; /* of `keep` */
	bool within[RETENTION_PERIODS];
	int64_t from[RETENTION_PERIODS]; /* `within` keeps later times */
	/* The last period of which one was kept, by the bit of the rule. */
	int64_t period[RETENTION_REASONS];
	bool any[RETENTION_REASONS]; /* `period` is set */
	bool calendar;               /* periods other than LAST are needed */
};

static void applied_init(struct applied *a, const struct retention *policy,
                         int64_t now, const int64_t *times, size_t count)
{
	int64_t latest = INT64_MIN;

	for (size_t i = 0; i < count && latest == INT64_MIN; i++)
		if (times[i] < now)
			latest = times[i];
	memset(a, 0, sizeof(*a));
	for (int p = 0; p < RETENTION_PERIODS; p++) {
		a->left[p] = policy->keep[p];
		a->within[p] = !span_is_empty(&policy->within[p]);
		a->from[p] = latest == INT64_MIN
		                     ? INT64_MIN
		                     : time_before(latest, &policy->within[p]);
		a->calendar |=
		        p != RETENTION_LAST && (a->left[p] || a->within[p]);
	}
}

/*
 * Return true if the snapshot is the newest of its period, or the oldest of
 * all, and note the period.
 */
static bool rule_take(struct applied *a, unsigned bit, int64_t period,
                      bool oldest)
{
	if (a->any[bit] && a->period[bit] == period && !oldest)
		return false;
	a->any[bit] = true;
	a->period[bit] = period;
	return true;
}

void retention_apply(const struct retention *policy, int64_t now,
                     const int64_t *times, size_t count, uint32_t *ret_reasons)
{
	struct applied a;

	applied_init(&a, policy, now, times, count);
	for (size_t i = 0; i < count; i++) {
		time_t sec = (time_t)(times[i] / second_ns);
		bool oldest = i == count - 1;
		struct tm tm = {0};

		ret_reasons[i] = 0;
		if (a.calendar)
			localtime_r(&sec, &tm);
		for (unsigned p = 0; p < RETENTION_PERIODS; p++) {
			bool within = a.within[p] && times[i] > a.from[p];
			int64_t period;

			if (!a.left[p] && !within)
				continue;
			period = p == RETENTION_LAST ? (int64_t)i
			                             : period_of(p, &tm);
			if (a.left[p] && rule_take(&a, p, period, oldest)) {
				a.left[p]--;
				ret_reasons[i] |= RETENTION_KEEP(p);
			}
			if (within && rule_take(&a, RETENTION_PERIODS + p,
			                        period, oldest))
				ret_reasons[i] |= RETENTION_WITHIN(p);
		}
	}
}
