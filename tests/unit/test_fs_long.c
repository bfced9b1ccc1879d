/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calls that take many holds of the lock: what others do in between, and how
 * they are given up.  store_on_yield()'s hook is where both happen.
 */
#include "fs_fixture.h"

#include <limits.h>
#include <linux/falloc.h>
#include <stdio.h>

#include "fs_struct.h"
#include "orphan_cleanup.h"

enum { CHUNK = 4096, MANY = 3000 };
#define FAR (INT64_C(1) << 61)

static struct fixture w;

/* ---- Between two holds -------------------------------------------------- */

static unsigned yields;
static unsigned act_at;     /* at this yield */
static void (*act)(void);   /* this is done */
static unsigned give_up_at; /* and at this one the call is given up */

static bool between(void)
{
	void (*now)(void) = act;

	yields++;
	if (now && yields == act_at) {
		act = NULL;
		now();
	}
	return give_up_at && yields >= give_up_at;
}

static void expect_yields(unsigned at, void (*fn)(void), unsigned give_up)
{
	yields = 0;
	act_at = at;
	act = fn;
	give_up_at = give_up;
}

/* Only calls of the test's own thread are given up. */
static pthread_t own_thread;

static bool between_own(void)
{
	return pthread_equal(pthread_self(), own_thread) && between();
}

static int setup(void **state)
{
	fixture_init(&w, 12);
	own_thread = pthread_self();
	store_on_yield(w.store, between_own);
	expect_yields(0, NULL, 0);
	return 0;
}

static int teardown(void **state)
{
	store_on_yield(w.store, NULL);
	/* Not fixture_release(): to check so many snapshots takes too long. */
	fixture_close(&w);
	scratch_release(&w.scratch);
	return 0;
}

static uint64_t holds(void)
{
	uint64_t count;

	store_lock(w.store);
	count = store_holds(w.store);
	store_unlock(w.store);
	return count;
}

/* ---- Holes -------------------------------------------------------------- */

static int punch(node_t node, off_t off, off_t len)
{
	return fs_fallocate(w.fs, node,
	                    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off,
	                    len);
}

static char byte_at(node_t node, off_t off)
{
	char byte = 'E';

	assert_int_equal(get(&w, node, off, &byte, 1), 1);
	return byte;
}

/* However large a hole is, it costs nothing to step over it. */
static void test_punch_far(void **state)
{
	static const off_t places[] = {
	        3, 5 * CHUNK + 7, INT64_C(1) << 35, FAR - 1, FAR, 2 * FAR - 2,
	};
	node_t file = make(&w, w.main, "far", S_IFREG | 0644);
	uint64_t before;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		put_text(&w, file, places[i], "x");
	before = holds();
	assert_int_equal(punch(file, 4, 2 * FAR - 2 - 4), 0);
	assert_true(holds() - before < 100);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		bool kept = places[i] < 4 || places[i] == 2 * FAR - 2;

		assert_int_equal(byte_at(file, places[i]), kept ? 'x' : 0);
	}
	assert_int_equal(attr(&w, file).st_size, 2 * FAR - 1);
	/* Punch where there are no extents. */
	before = holds();
	assert_int_equal(punch(file, 4, FAR), 0);
	assert_int_equal(punch(file, 2 * FAR, FAR), 0);
	assert_int_equal(punch(file, INT64_MAX - 10, 10), 0);
	assert_true(holds() - before < 50);
	assert_int_equal(attr(&w, file).st_size, 2 * FAR - 1);
	assert_int_equal(punch(file, 0, INT64_MAX), 0);
	assert_int_equal(attr(&w, file).st_blocks, 0);
}

