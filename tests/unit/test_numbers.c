/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers of inodes and of states, when all of them have been given out. */
#include "kernel.h"

#include <limits.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdio.h>

#include "batch_code.h"
#include "forest.h"
#include "fs_struct.h"
#include "number.h"

static struct fixture w;
static struct kernel k;

/* A fixture whose store gives out these numbers next; main is the first. */
static void fixture_number(uint64_t ino, uint64_t state)
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
	fixture_open(&w);
	w.main = NODE(state, INO_ROOT);
}

/* ---- Inodes ------------------------------------------------------------- */

static int try_symlink(const char *name)
{
	struct fs_entry e;

	return fs_make(w.fs, NODE_ROOT, name, S_IFLNK | 0777, 0, "main",
	               &fixture_cred, &e);
}

/* Every way to make an inode. */
static void expect_no_inode(void)
{
	struct fs_entry e;

	assert_int_equal(try_make(&w, w.main, "no", S_IFREG), -ENOSPC);
	assert_int_equal(try_make(&w, w.main, "no", S_IFDIR), -ENOSPC);
	assert_int_equal(try_make(&w, w.main, "no", S_IFIFO), -ENOSPC);
	assert_int_equal(fs_make(w.fs, w.main, "no", S_IFLNK | 0777, 0, "x",
	                         &fixture_cred, &e),
	                 -ENOSPC);
	assert_int_equal(fs_tmpfile(w.fs, w.main, 0600, &fixture_cred, &e),
	                 -ENOSPC);
	assert_int_equal(fs_rename(w.fs, w.main, "last", w.main, "no",
	                           RENAME_WHITEOUT, &fixture_cred),
	                 -ENOSPC);
	assert_int_equal(try_symlink("no"), -ENOSPC);
	assert_int_equal(look_error(&w, w.main, "no"), -ENOENT);
	assert_int_equal(attr(&w, w.main).st_size, 1);
}

static void test_inodes_run_out(void **state)
{
	node_t last;

	fixture_number(INO_END - 1, 1);
	assert_int_equal(try_symlink("no"), -ENOSPC);
	last = make(&w, w.main, "last", S_IFREG | 0644);
	assert_int_equal(NODE_INO(last), INO_END - 1);
	assert_int_equal(NODE_STATE(last), 1);
	expect_no_inode();
	expect_no_inode();
	/* Existing states can be used and forked. */
	put_text(&w, last, 0, "text");
	assert_int_equal(fs_rename(w.fs, w.main, "last", w.main, "renamed", 0,
	                           &fixture_cred),
	                 0);
	make(&w, NODE_ROOT, "main@try", S_IFDIR);
	fixture_reopen(&w);
	assert_int_equal(try_make(&w, w.main, "no", S_IFREG), -ENOSPC);
	expect_text(&w, look(&w, w.main, "renamed"), "text");
	fixture_release(&w);
}

/* Symlinks beside the forks have half of the numbers. */
static void test_symlinks_run_out(void **state)
{
	fixture_number(SYMLINK_INO_END - 1, 1);
	assert_int_equal(try_symlink("last"), 0);
	assert_int_equal(try_symlink("no"), -ENOSPC);
	make(&w, w.main, "file", S_IFREG | 0644);
	assert_int_equal(look_error(&w, NODE_ROOT, "no"), -ENOENT);
	fixture_release(&w);
}

/* ---- States ------------------------------------------------------------- */

static int print_finding(void *arg, const struct finding *f)
{
	print_message("# %s: %s\n", f->kind, f->text);
	++*(unsigned *)arg;
	return 0;
}

static void expect_intact(void)
{
	unsigned found = 0;
	struct check_options options = {
	        .found = print_finding,
	        .arg = &found,
	};

	assert_int_equal(forest_drain(w.forest), 0);
	assert_int_equal(store_sync(w.store), 0);
	assert_int_equal(forest_check(w.store, &options), 0);
	assert_int_equal(found, 0);
}

/* No more numbers than below `end`, from now on. */
static void limit(uint64_t end)
{
	store_lock(w.store);
	forest_limit_numbers(w.forest, end);
	store_unlock(w.store);
}

static struct fs_entry fork_new(const char *name)
{
	struct fs_entry e;

