/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* States by libcoppice: forks, expiry, lists, comparing and joining. */
#include "lib_fixture.h"

/* ---- States ------------------------------------------------------------- */

static void test_states_are_never_locked(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_info info = {.size = sizeof(info)};
	struct coppice_state *old, *fork;
	char name[COPPICE_NAME_SIZE];

	lib_put(w->store, "main", "k", "1");
	ok(coppice_snapshot(w->store, "main", "s1"));
	lib_put(w->store, "main", "k", "2");
	old = lib_state(w->store, "main~s1");
	fork = lib_state(w->store, "main");
	for (int i = 0; i < 20; i++) {
		ok(coppice_fork(w->store, "main~s1", "twin", COPPICE_UNIQUE,
		                name));
		lib_put(w->store, name, "k", name);
	}
	assert_int_equal(coppice_fork(w->store, "main~s1", "twin", 0, NULL),
	                 -EEXIST);
	lib_expect_in(w->store, "twin-2", "k", "twin-2");
	ok(coppice_info(fork, &info));
	assert_int_equal(info.snapshots, 1);
	assert_string_equal(info.name, "main");
	/* Open states stay readable when they are deleted. */
	ok(coppice_remove(w->store, "main~s1", 0));
	for (int i = 1; i <= 16; i++) {
		snprintf(name, sizeof(name), i > 1 ? "twin-%d" : "twin", i);
		ok(coppice_remove(w->store, name, 0));
	}
	lib_expect(old, "k", "1");
	assert_int_equal(coppice_info(old, &info), -ESTALE);
	ok(coppice_remove(w->store, "main", COPPICE_SNAPSHOTS));
	assert_int_equal(coppice_get(fork, "k", 0, name, 1), -ESTALE);
	lib_expect(old, "k", "1");
	coppice_state_close(old);
	coppice_state_close(fork);
	ok(coppice_reclaim(w->store));
}

static int count_row(void *arg, const struct coppice_info *info)
{
	int *count = arg;

	assert_int_equal(info->size, sizeof(*info));
	return ++*count == 100 ? 7 : 0;
}

static void test_expiry_and_list(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_stats stats = {.size = sizeof(stats)};
	struct coppice_info info = {.size = sizeof(info)};
	struct coppice_state *fork, *middle;
	uint64_t gone;
	char name[32];
	int count = 0;

	for (int i = 0; i < 120; i++) {
		snprintf(name, sizeof(name), "s%03d", i);
		lib_put(w->store, "main", "k", name);
		ok(coppice_snapshot(w->store, "main", name));
	}
	assert_int_equal(coppice_list(w->store, "main", count_row, &count), 7);
	count = -1000;
	ok(coppice_list(w->store, "main", count_row, &count));
	assert_int_equal(count, -880);
	ok(coppice_hold(w->store, "main~s002", "mine"));
	assert_int_equal(coppice_remove(w->store, "main~s002", 0), -EBUSY);
	middle = lib_state(w->store, "main~s060");
	ok(coppice_info(middle, &info));
	coppice_state_close(middle);
	ok(coppice_expire(w->store, "main", -1, 0, &gone));
	assert_int_equal(gone, 0);
	ok(coppice_expire(w->store, "main", info.created, 0, &gone));
	assert_int_equal(gone, 59);
	ok(coppice_expire(w->store, "main", INT64_MAX, 10, &gone));
	assert_int_equal(gone, 50);
	lib_expect_in(w->store, "main~s002", "k", "s002");
	lib_expect_in(w->store, "main~s110", "k", "s110");
	ok(coppice_release(w->store, "main~s002", "mine"));
	ok(coppice_expire(w->store, "main", INT64_MAX, 0, NULL));
	ok(coppice_reclaim(w->store));
	ok(coppice_stats(w->store, &stats));
	assert_int_equal(stats.states, 1);
	assert_int_equal(stats.reclaiming, 0);
	fork = lib_state(w->store, "main");
	lib_expect(fork, "k", "s119");
	coppice_state_close(fork);
}

