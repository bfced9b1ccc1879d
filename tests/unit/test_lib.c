/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The library as a program uses it: libcoppice.so alone. */
#include <sys/wait.h>

#include "lib_fixture.h"

/* ---- Batches ------------------------------------------------------------ */

static void test_put_and_get(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_state *main = lib_state(w->store, "main");
	struct coppice_stat stat = {.size = sizeof(stat)};
	struct coppice_batch *batch;
	char small[] = "a value", *large = malloc(300000), *back;

	for (int i = 0; i < 300000; i++)
		large[i] = (char)(i * 7 + i / 1000);
	back = malloc(300001);
	ok(coppice_batch_new(w->store, &batch));
	ok(coppice_batch_put(batch, main, "small", small, 7, 0));
	ok(coppice_batch_put(batch, main, "/deep/er/large/", large, 300000,
	                     COPPICE_PARENTS));
	ok(coppice_batch_put(batch, main, "empty", NULL, 0, 0));
	lib_expect(main, "small", NULL);
	ok(coppice_batch_commit(batch, COPPICE_DURABLE, NULL));
	lib_expect(main, "small", "a value");
	lib_expect(main, "empty", "");
	assert_int_equal(coppice_get(main, "deep/er/large", 0, back, 300001),
	                 300000);
	assert_memory_equal(back, large, 300000);
	assert_int_equal(coppice_get(main, "deep/er/large", 65530, back, 20),
	                 20);
	assert_memory_equal(back, large + 65530, 20);
	assert_int_equal(coppice_get(main, "small", 3, back, 2), 2);
	assert_int_equal(coppice_get(main, "small", 9, back, 2), 0);
	ok(coppice_stat(main, "deep/er/large", &stat));
	assert_int_equal(stat.bytes, 300000);
	assert_int_equal(stat.mode, 0100644);
	assert_int_equal(stat.type, COPPICE_FILE);
	ok(coppice_stat(main, "", &stat));
	assert_int_equal(stat.type, COPPICE_DIRECTORY);
	assert_int_equal(stat.bytes, 3);
	assert_int_equal(coppice_get(main, "deep", 0, back, 1), -EISDIR);
	assert_int_equal(coppice_get(main, "small/x", 0, back, 1), -ENOTDIR);
	assert_int_equal(coppice_get(main, "deep/../small", 0, back, 1),
	                 -EINVAL);
	/* A shorter content leaves nothing of the longer one. */
	ok(coppice_batch_put(batch, main, "deep/er/large", "short", 5, 0));
	ok(coppice_batch_commit(batch, 0, NULL));
	lib_expect(main, "deep/er/large", "short");
	ok(coppice_batch_put(batch, main, "deep/er/large", large, 70000, 0));
	ok(coppice_batch_commit(batch, 0, NULL));
	assert_int_equal(coppice_get(main, "deep/er/large", 0, back, 300000),
	                 70000);
	assert_memory_equal(back, large, 70000);
	coppice_batch_discard(batch);
	coppice_state_close(main);
	free(large);
	free(back);
}

/* Directories that a handle has found before are found where they are now. */
static void test_a_directory_moves(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_state *main = lib_state(w->store, "main"), *old;
	struct coppice_get gets[2] = {{.path = "a/b/x"}, {.path = "c/x"}};
	struct coppice_batch *b;

	lib_put(w->store, "main", "a/b/x", "1");
	lib_put(w->store, "main", "c/x", "2");
	lib_expect(main, "a/b/x", "1");
	lib_expect(main, "c/x", "2");
	ok(coppice_snapshot(w->store, "main", "before"));
	old = lib_state(w->store, "main~before");
	lib_expect(old, "a/b/x", "1");
	ok(coppice_batch_new(w->store, &b));
	ok(coppice_batch_rename(b, main, "a/b", "d", 0));
	ok(coppice_batch_rename(b, main, "c", "a/b", 0));
	ok(coppice_batch_commit(b, 0, NULL));
	lib_expect(main, "a/b/x", "2");
	lib_expect(main, "d/x", "1");
	lib_expect(main, "c/x", NULL);
	lib_expect(old, "a/b/x", "1");
	lib_expect(old, "c/x", "2");
	ok(coppice_batch_delete(b, main, "a", COPPICE_RECURSIVE));
	ok(coppice_batch_commit(b, 0, NULL));
	ok(coppice_get_many(main, gets, 2));
	assert_int_equal(gets[0].result, -ENOENT);
	assert_int_equal(gets[1].result, -ENOENT);
	ok(coppice_reset(w->store, "main", "main~before", NULL));
	lib_expect(main, "a/b/x", "1");
	ok(coppice_get_many(main, gets, 2));
	assert_int_equal(gets[0].result, 0);
	coppice_batch_discard(b);
	coppice_state_close(old);
	coppice_state_close(main);
}

