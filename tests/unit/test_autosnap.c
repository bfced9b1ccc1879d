/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Snapshots by time: what is made, and what expires, without waiting for it. */
#include "fs_fixture.h"

#include <sys/random.h>

#include "autosnap.h"
#include "time_name.h"

struct by_time {
	struct fixture w;
	struct mounts mounts;
	struct autosnap *autosnap;
	struct autosnap_rule rule;
	uint64_t writes;
};

static int work_begin(void *arg)
{
	(void)arg;
	return 0;
}

static void work_end(void *arg)
{
	(void)arg;
}

static int setup(void **state)
{
	struct by_time *t = calloc(1, sizeof(*t));
	struct autosnap_options options = {
	        .mounts = &t->mounts, .begin = work_begin, .end = work_end};
	struct state *s;

	fixture_init(&t->w, 0);
	assert_int_equal(mounts_init(&t->mounts, t->w.fs, NULL, NULL), 0);
	options.fs = t->w.fs;
	assert_int_equal(autosnap_create(&options, &t->autosnap), 0);
	store_lock(t->w.store);
	assert_int_equal(state_find(t->w.forest, 0, "main", &s), 0);
	t->rule.state = s->number;
	store_unlock(t->w.store);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct by_time *t = *state;

	autosnap_destroy(t->autosnap);
	mounts_release(&t->mounts);
	fixture_check(&t->w);
	fixture_release(&t->w);
	free(t);
	return 0;
}

/* Change something in main. */
static void change(struct by_time *t)
{
	const struct fs_cred cred = {0};
	struct fs_entry entry;
	char name[32];

	snprintf(name, sizeof(name), "f%llu", (unsigned long long)t->writes++);
	assert_int_equal(fs_make(t->w.fs, NODE(t->rule.state, INO_ROOT), name,
	                         S_IFREG | 0644, 0, NULL, &cred, &entry),
	                 0);
}

static int run(struct by_time *t)
{
	return autosnap_run(t->autosnap, &t->rule);
}

static uint64_t snapshots(struct by_time *t)
{
	struct state *s;
	uint64_t count;

	store_lock(t->w.store);
	assert_int_equal(state_get(t->w.forest, t->rule.state, &s), 0);
	count = s->snapshots;
	store_unlock(t->w.store);
	return count;
}

/* Make, hold, release or delete a snapshot by name. */
enum action { MAKE, HOLD, RELEASE, DELETE };
static void act(struct by_time *t, enum action action, const char *name)
{
	const struct fs_cred cred = {0};
	struct state *s;
	int r = 0;

	store_lock(t->w.store);
	if (action == MAKE) {
		assert_int_equal(state_get(t->w.forest, t->rule.state, &s), 0);
		r = fs_state_snapshot(t->w.fs, s, name, &cred, &s);
	} else {
		assert_int_equal(state_resolve(t->w.forest, name, &s), 0);
	}
	if (action == HOLD)
		r = tag_add(s, "keep");
	else if (action == RELEASE)
		r = tag_del(s, "keep");
	else if (action == DELETE)
		r = fs_state_delete(t->w.fs, s, false);
	store_unlock(t->w.store);
	assert_int_equal(r, 0);
}

static void test_only_changes(void **state)
{
	struct by_time *t = *state;

	/* No change since the fork was made: no snapshot. */
	assert_int_equal(run(t), 0);
	assert_int_equal(snapshots(t), 0);
	change(t);
	assert_int_equal(run(t), 0);
	assert_int_equal(snapshots(t), 1);
	assert_int_equal(run(t), 0);
	assert_int_equal(snapshots(t), 1);
	/* Somebody else's snapshot has the change. */
	change(t);
	act(t, MAKE, "mine");
	assert_int_equal(run(t), 0);
	assert_int_equal(snapshots(t), 2);
	/* The only one that has it is deleted. */
	act(t, DELETE, "main~mine");
	assert_int_equal(run(t), 0);
	assert_int_equal(snapshots(t), 2);
}

/* Fill the store, and return when nothing more fits. */
static void fill(struct by_time *t)
{
	const struct fs_cred cred = {0};
	static uint8_t bytes[1 << 16];
	struct fs_entry entry;
	int r = 0;

	assert_int_equal(fs_make(t->w.fs, NODE(t->rule.state, INO_ROOT), "big",
	                         S_IFREG | 0644, 0, NULL, &cred, &entry),
	                 0);
	for (off_t off = 0; !r; off += (off_t)sizeof(bytes)) {
		assert_int_equal(getrandom(bytes, sizeof(bytes), 0),
		                 sizeof(bytes));
		r = fs_write(t->w.fs, entry.node, off, bytes, sizeof(bytes), 0);
	}
	assert_int_equal(r, -ENOSPC);
}