static void test_changes_of_states(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_state *main = lib_state(w->store, "main");
	char value[8];

	lib_put(w->store, "main", "k", "1");
	ok(coppice_fork(w->store, "main", "other", 0, NULL));
	lib_put(w->store, "other", "k", "2");
	ok(coppice_reset(w->store, "main", "other", "before"));
	lib_expect(main, "k", "2");
	lib_expect_in(w->store, "main~before", "k", "1");
	ok(coppice_reset(w->store, "main", "main~before", NULL));
	lib_expect(main, "k", "1");
	ok(coppice_swap(w->store, "main", "other"));
	lib_expect(main, "k", "1");
	lib_expect_in(w->store, "main", "k", "2");
	ok(coppice_rename(w->store, "other", "renamed"));
	lib_expect_in(w->store, "renamed~before", "k", "1");
	ok(coppice_set(w->store, "renamed", "user:colour", "green"));
	assert_int_equal(
	        coppice_property(w->store, "renamed", "user:colour", value, 4),
	        5);
	assert_string_equal(value, "gre");
	ok(coppice_set(w->store, "renamed", "user:colour", NULL));
	assert_int_equal(
	        coppice_property(w->store, "renamed", "user:colour", value, 4),
	        -ENODATA);
	ok(coppice_fork(w->store, NULL, "blank", 0, NULL));
	lib_expect_in(w->store, "blank", "k", NULL);
	assert_int_equal(coppice_rename(w->store, "none", "x"), -ENOENT);
	assert_non_null(strstr(coppice_error(), "none"));
	assert_int_equal(coppice_swap(w->store, "main", "none"), -ENOENT);
	assert_int_equal(coppice_snapshot(w->store, "none", "x"), -ENOENT);
	assert_int_equal(coppice_fork(w->store, "none", "x", 0, NULL), -ENOENT);
	assert_int_equal(coppice_fork(w->store, "main", "a/b", 0, NULL),
	                 -EINVAL);
	coppice_state_close(main);
}

/* ---- Comparing and joining ---------------------------------------------- */

static int diff_row(void *arg, const struct coppice_difference *what)
{
	char *text = arg;

	sprintf(text + strlen(text), "%c%s%s%s(%d,%d) ", what->change,
	        what->path, what->from ? "<" : "", what->from ? what->from : "",
	        (int)what->old_bytes, (int)what->new_bytes);
	return 0;
}

static int diff_stop(void *arg, const struct coppice_difference *what)
{
	return 42;
}

static void test_diff_and_join(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_state *main = lib_state(w->store, "main"), *fork;
	struct coppice_batch *b;
	uint64_t conflicts;
	char text[1000] = "";

	lib_put(w->store, "main", "a", "1");
	lib_put(w->store, "main", "b", "22");
	ok(coppice_fork(w->store, "main", "fork", 0, NULL));
	fork = lib_state(w->store, "fork");
	ok(coppice_batch_new(w->store, &b));
	ok(coppice_batch_put(b, fork, "a", "333", 3, 0));
	ok(coppice_batch_rename(b, fork, "b", "c", 0));
	ok(coppice_batch_put(b, fork, "d", "x", 1, 0));
	ok(coppice_batch_commit(b, 0, NULL));
	ok(coppice_diff(main, fork, diff_row, text));
	assert_string_equal(text, "Ma(1,3) Rc<b(2,2) +d(0,1) ");
	assert_int_equal(coppice_diff(main, fork, diff_stop, NULL), 42);
	lib_put(w->store, "main", "e", "y");
	ok(coppice_join(w->store, "fork", "main", 0, &conflicts));
	assert_int_equal(conflicts, 0);
	lib_expect(main, "a", "333");
	lib_expect(main, "c", "22");
	lib_expect(main, "e", "y");
	lib_put(w->store, "main", "a", "mine");
	lib_put(w->store, "fork", "a", "theirs");
	assert_int_equal(coppice_join(w->store, "fork", "main", 0, &conflicts),
	                 -EEXIST);
	assert_int_equal(conflicts, 1);
	lib_expect(main, "a", "mine");
	ok(coppice_join(w->store, "fork", "main", COPPICE_THEIRS, NULL));
	lib_expect(main, "a", "theirs");
	coppice_batch_discard(b);
	coppice_state_close(main);
	coppice_state_close(fork);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        lib_test(test_states_are_never_locked),
	        lib_test(test_expiry_and_list),
	        lib_test(test_changes_of_states),
	        lib_test(test_diff_and_join),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