/* Against a plain array, with holes and data in any order. */
static void test_punch_model(void **state)
{
	enum { LEN = 40 * CHUNK };
	static uint8_t model[LEN], found[LEN], data[3 * CHUNK];
	node_t file = make(&w, w.main, "model", S_IFREG | 0644);
	uint64_t seed = scratch_seed();

	memset(data, 'd', sizeof(data));
	assert_int_equal(resize(&w, file, LEN), 0);
	for (int i = 0; i < 300; i++) {
		off_t off = (off_t)(scratch_random(&seed) % LEN);
		size_t len = 1 + scratch_random(&seed) % sizeof(data);

		len = MIN(len, (size_t)(LEN - off));
		if (scratch_random(&seed) % 3) {
			put(&w, file, off, data, len);
			memset(model + off, 'd', len);
		} else {
			len = MIN(len * 8, (size_t)(LEN - off));
			assert_int_equal(punch(file, off, (off_t)len), 0);
			memset(model + off, 0, len);
		}
		assert_int_equal(get(&w, file, 0, found, LEN), LEN);
		assert_memory_equal(found, model, LEN);
	}
}

/* ---- Giving up ---------------------------------------------------------- */

static node_t make_dense(const char *name, int chunks)
{
	static const uint8_t data[CHUNK] = {1};
	node_t file = make(&w, w.main, name, S_IFREG | 0644);

	for (int i = 0; i < chunks; i++)
		put(&w, file, (off_t)i * CHUNK, data, CHUNK);
	return file;
}

static uint64_t blocks_of_main(void)
{
	struct state *main;
	uint64_t blocks;

	store_lock(w.store);
	assert_int_equal(state_get(w.forest, NODE_STATE(w.main), &main), 0);
	blocks = state_blocks(main);
	store_unlock(w.store);
	return blocks;
}

static void test_give_up(void **state)
{
	node_t file = make_dense("dense", MANY), other;
	uint64_t blocks = blocks_of_main();
	ssize_t copied;
	off_t at;

	/* The kernel is to believe that these are done. */
	expect_yields(0, NULL, 2);
	assert_int_equal(punch(file, 0, MANY * CHUNK), 0);
	assert_int_equal(yields, 2);
	assert_true(blocks_of_main() < blocks);
	assert_true(blocks_of_main() > blocks / 2);
	/* And these are done in part, or not at all. */
	expect_yields(0, NULL, 1);
	assert_int_equal(fs_seek(w.fs, file, 600 * CHUNK, SEEK_HOLE, &at),
	                 -EINTR);
	other = make(&w, w.main, "other", S_IFREG | 0644);
	expect_yields(0, NULL, 1);
	copied = fs_copy_range(w.fs, file, 0, other, 0, MANY * CHUNK);
	assert_true(copied > 0 && copied < MANY * CHUNK);
	expect_yields(0, NULL, 1);
	assert_int_equal(fs_fallocate(w.fs, file, FALLOC_FL_ZERO_RANGE, 0,
	                              2 * MANY * CHUNK),
	                 0);
	assert_int_equal(attr(&w, file).st_size, 2 * MANY * CHUNK);
	assert_int_equal(byte_at(file, MANY / 2 * CHUNK), 1);
	assert_int_equal(byte_at(file, MANY * CHUNK), 0);
	expect_yields(0, NULL, 0);
}

/* The name goes, or the size is set; what is left to free is freed later. */
static void test_give_up_freeing(void **state)
{
	uint64_t blocks = blocks_of_main();
	struct stat st = {.st_size = 10};
	node_t file;
	int err;

	make_dense("unlinked", MANY);
	expect_yields(0, NULL, 1);
	assert_int_equal(fs_unlink(w.fs, w.main, "unlinked"), 0);
	assert_int_equal(yields, 1);
	assert_int_equal(look_error(&w, w.main, "unlinked"), -ENOENT);
	expect_yields(0, NULL, 0);
	orphan_cleanup_drain(w.fs);
	assert_int_equal(blocks_of_main(), blocks);

	file = make_dense("cut", MANY);
	expect_yields(0, NULL, 1);
	assert_int_equal(fs_setattr(w.fs, file, FS_SET_SIZE, &st, &st), 0);
	assert_int_equal(st.st_size, 10);
	/* Growing frees the tail first, which can be cancelled, too. */
	st.st_size = MANY * CHUNK;
	err = fs_setattr(w.fs, file, FS_SET_SIZE, &st, &st);
	assert_true(err == -EINTR || err == 0);
	expect_yields(0, NULL, 0);
	assert_int_equal(resize(&w, file, MANY * CHUNK), 0);
	assert_int_equal(byte_at(file, 5 * CHUNK), 0);
	assert_int_equal(fs_unlink(w.fs, w.main, "cut"), 0);
	assert_int_equal(blocks_of_main(), blocks);
}