/* A full store: no snapshot, but what expires goes; with space it goes on. */
static void test_a_full_store(void **state)
{
	struct by_time *t = *state;

	t->rule.keep.keep[RETENTION_LAST] = 5;
	for (int i = 0; i < 8; i++) {
		change(t);
		assert_int_equal(run(t), 0);
	}
	assert_int_equal(snapshots(t), 5);
	assert_int_equal(store_resize(t->w.store, 16 << 20), 0);
	fill(t);
	t->rule.keep.keep[RETENTION_LAST] = 2;
	assert_int_equal(run(t), -ENOSPC);
	assert_int_equal(snapshots(t), 2);
	t->rule.keep.keep[RETENTION_LAST] = 5;
	assert_int_equal(store_resize(t->w.store, 0), 0);
	for (int i = 0; i < 4; i++) {
		change(t);
		assert_int_equal(run(t), 0);
	}
	assert_int_equal(snapshots(t), 5);
}

static void test_expiry(void **state)
{
	struct by_time *t = *state;

	t->rule.keep.keep[RETENTION_LAST] = 5;
	change(t);
	act(t, MAKE, "mine");
	for (uint64_t i = 1; i <= 30; i++) {
		change(t);
		assert_int_equal(run(t), 0);
		assert_int_equal(snapshots(t), 1 + (i < 5 ? i : 5));
	}
	/* Others are made and deleted meanwhile. */
	act(t, MAKE, "2026-01-01T00:00:00Z");
	act(t, DELETE, "main~3");
	change(t);
	assert_int_equal(run(t), 0);
	assert_int_equal(snapshots(t), 1 + 5);
	act(t, DELETE, "main~mine");
}

static void test_what_is_held_stays(void **state)
{
	struct by_time *t = *state;

	t->rule.keep.keep[RETENTION_LAST] = 2;
	change(t);
	assert_int_equal(run(t), 0);
	act(t, HOLD, "main~1");
	for (int i = 0; i < 4; i++) {
		change(t);
		assert_int_equal(run(t), i < 1 ? 0 : -EBUSY);
	}
	assert_int_equal(snapshots(t), 3);
	act(t, RELEASE, "main~3");
	change(t);
	assert_int_equal(run(t), 0);
	assert_int_equal(snapshots(t), 2);
}

static void test_all_forks(void **state)
{
	const struct fs_cred cred = {0};
	struct by_time *t = *state;
	struct autosnap_rule all = {.keep.keep[RETENTION_LAST] = 1};
	struct state *s;
	uint64_t count;

	change(t);
	store_lock(t->w.store);
	assert_int_equal(
	        fs_state_fork(t->w.fs, NULL, "main@other", 0755, &cred, &s), 0);
	store_unlock(t->w.store);
	change(t);
	assert_int_equal(autosnap_run(t->autosnap, &all), 0);
	change(t);
	assert_int_equal(autosnap_run(t->autosnap, &all), 0);
	assert_int_equal(snapshots(t), 1);
	store_lock(t->w.store);
	assert_int_equal(state_find(t->w.forest, 0, "main@other", &s), 0);
	count = s->snapshots;
	store_unlock(t->w.store);
	assert_int_equal(count, 0);
}

static void test_names(void **state)
{
	static const char *const good[] = {"2026-11-20T12:00:00Z",
	                                   "2026-11-20T12:00:00Z-2",
	                                   "2026-11-20T12:00:00Z-1234"};
	static const char *const bad[] = {"",
	                                  "monday",
	                                  "2026-11-20",
	                                  "2026-11-20T12:00:00",
	                                  "2026-11-20T12:00:00Z-",
	                                  "2026-11-20T12:00:00Z-x",
	                                  "2026-11-20T12:00:00Z2",
	                                  "2026-11-20 12:00:00Z"};
	char name[TIME_NAME_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(time_name_is(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(time_name_is(bad[i]));
	for (unsigned again = 0; again < 3; again++) {
		time_name_now(again, name);
		assert_true(time_name_is(name));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_names),
	        cmocka_unit_test_setup_teardown(test_only_changes, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_a_full_store, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_expiry, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_what_is_held_stays, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_all_forks, setup,
	                                        teardown),
	};

	return cmocka_run_group_tests_name("autosnap", tests, NULL, NULL);
}
