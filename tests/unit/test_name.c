/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names that states may have, times, and what names resolve to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "forest.h"
#include "name.h"
#include "scratch.h"
#include "util.h"

/* ---- Which are allowed -------------------------------------------------- */

static void test_fork_names(void **state)
{
	static const char *const good[] = {
	        "main",
	        "a",
	        "main@try",
	        "main@try@again",
	        "@try",
	        "a b",
	        "na\xc3\xafve",
	        "\xff\xfe",
	        "main~monday@redo",
	        "main~@2026-11-20@redo",
	        "main~1@x",
	        "a~b@c~d@e",
	        "x.y",
	        "-rf",
	};
	static const char *const bad[] = {
	        "",      ".",           "..",      ".hidden",
	        "a/b",   "a\nb",        "a\x7f",   "\x1f",
	        "main~", "main~monday", "main~1",  "main~@yesterday",
	        "a@b~c", "~",           "a~b@c~d", "main~monday@redo~x",
	        "~@",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (name_check_fork(good[i]))
			fail_msg("'%s' should be allowed", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (name_check_fork(bad[i]) != -EINVAL)
			fail_msg("'%s' should not be allowed", bad[i]);
}

static void test_snapshot_names(void **state)
{
	static const char *const good[] = {"monday", "2026-11-20", ".auto",
	                                   "a@b",    "@yesterday", "1"};
	static const char *const bad[] = {"",    ".", "..",   "a/b",
	                                  "a~b", "~", "a\tb", "\x01"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		if (name_check_snapshot(good[i]))
			fail_msg("'%s' should be allowed", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (name_check_snapshot(bad[i]) != -EINVAL)
			fail_msg("'%s' should not be allowed", bad[i]);
}

static void test_name_length(void **state)
{
	char name[NAME_LEN_MAX + 2];

	(void)state;
	memset(name, 'x', sizeof(name));
	name[NAME_LEN_MAX + 1] = 0;
	assert_int_equal(name_check_fork(name), -ENAMETOOLONG);
	assert_int_equal(name_check_snapshot(name), -ENAMETOOLONG);
	name[NAME_LEN_MAX] = 0;
	assert_int_equal(name_check_fork(name), 0);
	assert_int_equal(name_check_snapshot(name), 0);
}

/* ---- Times -------------------------------------------------------------- */

/* 2026-11-20 12:30:45.5 UTC */
static const int64_t now = INT64_C(1795177845500000000);

static int64_t parse(const char *text)
{
	int64_t t = 0;

	if (name_parse_time(text, now, &t))
		fail_msg("'%s' is a time", text);
	return t;
}

static void zone(const char *name)
{
	setenv("TZ", name, 1);
	tzset();
}

static void test_times(void **state)
{
	static const int64_t second = 1000000000;
	/* Two hours east of Greenwich: now is 14:30:45 there. */
	static const char *const zones[] = {"UTC0", "XXX-2"};

	(void)state;
	for (int z = 0; z < 2; z++) {
		int64_t midnight =
		        INT64_C(1795132800) * second - z * 7200 * second;

		zone(zones[z]);
		/* Each counts to its end. */
		assert_true(parse("2026-11-20") ==
		            midnight + 86400 * second - 1);
		assert_true(parse("today") == parse("2026-11-20"));
		assert_true(parse("yesterday") == midnight - 1);
		assert_true(parse("yesterday") == parse("2026-11-19"));
		assert_true(parse("2026-11-20T12:00") ==
		            midnight + 43260 * second - 1);
		assert_true(parse("2026-11-20 12:00:01") ==
		            midnight + 43202 * second - 1);
		assert_true(parse("2026-11-20T00:00Z") ==
		            INT64_C(1795132860) * second - 1);
		assert_true(parse("2026-11-20T00:00:07Z") ==
		            INT64_C(1795132808) * second - 1);
		assert_true(parse("12:00") == parse("2026-11-20T12:00"));
		assert_true(parse("12:00:01") == parse("2026-11-20T12:00:01"));
		assert_true(parse("12:00:01Z") ==
		            parse("2026-11-20T12:00:01Z"));
		assert_true(parse("now") == now);
		assert_true(parse("-0s") == now);
		assert_true(parse("-90s") == now - 90 * second);
		assert_true(parse("-5m") == now - 300 * second);
		assert_true(parse("-2h") == now - 7200 * second);
		assert_true(parse("-1d") == now - 86400 * second);
		assert_true(parse("-1w") == now - 7 * 86400 * second);
	}
	zone("UTC0");
	assert_true(parse("1969-12-31T23:59:58Z") == -second - 1);
	assert_true(parse("2024-02-29") == INT64_C(1709251200) * second - 1);
	assert_true(parse("2024-12-31") == INT64_C(1735689600) * second - 1);
	/* A day of 25 hours and one of 23. */
	zone("CET-1CEST,M3.5.0,M10.5.0/3");
	assert_true(parse("2026-10-25") - parse("2026-10-24") ==
	            25 * 3600 * second);
	assert_true(parse("2026-03-29") - parse("2026-03-28") ==
	            23 * 3600 * second);
	zone("UTC0");
	assert_true(parse("9999-12-31") == INT64_MAX);
	assert_true(parse("0001-01-01") == INT64_MIN);
	assert_true(parse("-99999999999w") == INT64_MIN);
}

static void test_bad_times(void **state)
{
	static const char *const bad[] = {
	        "",
	        "tomorrow",
	        "2026",
	        "2026-11",
	        "2026-11-",
	        "2026-13-01",
	        "2026-00-01",
	        "2026-01-00",
	        "2026-02-29",
	        "2026-11-31",
	        "2026-11-20T",
	        "2026-11-20T12",
	        "2026-11-20T24:00",
	        "2026-11-20T12:60",
	        "2026-11-20T12:00:61",
	        "2026-11-20T12:00x",
	        "2026-11-20T12:00ZZ",
	        "-",
	        "-h",
	        "-2",
	        "-2y",
	        "-2hh",
	        "- 2h",
	        "2h",
	        "-99999999999999999999h",
	        "now ",
	        "20261120",
	        "12",
	        "12:",
	        "1:00",
	        "24:00",
	        "12:60",
	        "12:00:61",
	        "12:00:0",
	        "12:00x",
	        "T12:00",
	        "2026-11-20Z12:00",
	};
	int64_t t;

	(void)state;
	zone("UTC0");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (name_parse_time(bad[i], now, &t) != -EINVAL)
			fail_msg("'%s' is no time", bad[i]);
}

/* ---- What they find ----------------------------------------------------- */

struct fixture {
	struct scratch scratch;
	struct store *store;
	struct forest *forest;
};

static void fixture_open(struct fixture *fixture)
{
	assert_int_equal(
	        store_open(fixture->scratch.store, NULL, &fixture->store), 0);
}

static int fixture_setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	scratch_init(&fixture->scratch);
	assert_int_equal(store_create(fixture->scratch.store, NULL), 0);
	fixture_open(fixture);
	assert_int_equal(forest_create(fixture->store, 0, 0, 0755), 0);
	assert_int_equal(forest_create(fixture->store, 0, 0, 0755), -EEXIST);
	assert_int_equal(forest_open(fixture->store, &fixture->forest), 0);
	store_lock(fixture->store);
	*state = fixture;
	return 0;
}

static int fixture_teardown(void **state)
{
	struct fixture *fixture = *state;

	store_unlock(fixture->store);
	forest_close(fixture->forest);
	assert_int_equal(store_close(fixture->store), 0);
	scratch_release(&fixture->scratch);
	free(fixture);
	return 0;
}

static struct state *find(struct fixture *fixture, const char *name)
{
	struct state *s;

	assert_int_equal(state_resolve(fixture->forest, name, &s), 0);
	return s;
}

static uint64_t make_fork(struct fixture *fixture, const char *name)
{
	struct state *source, *s;

	assert_int_equal(state_source(fixture->forest, name, &source), 0);
	assert_int_equal(state_fork(fixture->forest, source, name, &s), 0);
	return s->number;
}

static uint64_t make_snapshot(struct fixture *fixture, const char *fork,
                              const char *name)
{
	struct state *s;

	assert_int_equal(
	        state_snapshot(fixture->forest, find(fixture, fork), name, &s),
	        0);
	return s->number;
}

static void expect(struct fixture *fixture, const char *name, uint64_t number)
{
	char full[FULL_NAME_MAX];
	struct state *s = find(fixture, name);

	if (s->number != number)
		fail_msg("'%s' is state %d, not %d", name, (int)s->number,
		         (int)number);
	state_full_name(fixture->forest, s, full);
	s = find(fixture, full);
	if (s->number != number)
		fail_msg("'%s' does not name its state", full);
}

static void refuse(struct fixture *fixture, const char *name, int err)
{
	struct state *s;
	int r = state_resolve(fixture->forest, name, &s);

	if (r != err)
		fail_msg("'%s' gives %d, not %d", name, r, err);
}

static void source(struct fixture *fixture, const char *name, int err,
                   uint64_t number)
{
	struct state *s;
	int r = state_source(fixture->forest, name, &s);

	if (r != err || (!r && s->number != number))
		fail_msg("the source of '%s' is %d, state %d", name, r,
		         r ? 0 : (int)s->number);
}

static void test_resolve(void **state)
{
	struct fixture *fixture = *state;
	uint64_t monday, tuesday, redo, model, one;

	expect(fixture, "main", 1);
	refuse(fixture, "none", -ENOENT);
	refuse(fixture, "", -EINVAL);
	refuse(fixture, "a/b", -EINVAL);
	monday = make_snapshot(fixture, "main", "monday");
	tuesday = make_snapshot(fixture, "main", "tuesday");
	expect(fixture, "main~monday", monday);
	expect(fixture, "main/.snap/tuesday", tuesday);
	expect(fixture, "main~1", tuesday);
	expect(fixture, "main~2", monday);
	expect(fixture, "main~@now", tuesday);
	refuse(fixture, "main~0", -ENOENT);
	refuse(fixture, "main~3", -ENOENT);
	refuse(fixture, "main~99999999999999999999999", -ENOENT);
	refuse(fixture, "main~", -EINVAL);
	refuse(fixture, "none~monday", -ENOENT);
	refuse(fixture, "none/.snap/monday", -ENOENT);
	refuse(fixture, "main/.snap/", -EINVAL);
	refuse(fixture, "main/.snap/..", -EINVAL);
	refuse(fixture, "main~@-1d", -ENOENT);
	refuse(fixture, "main~@someday", -EINVAL);
	redo = make_fork(fixture, "main~monday@redo");
	expect(fixture, "main~monday@redo", redo);
	assert_true(find(fixture, "main~monday@redo")->origin == monday);
	one = make_snapshot(fixture, "main~monday@redo", "one");
	expect(fixture, "main~monday@redo~one", one);
	expect(fixture, "main~monday@redo~1", one);
	/* A snapshot called like a number or a time is found by its name. */
	one = make_snapshot(fixture, "main", "2");
	expect(fixture, "main~2", one);
	one = make_snapshot(fixture, "main", "@now");
	expect(fixture, "main~@now", one);
	/* A fork called like a snapshot's full name comes first. */
	one = make_snapshot(fixture, "main", "a@b");
	expect(fixture, "main~a@b", one);
	model = make_snapshot(fixture, "main", "a");
	model = make_fork(fixture, "main~a@b@c");
	assert_true(find(fixture, "main~a@b@c")->origin == one);
	model = make_fork(fixture, "main@x");
	assert_int_equal(state_rename(fixture->forest, find(fixture, "main@x"),
	                              "main~a@b"),
	                 0);
	expect(fixture, "main~a@b", model);
	expect(fixture, "main/.snap/a@b", one);
}

static void test_positions(void **state)
{
	static const char *const positions[] = {"1",    "007",  "9999999",
	                                        "@now", "@-2h", "@2026-11-20"};
	static const char *const others[] = {
	        "",  "one",    "1a",  "-1",        "20261120",
	        "@", "@never", "now", "2026-11-20"};
	struct fixture *fixture = *state;
	uint64_t one, two;
	struct state *s;

	for (size_t i = 0; i < ARRAY_SIZE(positions); i++)
		if (!name_is_position(positions[i]))
			fail_msg("'%s' reads as a position", positions[i]);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (name_is_position(others[i]))
			fail_msg("'%s' is no position", others[i]);

	one = make_snapshot(fixture, "main", "1");
	two = make_snapshot(fixture, "main", "two");
	assert_int_equal(state_named(fixture->forest, "main~1", &s), 0);
	assert_true(s->number == one);
	assert_int_equal(state_at_position(fixture->forest, "main~1", &s), 0);
	assert_true(s->number == two);
	assert_int_equal(state_named(fixture->forest, "main~2", &s), -ENOENT);
	assert_int_equal(state_named(fixture->forest, "main~@now", &s),
	                 -ENOENT);
	assert_int_equal(state_at_position(fixture->forest, "main~@now", &s),
	                 0);
	assert_true(s->number == two);
	assert_int_equal(state_named(fixture->forest, "main/.snap/1", &s), 0);
	assert_true(s->number == one);
	assert_int_equal(state_at_position(fixture->forest, "main~two", &s),
	                 -ENOENT);
	assert_int_equal(state_at_position(fixture->forest, "main", &s),
	                 -EINVAL);
	assert_int_equal(state_at_position(fixture->forest, "none~1", &s),
	                 -ENOENT);
	expect(fixture, "main~1", one);
	expect(fixture, "main~2", one);
}

static void test_source(void **state)
{
	struct fixture *fixture = *state;
	uint64_t try, again, monday;
	struct state *s;

	/* A new store has no default state: a plain name is a new tree. */
	assert_int_equal(state_source(fixture->forest, "new", &s), 0);
	assert_null(s);
	assert_int_equal(
	        state_set_default(fixture->forest, find(fixture, "main")), 0);
	source(fixture, "new", 0, 1);
	source(fixture, "main@try", 0, 1);
	source(fixture, "other@try", -ENOENT, 0);
	source(fixture, "@try", -ENOENT, 0);
	try = make_fork(fixture, "main@try");
	source(fixture, "main@try@again", 0, try);
	source(fixture, "main@tri@again", 0, 1);
	again = make_fork(fixture, "main@try@again");
	source(fixture, "main@try@again@", 0, again);
	source(fixture, "main@try@", 0, try);
	monday = make_snapshot(fixture, "main", "monday");
	source(fixture, "main~monday@redo", 0, monday);
	source(fixture, "main~1@redo", 0, monday);
	source(fixture, "main~@now@redo", 0, monday);
	source(fixture, "main/.snap/monday@redo", 0, monday);
	source(fixture, "main~sunday@redo", -ENOENT, 0);
	assert_int_equal(
	        state_set_default(fixture->forest, find(fixture, "main@try")),
	        0);
	source(fixture, "new", 0, try);
	assert_int_equal(state_set_default(fixture->forest, NULL), 0);
	assert_int_equal(state_source(fixture->forest, "new", &s), 0);
	assert_null(s);
	source(fixture, "none@x", -ENOENT, 0);
}

/* The clock may go back; the order of snapshots does not. */
static void test_times_ascend(void **state)
{
	struct fixture *fixture = *state;
	int64_t last = 0;
	char name[16];

	for (int i = 0; i < 100; i++) {
		struct state *s;

		snprintf(name, sizeof(name), "s%d", i);
		make_snapshot(fixture, "main", name);
		s = find(fixture, "main~1");
		assert_string_equal(s->name, name);
		assert_true(s->created > last);
		last = s->created;
		/* The clock had been an hour ahead. */
		if (i == 50) {
			uint8_t key[TIME_KEY_LEN];

			time_key(key, s->fork, s->created, s->number);
			table_del(fixture->store, TABLE_TIME, key, sizeof(key));
			last = s->created += INT64_C(3600000000000);
			time_key(key, s->fork, s->created, s->number);
			table_put(fixture->store, TABLE_TIME, key, sizeof(key),
			          NULL, 0);
			state_mark(s);
		}
	}
	assert_string_equal(find(fixture, "main~100")->name, "s0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_fork_names),
	        cmocka_unit_test(test_snapshot_names),
	        cmocka_unit_test(test_name_length),
	        cmocka_unit_test(test_times),
	        cmocka_unit_test(test_bad_times),
	        cmocka_unit_test_setup_teardown(test_resolve, fixture_setup,
	                                        fixture_teardown),
	        cmocka_unit_test_setup_teardown(test_positions, fixture_setup,
	                                        fixture_teardown),
	        cmocka_unit_test_setup_teardown(test_source, fixture_setup,
	                                        fixture_teardown),
	        cmocka_unit_test_setup_teardown(
	                test_times_ascend, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
