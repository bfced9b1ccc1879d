/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Properties of states, and tags that hold them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "fixture.h"
#include "fsck.h"
#include "property_record.h"
#include "util.h"

#define ZEROS_10 "0000000000"
#define ZEROS ZEROS_10 ZEROS_10 ZEROS_10 ZEROS_10 ZEROS_10 ZEROS_10 ZEROS_10

static struct state *find(struct fixture *w, const char *name)
{
	struct state *s;

	assert_int_equal(state_resolve(w->forest, name, &s), 0);
	return s;
}

static int setup(void **state)
{
	struct fixture *w = calloc(1, sizeof(*w));
	struct state *s;

	fixture_init(w, 1, false);
	store_lock(w->store);
	assert_int_equal(state_set_default(w->forest, NULL), 0);
	assert_int_equal(state_snapshot(w->forest, find(w, "main"), "one", &s),
	                 0);
	assert_int_equal(state_snapshot(w->forest, find(w, "main"), "two", &s),
	                 0);
	assert_int_equal(state_fork(w->forest, find(w, "main"), "other", &s),
	                 0);
	store_unlock(w->store);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *w = *state;

	fixture_close(w);
	fixture_release(w);
	free(w);
	return 0;
}

static void expect(struct state *s, const char *key, const char *value,
                   bool inherited)
{
	static struct property p;

	if (!value) {
		assert_int_equal(property_get(s, key, &p), -ENODATA);
		return;
	}
	assert_int_equal(property_get(s, key, &p), 0);
	assert_string_equal(p.key, key);
	assert_string_equal(p.value, value);
	assert_int_equal(p.inherited, inherited);
}

/* The number of records of a state. */
static int records(struct fixture *w, uint64_t number)
{
	static struct record record;
	int count = 0;

	be64_put(record.key, number);
	record.key_len = 8;
	while (!table_next(w->store, TABLE_PROPERTY, record.key, record.key_len,
	                   &record) &&
	       be64_get(record.key) == number)
		count++;
	return count;
}

static void test_set(void **state)
{
	struct fixture *w = *state;
	static char value[PROPERTY_VALUE_MAX + 1];
	struct state *s;

	store_lock(w->store);
	s = find(w, "main");
	expect(s, "a:b", NULL, false);
	assert_int_equal(property_set(s, "a:b", "1"), 0);
	assert_int_equal(property_set(s, "a:", ""), 0);
	expect(s, "a:b", "1", false);
	expect(s, "a:", "", false);
	/* Every length around the ends of pieces, up and down. */
	for (size_t len = 1390; len <= PROPERTY_VALUE_MAX; len += 1) {
		memset(value, 'x', len);
		value[len] = 0;
		assert_int_equal(property_set(s, "a:b", value), 0);
		expect(s, "a:b", value, false);
		if (len == 1410 || len == 2810)
			len += 1380;
	}
	assert_int_equal(property_set(s, "a:b", "short"), 0);
	expect(s, "a:b", "short", false);
	assert_int_equal(property_unset(s, "a:b"), 0);
	expect(s, "a:b", NULL, false);
	expect(s, "a:", "", false);
	assert_int_equal(property_unset(s, "a:b"), -ENODATA);
	assert_int_equal(property_unset(s, "a:"), 0);
	assert_int_equal(records(w, s->number), 1); /* its creator */
	store_unlock(w->store);
}

static void test_inheriting(void **state)
{
	struct fixture *w = *state;
	struct state *main_state, *one, *other;

	store_lock(w->store);
	main_state = find(w, "main");
	one = find(w, "main~one");
	other = find(w, "other");
	assert_int_equal(property_set(main_state, "a:b", "of main"), 0);
	assert_int_equal(property_set(main_state, "description", "main"), 0);
	expect(one, "a:b", "of main", true);
	expect(other, "a:b", NULL, false);
	/* Properties without a colon are not inherited. */
	expect(one, "description", NULL, false);
	assert_int_equal(property_set(one, "a:b", "own"), 0);
	expect(one, "a:b", "own", false);
	assert_int_equal(property_unset(one, "a:b"), 0);
	expect(one, "a:b", "of main", true);
	assert_int_equal(state_rename(w->forest, main_state, "renamed"), 0);
	expect(main_state, "a:b", "of main", false);
	expect(one, "a:b", "of main", true);
	store_unlock(w->store);
}