enum { RECORDS = 1200, RECORD_MAX = 5000, ROUNDS = 4 };

/*
 * Make record i of a round: noise, noise of which a little changes, text, or
 * large noise that another record has, too.  Return its size.
 */
static size_t record_make(int i, int round, uint8_t record[RECORD_MAX])
{
	uint64_t seed = (uint64_t)i + 1;
	size_t size = i % 4 == 3 ? 5000 : 1000;

	if (i % 4 == 0)
		seed += (uint64_t)round << 32;
	if (i % 4 == 3)
		seed = (uint64_t)(i / 8 + 1) << 16 | (uint64_t)round;
	for (size_t at = 0; at < size; at++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		record[at] = (uint8_t)(seed >> 40);
		if (i % 4 == 2)
			record[at] = (uint8_t) "eight as"[record[at] % 8];
	}
	if (i % 4 == 1)
		memcpy(record + 96, &round, sizeof(round));
	return size;
}

static void rounds_check(struct coppice *store)
{
	uint8_t want[RECORD_MAX], got[RECORD_MAX];
	char name[32];

	for (int round = 0; round < ROUNDS; round++) {
		struct coppice_state *state;

		snprintf(name, sizeof(name), "main~r%d", round);
		state = lib_state(store, name);
		for (int i = 0; i < RECORDS; i++) {
			size_t size = record_make(i, round, want);

			snprintf(name, sizeof(name), "d%d/%d", i % 7, i);
			assert_int_equal(
			        coppice_get(state, name, 0, got, sizeof(got)),
			        size);
			assert_memory_equal(got, want, size);
		}
		coppice_state_close(state);
	}
}

/* Large commits, of which two threads encode the blocks. */
static void test_large_batches(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_state *main = lib_state(w->store, "main");
	struct coppice_batch *batch;
	uint8_t record[RECORD_MAX];
	char name[32];

	ok(coppice_batch_new(w->store, &batch));
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = RECORDS - 1; i >= 0; i--) {
			size_t size = record_make(i, round, record);

			snprintf(name, sizeof(name), "d%d/%d", i % 7, i);
			ok(coppice_batch_put(batch, main, name, record, size,
			                     COPPICE_PARENTS));
		}
		snprintf(name, sizeof(name), "r%d", round);
		ok(coppice_batch_commit(batch, COPPICE_DURABLE, name));
	}
	rounds_check(w->store);
	coppice_batch_discard(batch);
	coppice_state_close(main);
	ok(coppice_close(w->store));
	ok(coppice_open(w->scratch.store, 0, NULL, &w->store));
	rounds_check(w->store);
}

