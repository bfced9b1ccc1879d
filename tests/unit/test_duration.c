/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lengths of time as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "duration.h"
#include "util.h"

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		int64_t seconds;
	} good[] = {
	        {"0s", 0},
	        {"6s", 6},
	        {"90m", 5400},
	        {"1h", 3600},
	        {"36h", 129600},
	        {"7d", 604800},
	        {"4w", 2419200},
	        {"1d12h", 129600},
	        {"1w1d1h1m1s", 694861},
	        {"366000d", 366000 * INT64_C(86400)},
	};
	static const char *const bad[] = {
	        "",    "6",    "s",    "-6s", "+6s", " 6s",  "6 s",
	        "6s ", "1s1m", "1h1h", "6x",  "1y",  "1.5h", "6S",
	};
	int64_t seconds;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(duration_parse(good[i].text, &seconds), 0);
		assert_int_equal(seconds, good[i].seconds);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (duration_parse(bad[i], &seconds) != -EINVAL)
			fail_msg("'%s' is a duration", bad[i]);
	assert_int_equal(duration_parse("366000d1s", &seconds), -ERANGE);
	assert_int_equal(duration_parse("99999999999999999999s", &seconds),
	                 -ERANGE);
}

static void test_spans(void **state)
{
	static const char *const bad[] = {
	        "",     "1",   "y",    "0d", "0y0m",    "1w",
	        "1d1d", "-1d", "1.5d", "1s", "100001d",
	};
	struct span span;

	(void)state;
	assert_int_equal(span_parse("1y6m2d12h", &span), 0);
	assert_int_equal(span.years, 1);
	assert_int_equal(span.months, 6);
	assert_int_equal(span.days, 2);
	assert_int_equal(span.hours, 12);
	assert_int_equal(span_parse("12h2d", &span), 0);
	assert_int_equal(span.days, 2);
	assert_int_equal(span.years, 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (span_parse(bad[i], &span) != -EINVAL)
			fail_msg("'%s' is a span", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_durations),
	        cmocka_unit_test(test_spans),
	};

	return cmocka_run_group_tests_name("duration", tests, NULL, NULL);
}
