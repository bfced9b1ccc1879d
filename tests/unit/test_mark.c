/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Marks of processes that read, and claims of the one that writes.  The other
 * process is another open file description of the file `readers`.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fixture.h"
#include "mark.h"
#include "util.h"

enum { ANY = 1000000, CLAIMS = 5000 };

static struct fixture w;
static int reader;

static int setup(void **state)
{
	char path[128];

	fixture_init(&w, 1, false);
	snprintf(path, sizeof(path), "%s/readers", w.scratch.store);
	reader = open(path, O_RDWR | O_CLOEXEC);
	assert_true(reader >= 0);
	return 0;
}

static int teardown(void **state)
{
	close(reader);
	fixture_close(&w);
	fixture_release(&w);
	return 0;
}

/* Lock a byte as another process does, or unlock it. */
static int mark(short type, uint64_t number)
{
	struct flock lock = {.l_type = type,
	                     .l_whence = SEEK_SET,
	                     .l_start = (off_t)number,
	                     .l_len = 1};

	return fcntl(reader, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

static int claim(uint64_t number)
{
	int r;

	store_lock(w.store);
	r = store_claim(w.store, number);
	store_unlock(w.store);
	return r;
}

/* Commit something. */
static void commit(void)
{
	store_lock(w.store);
	fixture_put(&w, &w.model[0], 1, 1);
	store_unlock(w.store);
	assert_int_equal(store_sync(w.store), 0);
}

/* ---- The locks ---------------------------------------------------------- */

static void test_marks_and_claims(void **state)
{
	assert_int_equal(mark(F_RDLCK, ANY), 0);
	assert_true(store_is_marked(w.store, ANY));
	assert_false(store_is_marked(w.store, ANY + 1));
	assert_int_equal(claim(ANY), -EBUSY);
	assert_int_equal(claim(ANY + 1), 0);
	assert_int_equal(mark(F_RDLCK, ANY + 1), -EAGAIN);
	/* The version is claimed, not marked. */
	assert_false(store_is_marked(w.store, ANY + 1));
	assert_int_equal(claim(ANY + 1), 0);
	assert_int_equal(mark(F_UNLCK, ANY), 0);
	assert_int_equal(claim(ANY), 0);
	store_lock(w.store);
	store_unclaim(w.store);
	store_unlock(w.store);
	assert_int_equal(mark(F_RDLCK, ANY), 0);
	/* Claims of a group end after its commit, and make place for others. */
	commit();
	assert_int_equal(claim(ANY + 2), 0);
	assert_int_equal(mark(F_RDLCK, ANY + 1), 0);
	assert_int_equal(mark(F_RDLCK, ANY + 2), -EAGAIN);
}

static void test_claims_are_limited(void **state)
{
	uint64_t n = ANY;
	int r;

	do
		r = claim(n++);
	while (!r && n < ANY + CLAIMS);
	assert_int_equal(r, -EAGAIN);
	commit();
	assert_int_equal(claim(n), 0);
	assert_int_equal(mark(F_RDLCK, ANY), 0);
}

/* Nobody begins to read while the store's file is written anew. */
static void test_readers_are_kept_out(void **state)
{
	const struct copy_options options = {0};
	uint64_t bytes;

	assert_int_equal(marks_shut(w.store), 0);
	assert_int_equal(mark(F_RDLCK, 0), -EAGAIN);
	marks_open_again(w.store);
	assert_int_equal(mark(F_RDLCK, 0), 0);
	assert_int_equal(marks_shut(w.store), -EBUSY);
	assert_int_equal(store_compact(w.store, &options, &bytes), -EBUSY);
}

/* ---- Versions ----------------------------------------------------------- */

static struct state *snapshot(const char *name)
{
	struct state *s;

	assert_int_equal(state_snapshot(w.forest, fixture_get(&w, &w.model[0]),
	                                name, &s),
	                 0);
	return s;
}

/* Return how much is left to be freed. */
static uint64_t drain(void)
{
	uint64_t left;

	assert_int_equal(forest_drain(w.forest), 0);
	store_lock(w.store);
	left = forest_backlog(w.forest);
	store_unlock(w.store);
	return left;
}

static void fork_and_change(struct state *s, const char *name)
{
	struct model fork = {0};
	struct state *new;

	assert_int_equal(state_fork(w.forest, s, name, &new), 0);
	fork.number = new->number;
	fixture_put(&w, &fork, 1, 77);
}

/* A version is merged or reaped when its mark is gone, and not before. */
static void test_marked_versions_stay(void **state)
{
	uint64_t inner, leaf;
	struct state *s;

	store_lock(w.store);
	fixture_put(&w, &w.model[0], 1, 7);
	s = snapshot("s");
	inner = state_version_id(s);
	fixture_put(&w, &w.model[0], 1, 8);
	fork_and_change(s, "f");
	store_unlock(w.store);
	assert_int_equal(store_sync(w.store), 0);
	store_lock(w.store);
	assert_int_equal(state_find(w.forest, 0, "f", &s), 0);
	leaf = state_version_id(s);
	assert_int_equal(mark(F_RDLCK, 0), 0);
	assert_int_equal(mark(F_RDLCK, inner), 0);
	assert_int_equal(mark(F_RDLCK, leaf), 0);
	assert_int_equal(state_delete(w.forest, s, false), 0);
	assert_int_equal(state_find(w.forest, w.model[0].number, "s", &s), 0);
	assert_int_equal(state_delete(w.forest, s, false), 0);
	store_unlock(w.store);
	assert_int_equal(drain(), 1);
	/* The inner version is merged after the leaf was reaped. */
	assert_int_equal(mark(F_UNLCK, leaf), 0);
	assert_int_equal(drain(), 1);
	assert_int_equal(mark(F_UNLCK, inner), 0);
	assert_int_equal(drain(), 0);
}

static int count_swept(void *arg, const struct swept *swept)
{
	++*(int *)arg;
	return 0;
}

static int sweep(void)
{
	int count = 0;

	assert_int_equal(forest_sweep(w.forest, false, count_swept, &count), 0);
	return count;
}

/* Nor is a marked version swept, which waits for all but one child to go. */
static void test_marked_versions_are_not_swept(void **state)
{
	uint64_t version;
	struct state *s;

	store_lock(w.store);
	fixture_put(&w, &w.model[0], 1, 7);
	s = snapshot("s");
	version = state_version_id(s);
	fork_and_change(s, "f");
	fork_and_change(s, "g");
	fixture_put(&w, &w.model[0], 1, 8);
	assert_int_equal(state_delete(w.forest, s, false), 0);
	store_unlock(w.store);
	assert_int_equal(mark(F_RDLCK, version), 0);
	assert_int_equal(sweep(), 0);
	assert_int_equal(mark(F_UNLCK, version), 0);
	assert_int_equal(sweep(), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_marks_and_claims, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_claims_are_limited, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_readers_are_kept_out,
	                                        setup, teardown),
	        cmocka_unit_test_setup_teardown(test_marked_versions_stay,
	                                        setup, teardown),
	        cmocka_unit_test_setup_teardown(
	                test_marked_versions_are_not_swept, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