static void test_operations(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_state *main = lib_state(w->store, "main");
	struct coppice_stat stat = {.size = sizeof(stat)};
	struct coppice_batch *b;

	ok(coppice_batch_new(w->store, &b));
	ok(coppice_batch_attributes(b, getuid(), getgid(), 0600, 0700));
	ok(coppice_batch_mkdir(b, main, "d", 0));
	ok(coppice_batch_put(b, main, "d/a", "1", 1, 0));
	ok(coppice_batch_put(b, main, "d/b", "2", 1, 0));
	ok(coppice_batch_put(b, main, "d/a", "3", 1, 0));
	ok(coppice_batch_rename(b, main, "d/b", "d/c", 0));
	ok(coppice_batch_rename(b, main, "d/c", "new/e", COPPICE_PARENTS));
	ok(coppice_batch_delete(b, main, "d/missing", COPPICE_LENIENT));
	ok(coppice_batch_mkdir(b, main, "d", COPPICE_LENIENT));
	ok(coppice_batch_commit(b, 0, NULL));
	lib_expect(main, "d/a", "3");
	lib_expect(main, "d/b", NULL);
	lib_expect(main, "new/e", "2");
	ok(coppice_stat(main, "d/a", &stat));
	assert_int_equal(stat.mode, 0100600);
	ok(coppice_stat(main, "d", &stat));
	assert_int_equal(stat.mode, 040700);
	assert_int_equal(stat.bytes, 1);
	/* A directory with what is in it; a directory over an empty one. */
	ok(coppice_batch_rename(b, main, "new", "d/sub", 0));
	ok(coppice_batch_mkdir(b, main, "over", 0));
	ok(coppice_batch_rename(b, main, "d/sub", "over", 0));
	ok(coppice_batch_put(b, main, "over/f", "4", 1, 0));
	ok(coppice_batch_commit(b, 0, NULL));
	lib_expect(main, "over/e", "2");
	lib_expect(main, "over/f", "4");
	ok(coppice_batch_delete(b, main, "over", COPPICE_RECURSIVE));
	ok(coppice_batch_delete(b, main, "d/a", 0));
	ok(coppice_batch_delete(b, main, "d", 0));
	ok(coppice_batch_commit(b, 0, NULL));
	ok(coppice_stat(main, "", &stat));
	assert_int_equal(stat.bytes, 0);
	assert_int_equal(stat.links, 2);
	coppice_batch_discard(b);
	coppice_state_close(main);
}

/* A batch that fails changes nothing, and tells where. */
static void expect_failure(struct lib_fixture *w, struct coppice_batch *b,
                           int err, const char *path)
{
	struct coppice_state *main = lib_state(w->store, "main");

	assert_int_equal(coppice_batch_commit(b, 0, "never"), err);
	assert_non_null(strstr(coppice_error(), path));
	lib_expect(main, "first", NULL);
	coppice_state_close(main);
	coppice_batch_discard(b);
	assert_int_equal(coppice_state_open(w->store, "main~never", &main),
	                 -ENOENT);
}

static struct coppice_batch *batch_begin(struct lib_fixture *w,
                                         struct coppice_state *fork)
{
	struct coppice_batch *b;

	ok(coppice_batch_new(w->store, &b));
	ok(coppice_batch_put(b, fork, "first", "x", 1, 0));
	return b;
}

static void test_a_failed_batch_changes_nothing(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_state *main = lib_state(w->store, "main");
	struct coppice_batch *b;

	lib_put(w->store, "main", "dir/file", "x");
	b = batch_begin(w, main);
	ok(coppice_batch_delete(b, main, "missing", 0));
	expect_failure(w, b, -ENOENT, "missing");
	b = batch_begin(w, main);
	ok(coppice_batch_delete(b, main, "dir", 0));
	expect_failure(w, b, -ENOTEMPTY, "dir");
	b = batch_begin(w, main);
	ok(coppice_batch_put(b, main, "no/parent", "x", 1, 0));
	expect_failure(w, b, -ENOENT, "no/parent");
	b = batch_begin(w, main);
	ok(coppice_batch_put(b, main, "dir", "x", 1, 0));
	expect_failure(w, b, -EISDIR, "dir");
	b = batch_begin(w, main);
	ok(coppice_batch_put(b, main, "dir/file/x", "x", 1, COPPICE_PARENTS));
	expect_failure(w, b, -ENOTDIR, "dir/file/x");
	b = batch_begin(w, main);
	ok(coppice_batch_rename(b, main, "dir", "dir/sub/x", COPPICE_PARENTS));
	expect_failure(w, b, -EINVAL, "dir");
	b = batch_begin(w, main);
	ok(coppice_batch_mkdir(b, main, "dir", 0));
	expect_failure(w, b, -EEXIST, "dir");
	b = batch_begin(w, main);
	ok(coppice_batch_put(b, main, ".snap", "x", 1, 0));
	expect_failure(w, b, -EEXIST, ".snap");
	/* Invalid keys are refused at once. */
	b = batch_begin(w, main);
	assert_int_equal(coppice_batch_put(b, main, "", "x", 1, 0), -EINVAL);
	assert_int_equal(coppice_batch_put(b, main, "a//b", "x", 1, 0),
	                 -EINVAL);
	assert_int_equal(coppice_batch_put(b, main, "a/../b", "x", 1, 0),
	                 -EINVAL);
	assert_int_equal(coppice_batch_put(b, main, "a", "x", 1, 64), -EINVAL);
	assert_int_equal(coppice_batch_mkdir(b, main, "./a", 0), -EINVAL);
	coppice_batch_discard(b);
	coppice_state_close(main);
}

