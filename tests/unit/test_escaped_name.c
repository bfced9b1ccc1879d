/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names to JSON and back: any bytes survive, and no two look alike. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "scratch.h"
#include "escaped_name.h"
#include "util.h"

static void expect_round(const char *name)
{
	json_t *text = name_escape(name), *again;
	char back[512], *dump;

	assert_non_null(text);
	assert_int_equal(name_unescape(text, back, sizeof(back)), 0);
	assert_string_equal(back, name);
	/* And through the wire. */
	dump = json_dumps(text, JSON_ENCODE_ANY);
	again = json_loads(dump, JSON_DECODE_ANY, NULL);
	assert_true(json_equal(text, again));
	free(dump);
	json_decref(again);
	json_decref(text);
}

static void expect_text(const char *name, const char *utf8)
{
	json_t *text = name_escape(name);

	assert_string_equal(json_string_value(text), utf8);
	json_decref(text);
	expect_round(name);
}

static void test_known(void **state)
{
	expect_text("", "");
	expect_text("main@try", "main@try");
	expect_text("gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f");
	expect_text("\xf0\x9f\x8c\xb3", "\xf0\x9f\x8c\xb3");
	/* Bytes that are no UTF-8: U+EF00 and the byte. */
	expect_text("\xff", "\xee\xbf\xbf");
	expect_text("a\x80z", "a\xee\xbe\x80z");
	/* Overlong, a surrogate, past the end, cut short. */
	expect_round("\xc0\x80");
	expect_round("\xed\xa0\x80");
	expect_round("\xf4\x90\x80\x80");
	expect_round("\xe2\x82");
	/* The escapes themselves. */
	expect_text("\xee\xbf\xbf", "\xee\xbf\xae\xee\xbe\xbf\xee\xbe\xbf");
	expect_text("\xee\xbd\xbf", "\xee\xbd\xbf");
}

static void test_refused(void **state)
{
	json_t *zero = json_stringn("a\0b", 3), *number = json_integer(1);
	json_t *four = json_string("four");
	char out[4];

	assert_int_equal(name_unescape(zero, out, sizeof(out)), -EINVAL);
	assert_int_equal(name_unescape(number, out, sizeof(out)), -EINVAL);
	assert_int_equal(name_unescape(four, out, sizeof(out)), -ENAMETOOLONG);
	json_decref(zero);
	json_decref(number);
	json_decref(four);
}

static void test_random(void **state)
{
	uint64_t x = scratch_seed();

	for (uint64_t i = scratch_ops(50000); i; i--) {
		char name[17];
		size_t len = 0;

		while (len < sizeof(name) - 1) {
			x = x * UINT64_C(6364136223846793005) +
			    1442695040888963407u;
			name[len] = (char)(x >> 56);
			/* Mostly bytes that may begin or end something. */
			if (x >> 54 & 3)
				name[len] |= (char)0x80;
			if (!name[len])
				break;
			len++;
		}
		name[len] = 0;
		expect_round(name);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_known),
	        cmocka_unit_test(test_refused),
	        cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
