/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Joins of forks: what they cost, and what they leave in the fork. */
#include "fs_fixture.h"

#include <stdio.h>
#include <string.h>

enum { DIR_FILES = 50, CHANGES = 20 };

static struct fixture w;

static node_t file_at(node_t root, int number)
{
	char name[32];

	snprintf(name, sizeof(name), "d%d", number / DIR_FILES);
	root = look(&w, root, name);
	snprintf(name, sizeof(name), "f%d", number);
	return look(&w, root, name);
}

static void files_make(node_t root, int count)
{
	node_t dir = 0;
	char name[32];

	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "d%d", i / DIR_FILES);
		if (i % DIR_FILES == 0)
			dir = make(&w, root, name, S_IFDIR | 0755);
		snprintf(name, sizeof(name), "f%d", i);
		put_text(&w, make(&w, dir, name, S_IFREG | 0644), 0, "before");
	}
}

/* ---- Cost --------------------------------------------------------------- */

static uint64_t work;

static void count(void *arg, int64_t ns, uint64_t looks)
{
	work += looks;
}

/* Return the blocks looked at by a join of CHANGES files of each side. */
static uint64_t join_work(int files)
{
	struct fs_joined joined;
	struct fs_join what;
	node_t fork;

	fixture_init(&w, 12);
	files_make(w.main, files);
	fork = make(&w, NODE_ROOT, "main@fork", S_IFDIR | 0755);
	for (int i = 0; i < CHANGES; i++) {
		int at = files / CHANGES * i;

		put_text(&w, file_at(w.main, at), 0, "in main");
		put_text(&w, file_at(fork, at + 1), 0, "in fork");
	}
	what = (struct fs_join){.from = NODE_STATE(fork),
	                        .into = NODE_STATE(w.main)};
	work = 0;
	assert_int_equal(store_on_unlock(w.store, count, NULL), 0);
	assert_int_equal(fs_join(w.fs, &what, &joined), 0);
	assert_true(joined.done);
	store_on_unlock(w.store, NULL, NULL);
	fs_joined_release(w.fs, &joined);
	for (int i = 0; i < CHANGES; i++) {
		expect_text(&w, file_at(w.main, files / CHANGES * i),
		            "in main");
		expect_text(&w, file_at(w.main, files / CHANGES * i + 1),
		            "in fork");
	}
	fixture_release(&w);
	return work;
}

/* A join costs what has changed: a larger tree is deeper, no more. */
static void test_cost(void **state)
{
	uint64_t small, large;

#ifdef NDEBUG
	print_message("# a release does not count its work\n");
	skip();
#endif
	small = join_work(1000);
	large = join_work(16000);
	print_message("%d changes a side: %llu blocks of 1,000 files, %llu of "
	              "16,000\n",
	              CHANGES, (unsigned long long)small,
	              (unsigned long long)large);
	assert_true(large < 3 * small);
	assert_true(large < (uint64_t)200 * CHANGES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_cost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
