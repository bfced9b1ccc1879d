/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Clones of subtrees: like the source, whole or not there at all. */
#include "fs_fixture.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "fs_struct.h"
#include "orphan_cleanup.h"

enum { CHUNK = 4096, NAMES = 64 };

static struct fixture w;
static pthread_t own_thread;

static int setup(void **state)
{
	fixture_init(&w, 12);
	own_thread = pthread_self();
	return 0;
}

static int teardown(void **state)
{
	store_on_yield(w.store, NULL);
	fixture_release(&w);
	return 0;
}

/* ---- Trees -------------------------------------------------------------- */

static void give_xattr(node_t node, uint64_t *rng)
{
	char value[600];
	size_t len = scratch_random(rng) % sizeof(value);

	memset(value, 'a' + (int)(scratch_random(rng) % 26), sizeof(value));
	assert_int_equal(fs_setxattr(w.fs, node, "user.x", value, len, 0), 0);
}

static void fill_file(node_t node, uint64_t *rng)
{
	static char data[20 * CHUNK];
	size_t len = scratch_random(rng) % 3
	                     ? scratch_random(rng) % 600
	                     : scratch_random(rng) % sizeof(data);

	memset(data, 'A' + (int)(scratch_random(rng) % 26), sizeof(data));
	if (len)
		put(&w, node, (off_t)(scratch_random(rng) % 5) * CHUNK, data,
		    len);
}

/* Make `count` random entries below the directory. */
static void grow(node_t dir, unsigned count, uint64_t *rng)
{
	node_t dirs[NAMES] = {dir}, files[NAMES] = {0};
	unsigned dir_count = 1, file_count = 0;
	struct fs_entry entry;
	char name[32];

	for (unsigned i = 0; i < count; i++) {
		node_t in = dirs[scratch_random(rng) % dir_count], node;
		unsigned kind = scratch_random(rng) % 8;

		snprintf(name, sizeof(name), "n%u", i);
		if (kind == 0 && dir_count < NAMES) {
			node = dirs[dir_count++] =
			        make(&w, in, name, S_IFDIR | 0750);
		} else if (kind == 1 && file_count) {
			node = files[scratch_random(rng) % file_count];
			assert_int_equal(fs_link(w.fs, node, in, name, &entry),
			                 0);
		} else if (kind == 2) {
			assert_int_equal(fs_make(w.fs, in, name, S_IFLNK | 0777,
			                         0, i % 2 ? "target" : name,
			                         &fixture_cred, &entry),
			                 0);
			node = entry.node;
		} else {
			node = make(&w, in, name, S_IFREG | (i % 512));
			fill_file(node, rng);
			if (file_count < NAMES)
				files[file_count++] = node;
		}
		if (scratch_random(rng) % 4 == 0 && kind != 2)
			give_xattr(node, rng);
	}
}

/* ---- Comparing ---------------------------------------------------------- */

struct listed {
	unsigned count;
	char names[2048][32];
};

static int list_one(void *arg, const char *name, const struct fs_entry *entry,
                    off_t cookie)
{
	struct listed *listed = arg;

	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	assert_true(listed->count < ARRAY_SIZE(listed->names));
	snprintf(listed->names[listed->count++], 32, "%s", name);
	return 0;
}

/* Pairs of an inode and its copy, to find out whether links are links. */
struct twins {
	unsigned count;
	node_t of[4096][2];
};

static void expect_twin(struct twins *twins, node_t a, node_t b)
{
	assert_int_not_equal(NODE_INO(a), NODE_INO(b));
	for (unsigned i = 0; i < twins->count; i++)
		if (twins->of[i][0] == a || twins->of[i][1] == b) {
			assert_int_equal(twins->of[i][0], a);
			assert_int_equal(twins->of[i][1], b);
			return;
		}
	assert_true(twins->count < ARRAY_SIZE(twins->of));
	twins->of[twins->count][0] = a;
	twins->of[twins->count++][1] = b;
}

static void expect_same_content(node_t a, node_t b)
{
	static char left[32 * CHUNK], right[32 * CHUNK];
	char x[700], y[700];
	size_t len = get(&w, a, 0, left, sizeof(left));
	ssize_t got = fs_getxattr(w.fs, a, "user.x", x, sizeof(x));

	assert_int_equal(get(&w, b, 0, right, sizeof(right)), len);
	assert_memory_equal(left, right, len);
	assert_int_equal(fs_getxattr(w.fs, b, "user.x", y, sizeof(y)), got);
	if (got > 0)
		assert_memory_equal(x, y, (size_t)got);
}