static void test_walking(void **state)
{
	static const char *const keys[] = {"a", "a:", "a:b", "a:bc", "b:"};
	struct fixture *w = *state;
	static struct property p;
	struct state *s;
	size_t i = 0;
	int r;

	store_lock(w->store);
	s = find(w, "other");
	for (i = 0; i < ARRAY_SIZE(keys); i++)
		assert_int_equal(property_set(s, keys[i], keys[i]), 0);
	p.key[0] = 0;
	for (i = 0; !(r = property_next(s, p.key, &p)); i++) {
		assert_in_range(i, 0, ARRAY_SIZE(keys) - 1);
		assert_string_equal(p.key, keys[i]);
		assert_string_equal(p.value, keys[i]);
	}
	assert_int_equal(r, -ENOENT);
	assert_int_equal(i, ARRAY_SIZE(keys));
	store_unlock(w->store);
}

static void test_limits(void **state)
{
	struct fixture *w = *state;
	char key[PROPERTY_KEY_MAX + 2];
	struct state *s;

	store_lock(w->store);
	s = find(w, "other");
	for (int i = 0; i < PROPERTIES_MAX; i++) {
		snprintf(key, sizeof(key), "k:%d", i);
		assert_int_equal(property_set(s, key, key), 0);
	}
	assert_int_equal(property_set(s, "k:more", ""), -ENOSPC);
	assert_int_equal(property_set(s, "k:0", "again"), 0);
	assert_int_equal(property_unset(s, "k:1"), 0);
	memset(key, 'k', PROPERTY_KEY_MAX);
	key[PROPERTY_KEY_MAX] = 0;
	key[1] = ':';
	assert_int_equal(property_set(s, key, "long"), 0);
	expect(s, key, "long", false);
	for (int i = 0; i < TAGS_MAX; i++) {
		snprintf(key, sizeof(key), "tag %d", i);
		assert_int_equal(tag_add(s, key), 0);
	}
	assert_int_equal(tag_add(s, "more"), -ENOSPC);
	for (int i = 0; i < TAGS_MAX; i++) {
		snprintf(key, sizeof(key), "tag %d", i);
		assert_int_equal(tag_del(s, key), 0);
	}
	assert_int_equal(records(w, s->number), PROPERTIES_MAX);
	store_unlock(w->store);
}

static void test_checking(void **state)
{
	static const struct {
		bool snapshot;
		const char *key, *value, *stored; /* NULL: refused */
	} cases[] = {
	        {false, "a:b", "any\ttext\n\xc3\xa4", "any\ttext\n\xc3\xa4"},
	        {true, "a:b", "", ""},
	        {false, "description", "text", "text"},
	        {false, "quota", "10K", "10240"},
	        {true, "quota", "10K", NULL},
	        {false, "quota", "0", NULL},
	        {false, "quota", "ten", NULL},
	        {true, "ttl", "7d", "7d"},
	        {true, "ttl", ZEROS "7d", ZEROS "7d"},
	        {false, "ttl", "0s", NULL},
	        {false, "ttl", "7", NULL},
	        {false, "creator", "0", NULL},
	        {false, "unknown", "x", NULL},
	        {false, "", "x", NULL},
	        {false, "a b:", "x", NULL},
	        {false, "a=b:", "x", NULL},
	        {false, "\xc3\xa4:", "x", NULL},
	        {false, "a:b", "bell\a", NULL},
	        {false, "a:b", "\xff", NULL},
	};
	static char stored[PROPERTY_VALUE_MAX + 1],
	        value[PROPERTY_VALUE_MAX + 2];
	const char *reason = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = property_check(cases[i].snapshot, cases[i].key,
		                       cases[i].value, stored, &reason);

		if (r != (cases[i].stored ? 0 : -EINVAL))
			fail_msg("%s=%s: %d", cases[i].key, cases[i].value, r);
		if (cases[i].stored)
			assert_string_equal(stored, cases[i].stored);
	}
	memset(value, 'x', PROPERTY_VALUE_MAX + 1);
	assert_int_equal(property_check(false, "a:b", value, stored, &reason),
	                 -EINVAL);
	value[PROPERTY_VALUE_MAX] = 0;
	assert_int_equal(property_check(false, "a:b", value, stored, &reason),
	                 0);
}