	assert_int_equal(fs_make(w.fs, NODE_ROOT, name, S_IFDIR | 0755, 0, NULL,
	                         &fixture_cred, &e),
	                 0);
	assert_int_not_equal(e.generation, 0);
	return e;
}

static uint64_t number_new(const char *name)
{
	return NODE_STATE(fork_new(name).node);
}

static void state_remove(const char *name)
{
	struct state *s;

	store_lock(w.store);
	assert_int_equal(state_resolve(w.forest, name, &s), 0);
	assert_int_equal(state_delete(w.forest, s, true), 0);
	store_unlock(w.store);
}

static node_t snapdir(uint64_t number)
{
	return NODE(number, INO_SNAPDIR);
}

static void test_states_run_out(void **state)
{
	fixture_number(INO_FIRST, STATE_NUMBER_END - 2);
	assert_int_equal(number_new("a"), STATE_NUMBER_END - 1);
	/* From here on those that are free. */
	assert_int_equal(number_new("b"), 1);
	expect_intact();
	state_remove("b");
	assert_int_equal(number_new("c"), 2);
	fixture_reopen(&w);
	assert_int_equal(number_new("d"), 3);
	assert_int_equal(NODE_STATE(make(&w, snapdir(3), "s", S_IFDIR)), 4);
	expect_intact();
	/* After a crash the states and the search are where they were. */
	fixture_crash(&w);
	assert_int_equal(number_new("e"), 5);
	assert_int_equal(NODE_STATE(look(&w, NODE_ROOT, "d")), 3);
	expect_intact();
	fixture_release(&w);
}

/* A number is given out again when its state has gone, and never before. */
static void test_numbers_are_reused(void **state)
{
	char name[] = "f0";
	struct fs_entry old, new;
	node_t file;

	fixture_init(&w, 0);
	limit(6);
	for (uint64_t i = 2; i < 6; i++, name[1]++)
		assert_int_equal(number_new(name), i);
	assert_int_equal(try_make(&w, NODE_ROOT, "no", S_IFDIR), -ENOSPC);
	assert_int_equal(try_make(&w, snapdir(1), "no", S_IFDIR), -ENOSPC);
	assert_int_equal(look_error(&w, NODE_ROOT, "no"), -ENOENT);
	assert_int_equal(fs_lookup(w.fs, NODE_ROOT, "f1", SNAPDIR_HIDDEN, &old),
	                 0);
	assert_int_equal(NODE_STATE(old.node), 3);
	file = make(&w, old.node, "file", S_IFREG | 0644);
	state_remove("f1");
	new = fork_new("new");
	assert_int_equal(new.node, old.node);
	assert_int_not_equal(new.generation, old.generation);
	assert_int_equal(look_error(&w, new.node, "file"), -ENOENT);
	assert_int_equal(fs_confirm(w.fs, &old), -ESTALE);
	assert_int_equal(fs_confirm(w.fs, &new), 0);
	assert_int_equal(try_make(&w, NODE_ROOT, "no", S_IFDIR), -ENOSPC);
	/* A fork of a fork, and snapshots, take part. */
	state_remove("f0");
	assert_int_equal(number_new("main@x"), 2);
	state_remove("f2");
	assert_int_equal(NODE_STATE(make(&w, snapdir(1), "s", S_IFDIR)), 4);
	/* An open file keeps the number in use. */
	file = make(&w, new.node, "open", S_IFREG | 0644);
	assert_int_equal(fs_open(w.fs, file, O_RDONLY), 0);
	state_remove("new");
	assert_int_equal(try_make(&w, NODE_ROOT, "no", S_IFDIR), -ENOSPC);
	assert_int_equal(fs_open(w.fs, file, O_RDONLY), -ESTALE);
	fs_release(w.fs, file);
	assert_int_equal(number_new("newer"), 3);
	expect_intact();
	fixture_reopen(&w);
	limit(6);
	assert_int_equal(try_make(&w, NODE_ROOT, "no", S_IFDIR), -ENOSPC);
	expect_intact();
	fixture_release(&w);
}