/* ---- Directories that are deep ------------------------------------------ */

static node_t deep_top, deep_end, mover;

static void make_deep(void)
{
	deep_top = deep_end = make(&w, w.main, "deep", S_IFDIR | 0755);
	for (int i = 0; i < MANY; i++)
		deep_end = make(&w, deep_end, "d", S_IFDIR | 0755);
	mover = make(&w, w.main, "mover", S_IFDIR | 0755);
}

static int move_to(node_t from, const char *name, node_t to, const char *as)
{
	return fs_rename(w.fs, from, name, to, as, 0, &fixture_cred);
}

/* While its ancestors are searched, move the new parent below it. */
static void move_crosswise(void)
{
	assert_int_equal(move_to(w.main, "deep", mover, "in"), 0);
}

static void move_elsewhere(void)
{
	node_t aside = make(&w, w.main, "aside", S_IFDIR | 0755);

	assert_int_equal(move_to(w.main, "deep", aside, "in"), 0);
}

static void move_file(void)
{
	make(&w, w.main, "file", S_IFREG | 0644);
	assert_int_equal(move_to(w.main, "file", mover, "file"), 0);
}

static void remove_target(void)
{
	node_t parent;

	/* The last directory goes, into which the move was to be. */
	parent = look(&w, w.main, "deep");
	for (int i = 0; i < MANY - 1; i++)
		parent = look(&w, parent, "d");
	assert_int_equal(fs_rmdir(w.fs, parent, "d"), 0);
}

static void test_rename_deep(void **state)
{
	unsigned usual;

	make_deep();
	/* Undisturbed, and there is no way into itself. */
	expect_yields(0, NULL, 0);
	assert_int_equal(move_to(w.main, "mover", deep_end, "x"), 0);
	usual = yields;
	assert_true(usual >= 2 && usual < MANY / 100);
	assert_int_equal(move_to(w.main, "deep", mover, "x"), -EINVAL);
	assert_int_equal(move_to(deep_end, "x", w.main, "mover"), 0);

	/* Files may be moved meanwhile. */
	expect_yields(2, move_file, 0);
	assert_int_equal(move_to(w.main, "mover", deep_end, "x"), 0);
	assert_int_equal(yields, usual);
	assert_int_equal(move_to(deep_end, "x", w.main, "mover"), 0);

	/* A directory was: all is looked at again. */
	expect_yields(2, move_elsewhere, 0);
	assert_int_equal(move_to(w.main, "mover", deep_end, "x"), 0);
	assert_true(yields > usual);
	assert_int_equal(move_to(deep_end, "x", w.main, "mover"), 0);
	assert_int_equal(
	        move_to(look(&w, w.main, "aside"), "in", w.main, "deep"), 0);

	expect_yields(2, move_crosswise, 0);
	assert_int_equal(move_to(w.main, "mover", deep_end, "x"), -EINVAL);
	assert_int_equal(move_to(mover, "in", w.main, "deep"), 0);

	expect_yields(0, NULL, 2);
	assert_int_equal(move_to(w.main, "mover", deep_end, "x"), -EINTR);
	assert_int_equal(look(&w, w.main, "mover"), mover);

	expect_yields(2, remove_target, 0);
	assert_int_equal(move_to(w.main, "mover", deep_end, "x"), -ENOENT);
	expect_yields(0, NULL, 0);
}

/* All that was given up or disturbed has left nothing wrong behind. */
static void test_sound(void **state)
{
	fixture_check(&w);
}