static uint64_t expect_same(struct twins *twins, node_t a, node_t b)
{
	struct stat x = attr(&w, a), y = attr(&w, b);
	char left[PATH_MAX], right[PATH_MAX];
	struct listed *listed;
	uint64_t count = 1;

	expect_twin(twins, a, b);
	assert_int_equal(x.st_mode, y.st_mode);
	assert_int_equal(x.st_uid, y.st_uid);
	assert_int_equal(x.st_gid, y.st_gid);
	assert_int_equal(x.st_size, y.st_size);
	assert_int_equal(x.st_blocks, y.st_blocks);
	assert_int_equal(x.st_mtim.tv_nsec, y.st_mtim.tv_nsec);
	assert_int_equal(x.st_atim.tv_nsec, y.st_atim.tv_nsec);
	if (S_ISLNK(x.st_mode)) {
		assert_int_equal(fs_readlink(w.fs, a, left), 0);
		assert_int_equal(fs_readlink(w.fs, b, right), 0);
		assert_string_equal(left, right);
		return 1;
	}
	if (S_ISREG(x.st_mode)) {
		expect_same_content(a, b);
		return 1;
	}
	assert_int_equal(x.st_nlink, y.st_nlink);
	listed = calloc(1, sizeof(*listed));
	assert_int_equal(fs_readdir(w.fs, b, 0, false, SNAPDIR_DISABLED,
	                            list_one, listed),
	                 0);
	assert_int_equal(listed->count, x.st_size);
	for (unsigned i = 0; i < listed->count; i++)
		count += expect_same(twins, look(&w, a, listed->names[i]),
		                     look(&w, b, listed->names[i]));
	free(listed);
	return count;
}

static void expect_clone(node_t from, node_t to, uint64_t entries)
{
	struct twins *twins = calloc(1, sizeof(*twins));

	assert_int_equal(expect_same(twins, from, to), entries);
	free(twins);
}

static node_t clone_to(node_t from, node_t parent, const char *name,
                       uint64_t *ret_entries)
{
	struct fs_cloned cloned;

	assert_int_equal(fs_clone(w.fs, from, parent, name, &cloned), 0);
	assert_int_equal(look(&w, parent, name), cloned.node);
	*ret_entries = cloned.entries;
	return cloned.node;
}

/* ---- Tests -------------------------------------------------------------- */

static void test_is_like_the_source(void **state)
{
	uint64_t rng = scratch_seed(), entries;

	for (int round = 0; round < 12; round++) {
		char name[32];
		node_t from, to, fork;

		snprintf(name, sizeof(name), "from%d", round);
		from = make(&w, w.main, name, S_IFDIR | 0755);
		grow(from, 1 + (unsigned)(scratch_random(&rng) % 600), &rng);
		snprintf(name, sizeof(name), "to%d", round);
		to = clone_to(from, w.main, name, &entries);
		expect_clone(from, to, entries);
		snprintf(name, sizeof(name), "main@fork%d", round);
		fork = make(&w, NODE_ROOT, name, S_IFDIR | 0755);
		to = clone_to(from, fork, "to", &entries);
		expect_clone(from, to, entries);
		fixture_check(&w);
	}
	assert_int_equal(count_orphans(&w, NODE_STATE(w.main)), 0);
	fixture_reopen(&w);
	fixture_check(&w);
}

static void test_is_apart_from_the_source(void **state)
{
	uint64_t entries;
	node_t from = make(&w, w.main, "from", S_IFREG | 0644), to;
	char data[3 * CHUNK];

	memset(data, 'x', sizeof(data));
	put(&w, from, 0, data, sizeof(data));
	to = clone_to(from, w.main, "to", &entries);
	assert_int_equal(entries, 1);
	put_text(&w, from, CHUNK, "changed");
	assert_int_equal(get(&w, to, 0, data, sizeof(data)), sizeof(data));
	for (size_t i = 0; i < sizeof(data); i++)
		assert_int_equal(data[i], 'x');
	assert_int_equal(fs_unlink(w.fs, w.main, "from"), 0);
	fixture_reopen(&w);
	assert_int_equal(get(&w, look(&w, w.main, "to"), 0, data, sizeof(data)),
	                 sizeof(data));
	assert_int_equal(data[CHUNK], 'x');
	fixture_check(&w);
}

static void test_into_itself(void **state)
{
	uint64_t rng = scratch_seed(), entries;
	node_t from = make(&w, w.main, "from", S_IFDIR | 0755);
	node_t in = make(&w, from, "in", S_IFDIR | 0755), to;

	grow(in, 300, &rng);
	to = clone_to(from, in, "to", &entries);
	assert_int_equal(look(&w, look(&w, to, "in"), "to"), 0);
	to = clone_to(w.main, in, "all", &entries);
	assert_int_not_equal(
	        look(&w, look(&w, look(&w, to, "from"), "in"), "to"), 0);
	fixture_check(&w);
}