static void test_tags(void **state)
{
	struct fixture *w = *state;
	struct state *main_state, *one, *held;
	char tag[TAG_MAX + 1];
	int64_t time;

	store_lock(w->store);
	main_state = find(w, "main");
	one = find(w, "main~one");
	assert_int_equal(tag_add(one, "keep"), 0);
	assert_int_equal(tag_add(one, "keep"), -EEXIST);
	assert_int_equal(tag_add(one, ""), -EINVAL);
	assert_int_equal(tag_add(one, "\xff"), -EINVAL);
	assert_int_equal(tag_add(one, "also"), 0);
	assert_int_equal(tag_next(one, "", tag, &time), 0);
	assert_string_equal(tag, "also");
	assert_true(time > 0);
	assert_int_equal(state_delete(w->forest, one, false), -EBUSY);
	assert_int_equal(state_delete(w->forest, main_state, true), -EBUSY);
	assert_int_equal(state_find_tag(main_state, true, &held, tag), 0);
	assert_ptr_equal(held, one);
	assert_int_equal(state_find_tag(main_state, false, &held, tag),
	                 -ENOENT);
	assert_int_equal(tag_del(one, "also"), 0);
	assert_int_equal(tag_del(one, "also"), -ENODATA);
	assert_int_equal(state_delete(w->forest, main_state, true), -EBUSY);
	assert_int_equal(tag_del(one, "keep"), 0);
	assert_int_equal(records(w, one->number), 0);
	assert_int_equal(records(w, main_state->number), 1);
	assert_int_equal(state_delete(w->forest, one, false), 0);
	store_unlock(w->store);
}

static void test_deleting(void **state)
{
	struct fixture *w = *state;
	struct state *main_state, *one;
	uint64_t numbers[2];
	char key[32];

	store_lock(w->store);
	main_state = find(w, "main");
	one = find(w, "main~one");
	numbers[0] = main_state->number;
	numbers[1] = one->number;
	for (int i = 0; i < PROPERTIES_MAX - 1; i++) {
		snprintf(key, sizeof(key), "k:%d", i);
		assert_int_equal(property_set(main_state, key, "x"), 0);
		assert_int_equal(property_set(one, key, "x"), 0);
	}
	assert_int_equal(state_delete(w->forest, main_state, true), 0);
	assert_int_equal(property_set(main_state, "a:b", "late"), -ESTALE);
	assert_int_equal(tag_add(main_state, "late"), -ESTALE);
	store_unlock(w->store);
	assert_int_equal(forest_drain(w->forest), 0);
	store_lock(w->store);
	for (int i = 0; i < 2; i++)
		assert_int_equal(records(w, numbers[i]), 0);
	store_unlock(w->store);
}

/* ---- Checking and repairing --------------------------------------------- */

static int count_finding(void *arg, const struct finding *finding)
{
	(void)finding;
	++*(int *)arg;
	return 0;
}

static int findings(struct fixture *w)
{
	int found = 0;
	const struct check_options options = {.found = count_finding,
	                                      .arg = &found};

	assert_int_equal(forest_drain(w->forest), 0);
	assert_int_equal(forest_check(w->store, &options), 0);
	return found;
}

static void plant(struct fixture *w, const uint8_t *key, size_t len,
                  const void *value, size_t value_len)
{
	store_lock(w->store);
	assert_int_equal(
	        table_put(w->store, TABLE_PROPERTY, key, len, value, value_len),
	        0);
	store_unlock(w->store);
}

static void test_findings(void **state)
{
	struct fixture *w = *state;
	uint8_t key[TABLE_KEY_MAX], stored[PROPERTY_STORED_MAX];
	uint64_t one, two;
	struct state *s;
	size_t len;

	store_lock(w->store);
	s = find(w, "main~one");
	one = s->number;
	two = find(w, "main~two")->number;
	assert_int_equal(property_set(s, "a:b", "x"), 0);
	assert_int_equal(tag_add(s, "keep"), 0);
	store_unlock(w->store);
	assert_int_equal(findings(w), 0);
	/* A state that is not there. */
	len = property_key(key, 99, "a:b", 0);
	plant(w, key, len, stored, property_value_encode("x", stored));
	assert_int_equal(findings(w), 1);
	/* A value that is not what was stored. */
	stored[4] ^= 1;
	plant(w, key, property_key(key, two, "a:b", 0), stored, 5);
	assert_int_equal(findings(w), 2);
	/* A piece without the one in front of it. */
	plant(w, key, property_key(key, two, "a:c", 1), stored, 5);
	assert_int_equal(findings(w), 3);
	/* A tag that the fork does not know, one that is not there. */
	plant(w, key, tag_key(key, two, "keep"), "\2", 1);
	assert_int_equal(findings(w), 4);
	store_lock(w->store);
	assert_int_equal(table_del(w->store, TABLE_PROPERTY, key,
	                           tag_key(key, one, "keep")),
	                 0);
	store_unlock(w->store);
	assert_int_equal(findings(w), 5);
	/* A record of no known kind. */
	property_prefix(key, two, PROPERTY_VALUE);
	key[8] = 77;
	plant(w, key, 12, "", 0);
	assert_int_equal(findings(w), 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_checking),
	        cmocka_unit_test_setup_teardown(test_set, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_inheriting, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_walking, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_tags, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_deleting, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_findings, setup, teardown),
	};

	return cmocka_run_group_tests_name("property", tests, NULL, NULL);
}