/* ---- Listings ----------------------------------------------------------- */

static struct {
	unsigned count, stop;
	uint8_t seen[MANY];
} listed;

static int list_entry(void *arg, const char *name, const struct fs_entry *entry,
                      off_t cookie)
{
	unsigned number;

	if (listed.stop && listed.count == listed.stop)
		return 1;
	if (sscanf(name, "n%u", &number) == 1 && number < MANY) {
		listed.seen[number]++;
		listed.count++;
	}
	return 0;
}

static node_t list_dir;

/* Some that were listed and some that were not go, and others come. */
static void change_listed(void)
{
	char name[32];

	for (int i = 0; i < MANY; i += 3) {
		snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(fs_rmdir(w.fs, list_dir, name), 0);
		snprintf(name, sizeof(name), "new%d", i);
		make(&w, list_dir, name, S_IFDIR | 0755);
	}
}

static void expect_listed(bool plus)
{
	memset(&listed, 0, sizeof(listed));
	expect_yields(2, change_listed, 0);
	assert_int_equal(fs_readdir(w.fs, list_dir, 0, plus, SNAPDIR_HIDDEN,
	                            list_entry, NULL),
	                 0);
	assert_true(yields >= 3);
	for (int i = 0; i < MANY; i++) {
		assert_true(listed.seen[i] <= 1);
		/* Entries that were there all the time are listed. */
		if (i % 3)
			assert_int_equal(listed.seen[i], 1);
	}
	/* A listing that has stopped takes no further entries. */
	memset(&listed, 0, sizeof(listed));
	listed.stop = 5;
	expect_yields(0, NULL, 0);
	assert_int_equal(fs_readdir(w.fs, list_dir, 0, plus, SNAPDIR_HIDDEN,
	                            list_entry, NULL),
	                 0);
	assert_int_equal(listed.count, 5);
}

static void fill(node_t dir)
{
	char name[32];

	list_dir = dir;
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		make(&w, dir, name, S_IFDIR | 0755);
	}
}

static void test_list_directory(void **state)
{
	for (int plus = 0; plus < 2; plus++) {
		fill(make(&w, w.main, plus ? "plus" : "plain", S_IFDIR | 0755));
		expect_listed(plus);
	}
}

static void test_list_snapshots(void **state)
{
	for (int plus = 0; plus < 2; plus++) {
		node_t fork =
		        make(&w, NODE_ROOT, plus ? "main@plus" : "main@plain",
		             S_IFDIR | 0755);

		fill(NODE(NODE_STATE(fork), INO_SNAPDIR));
		expect_listed(plus);
	}
}

/* ---- Attributes --------------------------------------------------------- */

/* The length of a list has a limit, and so has the work for it. */
static void test_list_attributes(void **state)
{
	node_t file = make(&w, w.main, "attributes", S_IFREG | 0644);
	char name[32];

	for (int i = 0; i < 8000; i++) {
		snprintf(name, sizeof(name), "user.%05d", i);
		assert_int_equal(fs_setxattr(w.fs, file, name, "", 0, 0), 0);
	}
	assert_int_equal(fs_listxattr(w.fs, file, true, NULL, 0), -E2BIG);
	for (int i = 0; i < 4000; i++) {
		snprintf(name, sizeof(name), "user.%05d", i);
		assert_int_equal(fs_removexattr(w.fs, file, name), 0);
	}
	assert_int_equal(fs_listxattr(w.fs, file, true, NULL, 0), 4000 * 11);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_punch_far),
	        cmocka_unit_test(test_punch_model),
	        cmocka_unit_test(test_give_up),
	        cmocka_unit_test(test_give_up_freeing),
	        cmocka_unit_test(test_rename_deep),
	        cmocka_unit_test(test_sound),
	        cmocka_unit_test(test_list_directory),
	        cmocka_unit_test(test_list_snapshots),
	        cmocka_unit_test(test_list_attributes),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