/* Put a file into main and make a snapshot, in one step. */
static int batch_snapshot(const char *path)
{
	struct batch_op op = {.kind = BATCH_STATE, .number = 1};
	struct batch_bytes bytes = {0};
	struct fs_batch_failure failure;
	struct fs_batch what = {.cred = &fixture_cred, .snapshot = path};
	struct state *s;
	uint64_t txg;
	int err;

	store_lock(w.store);
	assert_int_equal(state_get(w.forest, 1, &s), 0);
	op.generation = state_generation(s);
	store_unlock(w.store);
	assert_int_equal(batch_bytes_add(&bytes, &op), 0);
	op = (struct batch_op){.kind = BATCH_PUT, .path = path};
	op.path_len = (uint16_t)strlen(path);
	assert_int_equal(batch_bytes_add(&bytes, &op), 0);
	what.data = bytes.data;
	what.len = bytes.len;
	err = fs_batch_apply(w.fs, &what, &txg, &failure);
	batch_bytes_release(&bytes);
	return err;
}

/* Root of main's tree when a search for a number asked for the first one. */
static uint64_t searched_at;

static bool note_root(void *arg, uint64_t number)
{
	struct state *s;

	assert_int_equal(state_get(w.forest, 1, &s), 0);
	if (!searched_at)
		searched_at = state_tree(s)->root;
	return false;
}

/* A step with a snapshot draws the number before it changes anything. */
static void test_number_of_a_step(void **state)
{
	struct state *s;
	uint64_t root;

	fixture_init(&w, 0);
	limit(3);
	assert_int_equal(number_new("fork"), 2);
	assert_int_equal(batch_snapshot("no"), -ENOSPC);
	assert_int_equal(look_error(&w, w.main, "no"), -ENOENT);
	state_remove("fork");
	assert_int_equal(forest_drain(w.forest), 0);
	store_lock(w.store);
	forest_set_keeper(w.forest, note_root, NULL);
	assert_int_equal(state_get(w.forest, 1, &s), 0);
	root = state_tree(s)->root;
	store_unlock(w.store);
	assert_int_equal(batch_snapshot("yes"), 0);
	assert_int_equal(searched_at, root);
	assert_int_equal(look_error(&w, w.main, "yes"), 0);
	assert_int_equal(NODE_STATE(look(&w, snapdir(1), "yes")), 2);
	/* An unused reserved number goes to the next state. */
	state_remove("main~yes");
	assert_int_equal(forest_drain(w.forest), 0);
	store_lock(w.store);
	assert_int_equal(forest_reserve_numbers(w.forest, 2), -ENOSPC);
	assert_int_equal(forest_reserve_numbers(w.forest, 1), 0);
	store_unlock(w.store);
	assert_int_equal(number_new("fork"), 2);
	expect_intact();
	fixture_release(&w);
}

/* A fork that was deleted with its snapshots leaves nothing to the next one. */
static void test_forks_being_deleted(void **state)
{
	char name[8];

	fixture_init(&w, 0);
	limit(12);
	for (int round = 0; round < 6; round++) {
		struct fs_entry fork = fork_new("fork");
		uint64_t number = NODE_STATE(fork.node);

		for (int i = 0; i < 9; i++) {
			snprintf(name, sizeof(name), "s%d", i);
			make(&w, snapdir(number), name, S_IFDIR);
		}
		assert_int_equal(try_make(&w, NODE_ROOT, "no", S_IFDIR),
		                 -ENOSPC);
		state_remove("fork");
		assert_int_equal(forest_drain(w.forest), 0);
		store_lock(w.store);
		assert_int_equal(forest_count(w.forest), 1);
		store_unlock(w.store);
		expect_intact();
	}
	fixture_release(&w);
}

/* ---- Numbers that a kernel knows ---------------------------------------- */

static struct fuse_entry_out entry_asked(uint64_t parent, const char *name)
{
	struct fuse_entry_out out = {0};

	assert_int_equal(
	        kernel_ask(&k, FUSE_LOOKUP, parent, name, strlen(name) + 1), 0);
	assert_true(k.len >= sizeof(out));
	memcpy(&out, k.data, sizeof(out));
	return out;
}

static int get_attr(uint64_t node)
{
	struct fuse_getattr_in in = {0};

	return kernel_ask(&k, FUSE_GETATTR, node, &in, sizeof(in));
}

