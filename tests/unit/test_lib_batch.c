/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Batches of libcoppice: what they write, and that they are atomic. */
#include "lib_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	        lib_test(test_put_and_get),
	        lib_test(test_a_directory_moves),
	        lib_test(test_large_batches),
	        lib_test(test_operations),
	        lib_test(test_a_failed_batch_changes_nothing),
	        lib_test(test_several_states_in_one_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
