/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Paths in a tree: what they lead to, and what an inode's path is. */
#include "fs_fixture.h"

#include <stdio.h>

static struct fixture w;
static node_t dir, sub, file, sym;

static int setup(void **state)
{
	struct fs_entry entry;

	fixture_init(&w, 0);
	dir = make(&w, w.main, "dir", S_IFDIR | 0700);
	sub = make(&w, dir, "sub", S_IFDIR | 0755);
	file = make(&w, sub, "file", S_IFREG | 0644);
	assert_int_equal(fs_make(w.fs, w.main, "link", S_IFLNK | 0777, 0,
	                         "dir/sub", &fixture_cred, &entry),
	                 0);
	sym = entry.node;
	return 0;
}

static int teardown(void **state)
{
	fixture_check(&w);
	fixture_release(&w);
	return 0;
}

/* Return the inode's number, or the error. */
static int64_t find(const char *path)
{
	struct inode inode;
	struct state *s;
	uint64_t ino;
	int r;

	store_lock(w.store);
	assert_int_equal(state_get(w.forest, NODE_STATE(w.main), &s), 0);
	r = tree_path_find(state_tree(s), path, &ino, &inode);
	store_unlock(w.store);
	return r ? r : (int64_t)ino;
}

static int path_of(node_t node, const char *name, char path[TREE_PATH_SIZE])
{
	struct state *s;
	int r;

	store_lock(w.store);
	assert_int_equal(state_get(w.forest, NODE_STATE(w.main), &s), 0);
	r = tree_path_of(state_tree(s), NODE_INO(node), name,
	                 name ? strlen(name) : 0, path);
	store_unlock(w.store);
	return r;
}

static void test_find(void **state)
{
	char name[NAME_LEN_MAX + 2];

	assert_int_equal(find("/"), INO_ROOT);
	assert_int_equal(find(""), INO_ROOT);
	assert_int_equal(find("/dir"), NODE_INO(dir));
	assert_int_equal(find("dir//./sub/"), NODE_INO(sub));
	assert_int_equal(find("/dir/sub/file"), NODE_INO(file));
	assert_int_equal(find("/dir/sub/../../dir/sub/file"), NODE_INO(file));
	assert_int_equal(find("/../../dir"), NODE_INO(dir));
	assert_int_equal(find("/nothing"), -ENOENT);
	assert_int_equal(find("/dir/nothing/file"), -ENOENT);
	assert_int_equal(find("/dir/sub/file/"), -ENOTDIR);
	assert_int_equal(find("/dir/sub/file/more"), -ENOTDIR);
	assert_int_equal(find("/link"), NODE_INO(sym));
	assert_int_equal(find("/link/"), -ENOTDIR);
	assert_int_equal(find("/link/file"), -ENOTDIR);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	assert_int_equal(find(name), -ENAMETOOLONG);
}

static void test_path_of(void **state)
{
	char path[TREE_PATH_SIZE];

	assert_int_equal(path_of(w.main, NULL, path), 0);
	assert_string_equal(path, "/");
	assert_int_equal(path_of(w.main, "x", path), 0);
	assert_string_equal(path, "/x");
	assert_int_equal(path_of(file, NULL, path), 0);
	assert_string_equal(path, "/dir/sub/file");
	assert_int_equal(path_of(sub, "was", path), 0);
	assert_string_equal(path, "/dir/sub/was");
	assert_int_equal(path_of(file + 100000, NULL, path), -ENOENT);
	assert_int_equal(fs_open(w.fs, file, O_RDWR), 0);
	assert_int_equal(fs_unlink(w.fs, sub, "file"), 0);
	assert_int_equal(path_of(file, NULL, path), -ENOENT);
	fs_release(w.fs, file);
}

/* Too deep for a path in one call. */
static void test_deep(void **state)
{
	char path[TREE_PATH_SIZE], name[NAME_LEN_MAX + 1];
	node_t at = w.main;

	memset(name, 'n', NAME_LEN_MAX);
	name[NAME_LEN_MAX] = 0;
	for (int i = 0; i < 15; i++)
		at = make(&w, at, name, S_IFDIR | 0755);
	assert_int_equal(path_of(at, NULL, path), 0);
	assert_int_equal(strlen(path), 15 * (NAME_LEN_MAX + 1));
	assert_int_equal(find(path), NODE_INO(at));
	at = make(&w, at, name, S_IFDIR | 0755);
	assert_int_equal(path_of(at, NULL, path), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_find, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_path_of, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_deep, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