static void forget(uint64_t node, uint64_t count)
{
	struct fuse_forget_in in = {.nlookup = count};

	kernel_send(&k, FUSE_FORGET, node, &in, sizeof(in));
	/* FORGET is not answered. */
	while (lookups_has(k.mounts.first->lookups, node))
		sched_yield();
}

static int mkdir_asked(const char *name)
{
	struct {
		struct fuse_mkdir_in in;
		char name[16];
	} arg = {.in.mode = 0755};

	strcpy(arg.name, name);
	return kernel_ask(&k, FUSE_MKDIR, NODE_ROOT, &arg,
	                  sizeof(arg.in) + strlen(name) + 1);
}

static void test_known_numbers(void **state)
{
	struct fuse_entry_out fork, file, link, again;
	node_t snapshot;

	fixture_init(&w, 0);
	limit(4);
	assert_int_equal(number_new("fork"), 2);
	make(&w, NODE(2, INO_ROOT), "file", S_IFREG | 0644);
	snapshot = make(&w, snapdir(1), "s", S_IFDIR);
	assert_int_equal(NODE_STATE(snapshot), 3);
	kernel_mount(&k, &w, 0, SNAPDIR_HIDDEN);
	fork = entry_asked(NODE_ROOT, "fork");
	file = entry_asked(fork.nodeid, "file");
	link = entry_asked(NODE_ROOT, "main~s");
	assert_int_equal(NODE_STATE(file.nodeid), 2);
	assert_int_equal(file.generation, fork.generation);
	assert_int_not_equal(file.generation, 0);
	assert_int_equal(entry_asked(NODE_ROOT, ".").generation, 0);

	/* Deleted, but known by its file: it stays what it was. */
	state_remove("fork");
	forget(fork.nodeid, 1);
	assert_int_equal(mkdir_asked("new"), -ENOSPC);
	assert_int_equal(get_attr(file.nodeid), -ESTALE);
	forget(file.nodeid, 1);
	assert_int_equal(mkdir_asked("new"), 0);
	again = entry_asked(NODE_ROOT, "new");
	assert_int_equal(again.nodeid, fork.nodeid);
	assert_int_not_equal(again.generation, fork.generation);
	/* A handle of the old one gives what has the number now. */
	assert_int_equal(entry_asked(fork.nodeid, ".").generation,
	                 again.generation);
	assert_int_equal(kernel_ask(&k, FUSE_LOOKUP, file.nodeid, ".", 2),
	                 -ESTALE);

	/* A symlink that stands for a snapshot has its number, too. */
	assert_int_equal(fs_rmdir(w.fs, snapdir(1), "s"), 0);
	assert_int_equal(mkdir_asked("more"), -ENOSPC);
	assert_int_equal(get_attr(link.nodeid), -ESTALE);
	forget(link.nodeid, 1);
	assert_int_equal(mkdir_asked("more"), 0);
	assert_int_equal(entry_asked(NODE_ROOT, "more").nodeid, snapshot);
	kernel_umount(&k);
	expect_intact();
	fixture_release(&w);
}

/* The state that is mounted alone keeps its number, if the mount outlives it.
 */
static void test_mounted_number(void **state)
{
	fixture_init(&w, 0);
	limit(3);
	assert_int_equal(number_new("fork"), 2);
	kernel_mount(&k, &w, 2, SNAPDIR_HIDDEN);
	assert_int_equal(entry_asked(INO_ROOT, ".").generation, 0);
	state_remove("fork");
	assert_int_equal(try_make(&w, NODE_ROOT, "new", S_IFDIR), -ENOSPC);
	assert_int_equal(get_attr(INO_ROOT), -ESTALE);
	kernel_umount(&k);
	assert_int_equal(number_new("new"), 2);
	fixture_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_inodes_run_out),
	        cmocka_unit_test(test_symlinks_run_out),
	        cmocka_unit_test(test_states_run_out),
	        cmocka_unit_test(test_numbers_are_reused),
	        cmocka_unit_test(test_number_of_a_step),
	        cmocka_unit_test(test_forks_being_deleted),
	        cmocka_unit_test(test_known_numbers),
	        cmocka_unit_test(test_mounted_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