static void test_several_states_in_one_batch(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_state *forks[3];
	struct coppice_batch *b;

	ok(coppice_fork(w->store, "main", "left", 0, NULL));
	ok(coppice_fork(w->store, "main", "right", 0, NULL));
	forks[0] = lib_state(w->store, "main");
	forks[1] = lib_state(w->store, "left");
	forks[2] = lib_state(w->store, "right");
	ok(coppice_batch_new(w->store, &b));
	for (int i = 0; i < 6; i++) {
		char value = (char)('0' + i);

		ok(coppice_batch_put(b, forks[i % 3], i < 3 ? "a" : "b", &value,
		                     1, 0));
	}
	ok(coppice_batch_commit(b, COPPICE_DURABLE, "one"));
	lib_expect_in(w->store, "main~one", "a", "0");
	lib_expect_in(w->store, "left~one", "a", "1");
	lib_expect_in(w->store, "right~one", "b", "5");
	/* A snapshot of the name in one of the forks: none is changed. */
	ok(coppice_snapshot(w->store, "right", "two"));
	ok(coppice_batch_put(b, forks[0], "c", "x", 1, 0));
	ok(coppice_batch_put(b, forks[2], "c", "x", 1, 0));
	assert_int_equal(coppice_batch_commit(b, 0, "two"), -EEXIST);
	lib_expect(forks[0], "c", NULL);
	/* The batch is as it was. */
	ok(coppice_batch_commit(b, 0, "three"));
	lib_expect_in(w->store, "right~three", "c", "x");
	coppice_batch_discard(b);
	for (int i = 0; i < 3; i++)
		coppice_state_close(forks[i]);
}

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

/* ---- Reading ------------------------------------------------------------ */

static void test_scan(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_state *main = lib_state(w->store, "main");
	struct coppice_entry entry = {.size = sizeof(entry)};
	struct coppice_batch *b;
	struct coppice_scan *scan;
	char path[32], last[32] = "";
	int count = 0;

	ok(coppice_batch_new(w->store, &b));
	for (int i = 0; i < 1000; i++) {
		snprintf(path, sizeof(path), "d/%s%d", i % 2 ? "odd" : "even",
		         i);
		ok(coppice_batch_put(b, main, path, path, 3, COPPICE_PARENTS));
	}
	ok(coppice_batch_commit(b, 0, "s"));
	ok(coppice_scan_open(main, "d", NULL, 0, &scan));
	while (coppice_scan_next(scan, &entry) == 1)
		count++;
	assert_int_equal(count, 1000);
	coppice_scan_close(scan);
	ok(coppice_scan_open(main, "d", "odd", COPPICE_SORTED, &scan));
	for (count = 0; coppice_scan_next(scan, &entry) == 1; count++) {
		assert_true(strcmp(last, entry.name) < 0);
		strcpy(last, entry.name);
		assert_int_equal(entry.type, COPPICE_FILE);
	}
	assert_int_equal(count, 500);
	coppice_scan_close(scan);
	assert_int_equal(coppice_scan_open(main, "d/odd1", NULL, 0, &scan),
	                 -ENOTDIR);
	assert_int_equal(coppice_scan_open(main, "none", NULL, 0, &scan),
	                 -ENOENT);
	coppice_batch_discard(b);
	coppice_state_close(main);
}

static void test_get_many(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_state *main = lib_state(w->store, "main");
	struct coppice_batch *b;
	struct coppice_get gets[300];
	char paths[300][16], values[300][4];

	ok(coppice_batch_new(w->store, &b));
	for (int i = 0; i < 300; i++) {
		snprintf(paths[i], sizeof(paths[i]), "k%d", i);
		if (i != 17)
			ok(coppice_batch_put(b, main, paths[i], paths[i] + 1,
			                     strlen(paths[i]) - 1, 0));
		gets[i] = (struct coppice_get){paths[i], 0, values[i], 4, 0};
	}
	ok(coppice_batch_commit(b, 0, NULL));
	ok(coppice_get_many(main, gets, 300));
	for (int i = 0; i < 300; i++) {
		if (i == 17) {
			assert_int_equal(gets[i].result, -ENOENT);
			continue;
		}
		assert_int_equal(gets[i].result, strlen(paths[i]) - 1);
		assert_memory_equal(values[i], paths[i] + 1,
		                    (size_t)gets[i].result);
	}
	gets[0].offset = UINT64_MAX;
	ok(coppice_get_many(main, gets, 1));
	assert_int_equal(gets[0].result, -EINVAL);
	ok(coppice_get_many(main, gets, 300));
	assert_int_equal(gets[0].result, -EINVAL);
	assert_int_equal(gets[299].result, 3);
	coppice_batch_discard(b);
	coppice_state_close(main);
}

