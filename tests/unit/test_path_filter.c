/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rules that include and exclude paths; rsync is asked in test_import.py. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "scratch.h"
#include "path_filter.h"
#include "util.h"

/* Ask a filter of these rules, one a line. */
static bool excludes(const char *rules, const char *path, bool is_dir)
{
	struct path_filter filter = {0};
	char *text = strdup(rules), *at = text, *rule;
	bool excluded;

	while ((rule = strsep(&at, "\n")))
		if (*rule)
			assert_int_equal(path_filter_add(&filter, rule), 0);
	excluded = path_filter_excludes(&filter, path, is_dir);
	path_filter_release(&filter);
	free(text);
	return excluded;
}

static void test_known(void **state)
{
	static const struct {
		const char *rules, *path;
		bool is_dir, excluded;
	} cases[] = {
	        {"", "/a", false, false},
	        {"- a", "/a", false, true},
	        {"- a", "/b/a", false, true},
	        {"- a", "/ba", false, false},
	        {"exclude a", "/a", false, true},
	        {"- /a", "/b/a", false, false},
	        {"- /b/a", "/b/a", false, true},
	        {"- b/a", "/c/b/a", false, true},
	        {"- a/", "/a", false, false},
	        {"- a/", "/a", true, true},
	        {"- *", "/b/a", false, true},
	        {"- /*", "/b/a", false, false},
	        {"- /**", "/b/a", false, true},
	        {"- a/***", "/a", true, true},
	        {"- a/***", "/a", false, false},
	        {"- a/***", "/a/b/c", false, true},
	        {"- **/c", "/c", false, true},
	        {"- a/**/c", "/x/a/b/b/c", false, true},
	        {"- a?c", "/a/c", false, false},
	        {"- [!a]", "/b", false, true},
	        {"- [a-c]", "/d", false, false},
	        {"- []]", "/]", false, true},
	        {"- [", "/[", false, false},
	        {"- [[:digit:]x]*", "/7", false, true},
	        {"- [[:digit:]x]*", "/y", false, false},
	        {"- x\\*y", "/x*y", false, true},
	        {"- x\\*y*", "/xzy", false, false},
	        {"+ a\n- *", "/a", false, false},
	        {"+ a\n- *", "/b", false, true},
	        {"- *\n!\n- b", "/a", false, false},
	        {"- *\nclear\n- b", "/b", false, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (excludes(cases[i].rules, cases[i].path, cases[i].is_dir) !=
		    cases[i].excluded)
			fail_msg("'%s' and '%s'", cases[i].rules,
			         cases[i].path);
}

static void test_refused(void **state)
{
	struct path_filter filter = {0};

	assert_int_equal(path_filter_add(&filter, ""), -EINVAL);
	assert_int_equal(path_filter_add(&filter, "a"), -EINVAL);
	assert_int_equal(path_filter_add(&filter, "- "), -EINVAL);
	assert_int_equal(path_filter_add(&filter, "-a"), -EINVAL);
	assert_int_equal(path_filter_add(&filter, "merge file"), -EINVAL);
	assert_int_equal(filter.len, 0);
	path_filter_release(&filter);
}

/* Patterns that take a matcher forever that tries everything. */
static void test_many_asterisks(void **state)
{
	char path[4096], rule[512] = "- ";

	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = 0;
	for (int i = 0; i < 60; i++)
		strcat(rule, "*a");
	assert_true(excludes(rule, path, false));
	strcat(rule, "*b");
	assert_false(excludes(rule, path, false));
	strcpy(rule, "- /");
	for (int i = 0; i < 30; i++)
		strcat(rule, "**/*a");
	strcat(rule, "b");
	for (size_t i = 2; i < sizeof(path) - 1; i += 2)
		path[i] = '/';
	assert_false(excludes(rule, path, false));
}

/* The rules of matching, without any care for time. */
static bool matches(const char *pattern, const char *text)
{
	if (*pattern == '*') {
		bool any = pattern[1] == '*';
		const char *rest = pattern + strspn(pattern, "*");

		for (;; text++) {
			if (matches(rest, text))
				return true;
			if (!*text || (*text == '/' && !any))
				return false;
		}
	}
	if (!*pattern || !*text)
		return !*pattern && !*text;
	if (*pattern != *text && (*pattern != '?' || *text == '/'))
		return false;
	return matches(pattern + 1, text + 1);
}

static void random_text(uint64_t *rng, const char *letters, char *ret,
                        unsigned most)
{
	unsigned len = 1 + (unsigned)(scratch_random(rng) % most);

	for (unsigned i = 0; i < len; i++)
		ret[i] = letters[scratch_random(rng) % strlen(letters)];
	ret[len] = 0;
}

static void test_random(void **state)
{
	uint64_t rng = scratch_seed();
	unsigned matched = 0;

	for (int i = 0; i < 100000; i++) {
		char rule[32] = "- /", path[32] = "/";

		random_text(&rng, "aab*?*/", rule + 3, 8);
		random_text(&rng, "aab/", path + 1, 10);
		/* These have a meaning of their own. */
		if (rule[3] == '/' || rule[strlen(rule) - 1] == '/' ||
		    strstr(rule, "/***"))
			continue;
		if (excludes(rule, path, false) != matches(rule + 3, path + 1))
			fail_msg("'%s' and '%s'", rule, path);
		matched += matches(rule + 3, path + 1);
	}
	assert_true(matched > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_known),
	        cmocka_unit_test(test_refused),
	        cmocka_unit_test(test_many_asterisks),
	        cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
