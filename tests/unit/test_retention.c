/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Snapshots that a policy keeps: known cases, and random ones against a model
 * that makes a list of the periods of each rule.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "retention.h"
#include "scratch.h"
#include "util.h"

enum { SNAPSHOTS = 300 };

static const int64_t second_ns = 1000000000;

/* A time in UTC, which is the local time of this test. */
static int64_t at(int year, int month, int day, int hour)
{
	struct tm tm = {.tm_year = year - 1900,
	                .tm_mon = month - 1,
	                .tm_mday = day,
	                .tm_hour = hour};

	return timegm(&tm) * second_ns;
}

static const int64_t now = INT64_C(1795305600) * 1000000000;

static void expect(const char *rules, const int64_t *times, size_t count,
                   const char *kept)
{
	struct retention policy = {0};
	uint32_t reasons[SNAPSHOTS];
	char got[SNAPSHOTS + 1] = "";

	assert_int_equal(retention_parse(&policy, rules), 0);
	retention_apply(&policy, now, times, count, reasons);
	for (size_t i = 0; i < count; i++)
		got[i] = reasons[i] ? '1' : '0';
	assert_string_equal(got, kept);
}

static void test_known(void **state)
{
	const int64_t times[] = {
	        at(2026, 11, 21, 23), at(2026, 11, 21, 22),
	        at(2026, 11, 20, 9),  at(2026, 11, 16, 0), /* a Monday */
	        at(2026, 11, 15, 23), at(2026, 10, 31, 12),
	        at(2025, 12, 31, 0),  at(2025, 1, 1, 0),
	};
	size_t count = ARRAY_SIZE(times);

	(void)state;
	expect("last:1", times, count, "10000000");
	expect("last:3", times, count, "11100000");
	expect("last:99", times, count, "11111111");
	expect("hourly:2", times, count, "11000000");
	expect("daily:3", times, count, "10110000");
	expect("weekly:2", times, count, "10001000");
	expect("weekly:3", times, count, "10001100");
	expect("monthly:2", times, count, "10000100");
	/* The oldest is kept while there are fewer periods than wanted. */
	expect("yearly:2", times, count, "10000010");
	expect("yearly:3", times, count, "10000011");
	expect("last:1+monthly:2", times, count, "10000100");
	/* Counted from the newest one, the end not included. */
	expect("within:1h", times, count, "10000000");
	expect("within:1d", times, count, "11000000");
	expect("within:2d", times, count, "11100000");
	expect("within:1m", times, count, "11111100");
	expect("within-daily:6d", times, count, "10110000");
	expect("within-monthly:1y", times, count, "10000110");
	expect("last:1", times, 0, "");
}

/* Snapshots in the future do not make those of today old. */
static void test_future(void **state)
{
	const int64_t times[] = {at(2036, 1, 1, 0), at(2026, 11, 21, 23),
	                         at(2026, 11, 21, 12), at(2026, 11, 1, 0)};

	(void)state;
	expect("within:1d", times, 4, "1110");
	expect("within:1d", times, 1, "1");
}

static void test_parsing(void **state)
{
	static const char *const bad[] = {
	        "",          "last",           "last:",   "last:0",
	        "last:-1",   "last:x",         "last:1+", "+last:1",
	        "first:1",   "last:1,daily:2", "within:", "within:0d",
	        "within:1w", "daily:1d"};
	struct retention policy = {0};

	(void)state;
	assert_true(retention_is_empty(&policy));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (retention_parse(&policy, bad[i]) != -EINVAL)
			fail_msg("'%s' is a policy", bad[i]);
		assert_true(retention_is_empty(&policy));
	}
	assert_int_equal(retention_parse(&policy, "hourly:24+daily:7"), 0);
	assert_false(retention_is_empty(&policy));
	assert_int_equal(policy.keep[RETENTION_HOURLY], 24);
	assert_int_equal(policy.keep[RETENTION_DAILY], 7);
	assert_int_equal(retention_parse(&policy, "within-weekly:1y6m"), 0);
	assert_int_equal(policy.within[RETENTION_WEEKLY].months, 6);
	assert_int_equal(policy.keep[RETENTION_DAILY], 7);
}

/* ---- Against a model ---------------------------------------------------- */

/* The name of the period that a time is in. */
static void label(unsigned period, int64_t time, size_t i, char out[32])
{
	static const char *const formats[] = {
	        "", "%Y-%m-%d %H", "%Y-%m-%d", "%G week %V", "%Y-%m", "%Y"};
	time_t sec = (time_t)(time / second_ns);
	struct tm tm;

	gmtime_r(&sec, &tm);
	if (period == RETENTION_LAST)
		snprintf(out, 32, "%zu", i);
	else
		strftime(out, 32, formats[period], &tm);
}

/* Mark the newest of each of the first `most` periods; or if there are fewer,
 * the oldest snapshot, too. */
static void model_keep(unsigned period, const int64_t *times, size_t count,
                       size_t members, uint64_t most, bool *kept)
{
	char last[32] = "", here[32];
	uint64_t periods = 0;

	for (size_t i = 0; i < members; i++) {
		label(period, times[i], i, here);
		if (strcmp(here, last) != 0 && periods < most) {
			kept[i] = true;
			periods++;
		}
		strcpy(last, here);
	}
	if (members == count && count && periods < most)
		kept[count - 1] = true;
}

static int newest_first(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x > y ? -1 : x < y;
}

static void test_model(void **state)
{
	uint64_t rng = scratch_seed();

	(void)state;
	for (int round = 0; round < 3000; round++) {
		size_t count = scratch_random(&rng) % 60;
		int64_t times[60], spread;
		struct retention policy = {0};
		uint32_t reasons[60];
		bool kept[60] = {false};

		spread = (int64_t)1 << (12 + scratch_random(&rng) % 16);
		for (size_t i = 0; i < count; i++)
			times[i] = now - second_ns -
			           (int64_t)(scratch_random(&rng) %
			                     (uint64_t)spread) *
			                   second_ns;
		qsort(times, count, sizeof(*times), newest_first);
		for (unsigned p = 0; p < RETENTION_PERIODS; p++) {
			if (scratch_random(&rng) % 3)
				continue;
			policy.keep[p] = 1 + scratch_random(&rng) % 12;
			model_keep(p, times, count, count, policy.keep[p],
			           kept);
		}
		for (unsigned p = 0; p < RETENTION_PERIODS && count; p++) {
			size_t in = 0;

			if (scratch_random(&rng) % 4)
				continue;
			policy.within[p].days =
			        1 + (int)(scratch_random(&rng) % 40);
			while (in < count &&
			       times[in] > times[0] - policy.within[p].days *
			                                      86400 * second_ns)
				in++;
			model_keep(p, times, count, in, UINT64_MAX, kept);
		}
		retention_apply(&policy, now, times, count, reasons);
		for (size_t i = 0; i < count; i++)
			if (kept[i] != !!reasons[i])
				fail_msg("round %d: %zu of %zu: %d", round, i,
				         count, kept[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_known),
	        cmocka_unit_test(test_future),
	        cmocka_unit_test(test_parsing),
	        cmocka_unit_test(test_model),
	};

	setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests_name("retention", tests, NULL, NULL);
}