/* ---- The store ---------------------------------------------------------- */

static void test_open(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice *other;
	struct coppice_options options = {.size = sizeof(options),
	                                  .memory = 64 << 20};

	assert_int_equal(coppice_open("/nowhere", 0, NULL, &other), -ENOENT);
	assert_non_null(strstr(coppice_error(), "/nowhere"));
	assert_int_equal(coppice_open(w->scratch.dir, 0, NULL, &other),
	                 -ENOENT);
	assert_int_equal(coppice_open(w->scratch.store, 8, NULL, &other),
	                 -EINVAL);
	lib_put(w->store, "main", "k", "kept");
	ok(coppice_close(w->store));
	ok(coppice_open(w->scratch.store, COPPICE_READ_ONLY, &options, &other));
	lib_expect_in(other, "main", "k", "kept");
	assert_int_equal(coppice_snapshot(other, "main", "s"), -EROFS);
	ok(coppice_close(other));
	ok(coppice_open(w->scratch.store, COPPICE_CREATE, NULL, &w->store));
	lib_expect_in(w->store, "main", "k", "kept");
}

/* A full store refuses a batch as a whole, and deleting gives space back. */
static void test_full_store(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_state *main;
	struct coppice_batch *b;
	uint64_t random = 1;
	uint8_t value[20000];
	char key[32];
	int rounds = 0, err;

	ok(coppice_close(w->store));
	lib_command(w, "resize 12M -s");
	ok(coppice_open(w->scratch.store, 0, NULL, &w->store));
	main = lib_state(w->store, "main");
	ok(coppice_batch_new(w->store, &b));
	do {
		snprintf(key, sizeof(key), "r%d", rounds);
		ok(coppice_batch_put(b, main, "round", key, strlen(key), 0));
		for (int i = 0; i < 40; i++) {
			for (size_t j = 0; j < sizeof(value); j += 8) {
				uint64_t word = scratch_random(&random);

				memcpy(value + j, &word, 8);
			}
			snprintf(key, sizeof(key), "k%d", i);
			ok(coppice_batch_put(b, main, key, value, sizeof(value),
			                     0));
		}
		snprintf(key, sizeof(key), "s%d", rounds);
		err = coppice_batch_commit(b, COPPICE_DURABLE, key);
	} while (!err && ++rounds < 100);
	assert_int_equal(err, -ENOSPC);
	assert_true(rounds > 2);
	snprintf(key, sizeof(key), "r%d", rounds - 1);
	lib_expect(main, "round", key);
	ok(coppice_expire(w->store, "main", INT64_MAX, 0, NULL));
	ok(coppice_reclaim(w->store));
	ok(coppice_batch_commit(b, COPPICE_DURABLE, NULL));
	snprintf(key, sizeof(key), "r%d", rounds);
	lib_expect(main, "round", key);
	coppice_batch_discard(b);
	coppice_state_close(main);
}

/* A handle is the process's that opened it. */
static bool is_refused(struct lib_fixture *w, struct coppice_state *main,
                       struct coppice_batch *b, struct coppice_scan *scan)
{
	struct coppice_stats stats = {.size = sizeof(stats)};
	struct coppice_stat stat = {.size = sizeof(stat)};
	struct coppice_info info = {.size = sizeof(info)};
	struct coppice_entry entry = {.size = sizeof(entry)};
	struct coppice_get get = {.path = "k"};
	struct coppice_state *state;
	struct coppice_batch *batch;
	struct coppice_scan *other;
	char byte;