static void test_long_file(void **state)
{
	uint64_t entries;
	node_t dir = make(&w, w.main, "dir", S_IFDIR | 0755), to;
	node_t from = make(&w, dir, "long", S_IFREG | 0644);
	struct fs_entry entry;
	char data[CHUNK];

	for (int i = 0; i < 3000; i++) {
		memset(data, i, sizeof(data));
		put(&w, from, (off_t)i * 2 * CHUNK, data, sizeof(data));
	}
	assert_int_equal(fs_link(w.fs, from, dir, "again", &entry), 0);
	make(&w, dir, "other", S_IFREG | 0644);
	to = look(&w, clone_to(dir, w.main, "to", &entries), "long");
	assert_int_equal(entries, 4);
	assert_int_equal(attr(&w, to).st_blocks, attr(&w, from).st_blocks);
	assert_int_equal(attr(&w, to).st_nlink, 2);
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(get(&w, to, (off_t)i * 2 * CHUNK, data, CHUNK),
		                 CHUNK);
		assert_int_equal(data[17], (char)i);
	}
	fixture_check(&w);
}

/* ---- In the middle ------------------------------------------------------ */

static struct {
	int left;      /* yields before something happens */
	bool snapshot; /* take one and fork; else give up */
} interruption;

static bool interrupt(void)
{
	if (!pthread_equal(pthread_self(), own_thread) ||
	    interruption.left-- != 0)
		return false;
	if (!interruption.snapshot)
		return true;
	make(&w, NODE(NODE_STATE(w.main), INO_SNAPDIR), "between",
	     S_IFDIR | 0755);
	make(&w, NODE_ROOT, "main@between", S_IFDIR | 0755);
	return false;
}

static void test_cancelled(void **state)
{
	uint64_t rng = scratch_seed();
	node_t from = make(&w, w.main, "from", S_IFDIR | 0755);
	struct fs_cloned cloned;
	struct stat before;

	grow(from, 1500, &rng);
	before = attr(&w, w.main);
	for (int left = 0; left < 8; left++) {
		interruption.left = left;
		store_on_yield(w.store, interrupt);
		assert_int_equal(fs_clone(w.fs, from, w.main, "to", &cloned),
		                 -EINTR);
		store_on_yield(w.store, NULL);
		assert_int_equal(look(&w, w.main, "to"), 0);
		assert_int_equal(attr(&w, w.main).st_nlink, before.st_nlink);
		fixture_check(&w);
	}
	fixture_reopen(&w);
	orphan_cleanup_drain(w.fs);
	assert_int_equal(count_orphans(&w, NODE_STATE(w.main)), 0);
	fixture_check(&w);
}

/* A snapshot and a fork that are made meanwhile are whole, without the copy. */
static void test_snapshot_meanwhile(void **state)
{
	uint64_t rng = scratch_seed(), entries;
	node_t from = make(&w, w.main, "from", S_IFDIR | 0755), to, fork;

	grow(from, 1500, &rng);
	interruption.left = 3;
	interruption.snapshot = true;
	store_on_yield(w.store, interrupt);
	to = clone_to(from, w.main, "to", &entries);
	store_on_yield(w.store, NULL);
	interruption.snapshot = false;
	expect_clone(from, to, entries);
	fork = look(&w, NODE_ROOT, "main@between");
	assert_int_equal(look(&w, fork, "to"), 0);
	/* A fork with a change of its own is cleaned. */
	make(&w, fork, "own", S_IFREG | 0644);
	fixture_reopen(&w);
	orphan_cleanup_drain(w.fs);
	assert_int_equal(count_orphans(&w, NODE_STATE(fork)), 0);
	fixture_check(&w);
}

static void test_errors(void **state)
{
	node_t dir = make(&w, w.main, "dir", S_IFDIR | 0755);
	node_t file = make(&w, w.main, "file", S_IFREG | 0644);
	node_t snapdir = NODE(NODE_STATE(w.main), INO_SNAPDIR);
	node_t snapshot = make(&w, snapdir, "monday", S_IFDIR | 0755);
	struct fs_cloned cloned;
	const struct {
		node_t from, parent;
		const char *name;
		int err;
	} bad[] = {
	        {dir, w.main, "file", -EEXIST},
	        {dir, w.main, ".snap", -EEXIST},
	        {dir, w.main, "..", -EINVAL},
	        {dir, w.main, "", -EINVAL},
	        {dir, file, "to", -ENOTDIR},
	        {dir, snapshot, "to", -EROFS},
	        {dir, NODE_ROOT, "to", -EPERM},
	        {dir, snapdir, "to", -EPERM},
	        {snapdir, w.main, "to", -EPERM},
	        {NODE_ROOT, w.main, "to", -EPERM},
	        {NODE(77, 99), w.main, "to", -ESTALE},
	        {dir + 1000, w.main, "to", -ESTALE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(fs_clone(w.fs, bad[i].from, bad[i].parent,
		                          bad[i].name, &cloned),
		                 bad[i].err);
	assert_int_equal(attr(&w, w.main).st_size, 2);
	assert_int_equal(count_orphans(&w, NODE_STATE(w.main)), 0);
	fixture_check(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_is_like_the_source, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_is_apart_from_the_source,
	                                        setup, teardown),
	        cmocka_unit_test_setup_teardown(test_into_itself, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_long_file, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_cancelled, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_snapshot_meanwhile, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
