/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers of inodes and of states, when all of them have been given out. */
#include "kernel.h"

#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>

#include "forest.h"
#include "inode.h"

static struct world w;

/* A world whose store gives out these numbers next; main is the first. */
static void world_number(uint64_t ino, uint64_t state)
{
	const uint64_t counters[COUNTER_COUNT] = {
	        [COUNTER_INO] = ino,
	        [COUNTER_STATE] = state,
	};
	const struct store_params params = {.max_size = UINT64_C(1) << 30};
	struct store *other;
	char path[200];

	memset(&w, 0, sizeof(w));
	w.commit_ms = 50;
	scratch_init(&w.scratch);
	snprintf(path, sizeof(path), "%s/other", w.scratch.dir);
	assert_int_equal(store_create(path, &params), 0);
	assert_int_equal(store_open(path, NULL, &other), 0);
	assert_int_equal(store_create_like(w.scratch.store, other, 0, counters),
	                 0);
	assert_int_equal(store_close(other), 0);
	assert_int_equal(store_open(w.scratch.store, NULL, &w.store), 0);
	assert_int_equal(forest_create(w.store, 1000, 1000, 0755), 0);
	assert_int_equal(store_close(w.store), 0);
	world_open(&w);
	w.main = NODE(state, INO_ROOT);
}

/* ---- Inodes ------------------------------------------------------------- */

static int try_symlink(const char *name)
{
	struct fs_entry e;

	return fs_make(w.fs, NODE_ROOT, name, S_IFLNK | 0777, 0, "main",
	               &world_cred, &e);
}

/* Every way to make an inode. */
static void expect_no_inode(void)
{
	struct fs_entry e;

	assert_int_equal(try_make(&w, w.main, "no", S_IFREG), -ENOSPC);
	assert_int_equal(try_make(&w, w.main, "no", S_IFDIR), -ENOSPC);
	assert_int_equal(try_make(&w, w.main, "no", S_IFIFO), -ENOSPC);
	assert_int_equal(fs_make(w.fs, w.main, "no", S_IFLNK | 0777, 0, "x",
	                         &world_cred, &e),
	                 -ENOSPC);
	assert_int_equal(fs_tmpfile(w.fs, w.main, 0600, &world_cred, &e),
	                 -ENOSPC);
	assert_int_equal(fs_rename(w.fs, w.main, "last", w.main, "no",
	                           RENAME_WHITEOUT, &world_cred),
	                 -ENOSPC);
	assert_int_equal(try_symlink("no"), -ENOSPC);
	assert_int_equal(look_error(&w, w.main, "no"), -ENOENT);
	assert_int_equal(attr(&w, w.main).st_size, 1);
}

static void test_inodes_run_out(void **state)
{
	node_t last;

	world_number(INO_END - 1, 1);
	assert_int_equal(try_symlink("no"), -ENOSPC);
	last = make(&w, w.main, "last", S_IFREG | 0644);
	assert_int_equal(NODE_INO(last), INO_END - 1);
	assert_int_equal(NODE_STATE(last), 1);
	expect_no_inode();
	expect_no_inode();
	/* What there is can be used, and forked. */
	put_text(&w, last, 0, "text");
	assert_int_equal(fs_rename(w.fs, w.main, "last", w.main, "renamed", 0,
	                           &world_cred),
	                 0);
	make(&w, NODE_ROOT, "main@try", S_IFDIR);
	world_reopen(&w);
	assert_int_equal(try_make(&w, w.main, "no", S_IFREG), -ENOSPC);
	expect_text(&w, look(&w, w.main, "renamed"), "text");
	world_release(&w);
}

/* Symlinks beside the forks have half of the numbers. */
static void test_symlinks_run_out(void **state)
{
	world_number(SYMLINK_INO_END - 1, 1);
	assert_int_equal(try_symlink("last"), 0);
	assert_int_equal(try_symlink("no"), -ENOSPC);
	make(&w, w.main, "file", S_IFREG | 0644);
	assert_int_equal(look_error(&w, NODE_ROOT, "no"), -ENOENT);
	world_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_inodes_run_out),
	        cmocka_unit_test(test_symlinks_run_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