	return coppice_get(main, "k", 0, &byte, 1) == -ECHILD &&
	       coppice_get_many(main, &get, 1) == -ECHILD &&
	       coppice_stat(main, "k", &stat) == -ECHILD &&
	       coppice_info(main, &info) == -ECHILD &&
	       coppice_diff(main, main, NULL, NULL) == -ECHILD &&
	       coppice_scan_next(scan, &entry) == -ECHILD &&
	       coppice_scan_open(main, "", NULL, 0, &other) == -ECHILD &&
	       coppice_batch_attributes(b, 0, 0, 0, 0) == -ECHILD &&
	       coppice_batch_put(b, main, "..", "3", 1, 0) == -ECHILD &&
	       coppice_batch_rename(b, main, "k", "..", 0) == -ECHILD &&
	       coppice_batch_commit(b, 0, NULL) == -ECHILD &&
	       coppice_batch_new(w->store, &batch) == -ECHILD &&
	       coppice_state_open(w->store, "main", &state) == -ECHILD &&
	       coppice_list(w->store, NULL, NULL, NULL) == -ECHILD &&
	       coppice_snapshot(w->store, "main", "s") == -ECHILD &&
	       coppice_remove(w->store, "main", 0) == -ECHILD &&
	       coppice_property(w->store, "main", "k", &byte, 1) == -ECHILD &&
	       coppice_join(w->store, "main", "x", 0, NULL) == -ECHILD &&
	       coppice_stats(w->store, &stats) == -ECHILD &&
	       coppice_event_fd(w->store) == -ECHILD &&
	       coppice_reclaim(w->store) == -ECHILD &&
	       coppice_sync(w->store) == -ECHILD;
}

static void test_fork(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_entry entry = {.size = sizeof(entry)};
	struct coppice_state *main;
	struct coppice_batch *b;
	struct coppice_scan *scan;
	int status;
	pid_t pid;

	lib_put(w->store, "main", "k", "1");
	main = lib_state(w->store, "main");
	ok(coppice_batch_new(w->store, &b));
	ok(coppice_batch_put(b, main, "k", "2", 1, 0));
	ok(coppice_scan_open(main, "", NULL, 0, &scan));
	pid = fork();
	if (!pid) {
		bool right = is_refused(w, main, b, scan);

		/* Nothing is released that is the parent's. */
		coppice_scan_close(scan);
		coppice_batch_discard(b);
		coppice_state_close(main);
		right = right && coppice_close(w->store) == -ECHILD;
		_exit(right ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	ok(coppice_batch_commit(b, 0, NULL));
	lib_expect(main, "k", "2");
	assert_int_equal(coppice_scan_next(scan, &entry), 1);
	coppice_scan_close(scan);
	coppice_batch_discard(b);
	coppice_state_close(main);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_put_and_get, lib_setup,
	                                        lib_teardown),
	        cmocka_unit_test_setup_teardown(test_a_directory_moves,
	                                        lib_setup, lib_teardown),
	        cmocka_unit_test_setup_teardown(test_large_batches, lib_setup,
	                                        lib_teardown),
	        cmocka_unit_test_setup_teardown(test_operations, lib_setup,
	                                        lib_teardown),
	        cmocka_unit_test_setup_teardown(
	                test_a_failed_batch_changes_nothing, lib_setup,
	                lib_teardown),
	        cmocka_unit_test_setup_teardown(
	                test_several_states_in_one_batch, lib_setup,
	                lib_teardown),
	        cmocka_unit_test_setup_teardown(test_states_are_never_locked,
	                                        lib_setup, lib_teardown),
	        cmocka_unit_test_setup_teardown(test_expiry_and_list, lib_setup,
	                                        lib_teardown),
	        cmocka_unit_test_setup_teardown(test_changes_of_states,
	                                        lib_setup, lib_teardown),
	        cmocka_unit_test_setup_teardown(test_diff_and_join, lib_setup,
	                                        lib_teardown),
	        cmocka_unit_test_setup_teardown(test_scan, lib_setup,
	                                        lib_teardown),
	        cmocka_unit_test_setup_teardown(test_get_many, lib_setup,
	                                        lib_teardown),
	        cmocka_unit_test_setup_teardown(test_open, lib_setup,
	                                        lib_teardown),
	        cmocka_unit_test_setup_teardown(test_full_store, lib_setup,
	                                        lib_teardown),
	        cmocka_unit_test_setup_teardown(test_fork, lib_setup,
	                                        lib_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
