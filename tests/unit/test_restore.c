/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Restored files, directories and forks, against the states they are from. */
#include "fs_fixture.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs_struct.h"
#include "orphan_cleanup.h"

enum { CHUNK = 4096, DIRS = 6, NAMES = 12 };

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

/* ---- What a tree is like ------------------------------------------------ */

struct dump {
	FILE *to;
	const char *path;
	bool numbers;     /* with inode numbers and times of change */
	const char *skip; /* path that is left out, with what is below */
};

static void dump_node(const struct dump *d, node_t node, const char *path);

struct listed {
	unsigned count;
	char names[512][NAME_LEN_MAX + 1];
};

static int list_one(void *arg, const char *name, const struct fs_entry *entry,
                    off_t cookie)
{
	struct listed *listed = arg;

	if (strcmp(name, ".") && strcmp(name, "..")) {
		assert_true(listed->count < ARRAY_SIZE(listed->names));
		strcpy(listed->names[listed->count++], name);
	}
	return 0;
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void dump_dir(const struct dump *d, node_t node, const char *path)
{
	struct listed *listed = calloc(1, sizeof(*listed));
	char below[PATH_MAX];

	assert_int_equal(fs_readdir(w.fs, node, 0, false, SNAPDIR_DISABLED,
	                            list_one, listed),
	                 0);
	qsort(listed->names, listed->count, sizeof(listed->names[0]),
	      name_compare);
	for (unsigned i = 0; i < listed->count; i++) {
		snprintf(below, sizeof(below), "%s/%s", path, listed->names[i]);
		dump_node(d, look(&w, node, listed->names[i]), below);
	}
	free(listed);
}

static void dump_node(const struct dump *d, node_t node, const char *path)
{
	static char data[64 * CHUNK];
	struct stat st = attr(&w, node);
	char value[1000] = "", target[PATH_MAX];
	size_t len;

	if (d->skip && !strcmp(path, d->skip))
		return;
	/* The directory that the restored one is in has changed. */
	fprintf(d->to, "%s %o %u", path, st.st_mode, st.st_uid);
	if (!d->skip || !S_ISDIR(st.st_mode))
		fprintf(d->to, " %ld.%09ld", st.st_mtim.tv_sec,
		        st.st_mtim.tv_nsec);
	if (d->numbers)
		fprintf(d->to, " %llu %ld.%09ld",
		        (unsigned long long)NODE_INO(node), st.st_ctim.tv_sec,
		        st.st_ctim.tv_nsec);
	fs_getxattr(w.fs, node, "user.x", value, sizeof(value));
	fprintf(d->to, " %s", value);
	if (S_ISLNK(st.st_mode)) {
		assert_int_equal(fs_readlink(w.fs, node, target), 0);
		fprintf(d->to, " %s", target);
	} else if (S_ISREG(st.st_mode)) {
		len = get(&w, node, 0, data, sizeof(data));
		fprintf(d->to, " %llu %zu %016llx",
		        (unsigned long long)st.st_blocks, len,
		        (unsigned long long)store_hash(w.store, data, len));
	}
	fprintf(d->to, "\n");
	if (S_ISDIR(st.st_mode))
		dump_dir(d, node, path);
}

/* Return a description of a tree, to be freed. */
static char *describe(node_t node, bool numbers, const char *skip)
{
	struct dump d = {.numbers = numbers, .skip = skip};
	char *text = NULL;
	size_t len;

	d.to = open_memstream(&text, &len);
	dump_node(&d, node, "");
	fclose(d.to);
	return text;
}

static void expect_equal(char *a, char *b)
{
	if (strcmp(a, b))
		printf("# expected:\n%s# found:\n%s", a, b);
	assert_string_equal(a, b);
	free(a);
	free(b);
}

/* ---- Histories ---------------------------------------------------------- */

static void name_of(uint64_t *rng, char name[16])
{
	snprintf(name, 16, "n%llu",
	         (unsigned long long)(scratch_random(rng) % NAMES));
}

/* Return a random directory at or below `node`. */
static node_t dir_below(node_t node, uint64_t *rng)
{
	char name[16];

	for (int i = 0; i < 8; i++) {
		node_t child;

		name_of(rng, name);
		child = look(&w, node, name);
		if (child && S_ISDIR(attr(&w, child).st_mode))
			node = child;
		if (scratch_random(rng) % 3 == 0)
			break;
	}
	return node;
}

static void write_some(node_t file, uint64_t *rng)
{
	static char data[5 * CHUNK];
	size_t len = scratch_random(rng) % 2
	                     ? scratch_random(rng) % 300
	                     : scratch_random(rng) % sizeof(data);

	memset(data, 'a' + (int)(scratch_random(rng) % 26), sizeof(data));
	if (len)
		put(&w, file, (off_t)(scratch_random(rng) % 6) * CHUNK, data,
		    len);
	else
		assert_int_equal(resize(&w, file, 3), 0);
}

/* Make one random change of the tree. */
static void change(node_t root, uint64_t *rng)
{
	node_t dir = dir_below(root, rng), other = dir_below(root, rng), child;
	char name[16], new_name[16], value[600];
	struct fs_entry entry;

	name_of(rng, name);
	name_of(rng, new_name);
	child = look(&w, dir, name);
	switch (scratch_random(rng) % 10) {
	case 0:
	case 1:
		try_make(&w, dir, name, S_IFDIR | 0755);
		break;
	case 2:
	case 3:
		if (!try_make(&w, dir, name, S_IFREG | 0644))
			write_some(look(&w, dir, name), rng);
		break;
	case 4:
		fs_make(w.fs, dir, name, S_IFLNK | 0777, 0, new_name,
		        &fixture_cred, &entry);
		break;
	case 5:
		fs_rename(w.fs, dir, name, other, new_name, 0, &fixture_cred);
		break;
	case 6:
		if (child)
			fs_link(w.fs, child, other, new_name, &entry);
		break;
	case 7:
		if (child && S_ISDIR(attr(&w, child).st_mode))
			fs_rmdir(w.fs, dir, name);
		else if (child)
			fs_unlink(w.fs, dir, name);
		break;
	case 8:
		if (child && S_ISREG(attr(&w, child).st_mode))
			write_some(child, rng);
		break;
	default:
		if (child && !S_ISLNK(attr(&w, child).st_mode)) {
			chmod_to(&w, child, scratch_random(rng) % 01000);
			memset(value, name[1], sizeof(value));
			fs_setxattr(w.fs, child, "user.x", value,
			            scratch_random(rng) % sizeof(value), 0);
		}
	}
}

static int restore(node_t source, node_t fork, const char *path,
                   const char *into)
{
	const struct fs_restore what = {
	        .source = NODE_STATE(source),
	        .fork = NODE_STATE(fork),
	        .path = path,
	        .into = into,
	};
	struct fs_restored restored;
	int err = fs_restore(w.fs, &what, &restored);

	if (!err)
		fs_restored_release(w.fs, &restored);
	return err;
}

static node_t snapshot(const char *name)
{
	return make(&w, NODE(NODE_STATE(w.main), INO_SNAPDIR), name,
	            S_IFDIR | 0755);
}

/* ---- Tests -------------------------------------------------------------- */

/* Inode numbers are kept if nothing has moved across the border. */
static void test_directory(void **state)
{
	uint64_t rng = scratch_seed();

	for (int round = 0; round < 40; round++) {
		char name[32], *rest;
		node_t in, snap;

		snprintf(name, sizeof(name), "round%d", round);
		in = make(&w, w.main, name, S_IFDIR | 0755);
		for (int i = 0; i < 120; i++)
			change(in, &rng);
		snap = snapshot(name);
		for (uint64_t i = scratch_random(&rng) % 100; i; i--)
			change(in, &rng);
		snprintf(name, sizeof(name), "/round%d", round);
		rest = describe(w.main, true, name);
		assert_int_equal(restore(snap, w.main, name, name), 0);
		expect_equal(describe(look(&w, snap, name + 1), true, NULL),
		             describe(look(&w, w.main, name + 1), true, NULL));
		expect_equal(rest, describe(w.main, true, name));
		fixture_check(&w);
	}
	fixture_reopen(&w);
	orphan_cleanup_drain(w.fs);
	assert_int_equal(count_orphans(&w, NODE_STATE(w.main)), 0);
}

/* Files and directories move in and out: contents are equal, in new inodes. */
static void test_parts(void **state)
{
	uint64_t rng = scratch_seed();

	for (int round = 0; round < 60; round++) {
		char name[32], path[64];
		node_t snap, dir;

		for (int i = 0; i < 60; i++)
			change(w.main, &rng);
		snprintf(name, sizeof(name), "round%d", round);
		snap = snapshot(name);
		for (uint64_t i = scratch_random(&rng) % 60; i; i--)
			change(w.main, &rng);
		name_of(&rng, name);
		snprintf(path, sizeof(path), "/%s", name);
		if (!look(&w, snap, name)) {
			assert_int_equal(restore(snap, w.main, path, path),
			                 -ENOENT);
			continue;
		}
		dir = look(&w, snap, name);
		assert_int_equal(restore(snap, w.main, path, path), 0);
		expect_equal(describe(dir, false, NULL),
		             describe(look(&w, w.main, name), false, NULL));
		fixture_check(&w);
		assert_int_equal(restore(snap, w.main, path, "/other"), 0);
		expect_equal(describe(dir, false, NULL),
		             describe(look(&w, w.main, "other"), false, NULL));
		fixture_check(&w);
	}
}

static void test_whole(void **state)
{
	uint64_t rng = scratch_seed();
	char name[32];
	node_t snaps[12];

	for (int round = 0; round < 12; round++) {
		for (int i = 0; i < 80; i++)
			change(w.main, &rng);
		snprintf(name, sizeof(name), "round%d", round);
		snaps[round] = snapshot(name);
	}
	for (int round = 0; round < 40; round++) {
		node_t snap = snaps[scratch_random(&rng) % 12];

		assert_int_equal(restore(snap, w.main, "/", "/"), 0);
		expect_equal(describe(snap, true, NULL),
		             describe(w.main, true, NULL));
		fixture_check(&w);
		for (uint64_t i = scratch_random(&rng) % 20; i; i--)
			change(w.main, &rng);
		if (round % 10 == 0)
			fixture_reopen(&w);
	}
	assert_int_equal(forest_drain(w.forest), 0);
	fixture_check(&w);
}

static void test_missing_parents(void **state)
{
	node_t a = make(&w, w.main, "a", S_IFDIR | 0700), b, file, snap;

	b = make(&w, a, "b", S_IFDIR | 0750);
	file = make(&w, b, "file", S_IFREG | 0644);
	put_text(&w, file, 0, "text");
	make(&w, b, "other", S_IFREG | 0644);
	snap = snapshot("monday");
	assert_int_equal(fs_unlink(w.fs, b, "file"), 0);
	assert_int_equal(fs_unlink(w.fs, b, "other"), 0);
	assert_int_equal(fs_rmdir(w.fs, a, "b"), 0);
	assert_int_equal(fs_rmdir(w.fs, w.main, "a"), 0);
	assert_int_equal(restore(snap, w.main, "/a/b/file", "/x/y/file"),
	                 -ENOENT);
	assert_int_equal(restore(snap, w.main, "/a/b/file", "/a/b/file"), 0);
	/* All of them have their numbers again. */
	assert_int_equal(look(&w, w.main, "a"), a);
	assert_int_equal(look(&w, a, "b"), b);
	assert_int_equal(look(&w, b, "file"), file);
	assert_int_equal(look(&w, b, "other"), 0);
	assert_int_equal(attr(&w, a).st_mode & 07777, 0700);
	expect_text(&w, file, "text");
	fixture_check(&w);
}

static void test_open_file(void **state)
{
	node_t file = make(&w, w.main, "file", S_IFREG | 0644), new, snap;

	put_text(&w, file, 0, "old");
	snap = snapshot("monday");
	assert_int_equal(fs_open(w.fs, file, O_RDWR), 0);
	assert_int_equal(fs_unlink(w.fs, w.main, "file"), 0);
	put_text(&w, file, 0, "new");
	new = make(&w, w.main, "file", S_IFREG | 0644);
	put_text(&w, new, 0, "other");
	assert_int_equal(fs_open(w.fs, new, O_RDWR), 0);
	assert_int_equal(restore(snap, w.main, "/file", "/file"), 0);
	/* The same file is back; the one that it replaces stays while open. */
	assert_int_equal(look(&w, w.main, "file"), file);
	expect_text(&w, file, "old");
	orphan_cleanup_drain(w.fs);
	expect_text(&w, new, "other");
	fs_release(w.fs, new);
	fs_release(w.fs, file);
	expect_text(&w, file, "old");
	orphan_cleanup_drain(w.fs);
	assert_int_equal(count_orphans(&w, NODE_STATE(w.main)), 0);
	fixture_check(&w);
}

/* ---- Others meanwhile --------------------------------------------------- */

static int writes_left;
static node_t written;

static bool write_between(void)
{
	if (pthread_equal(pthread_self(), own_thread) && writes_left) {
		writes_left--;
		put_text(&w, written, 0, "meanwhile");
	}
	return false;
}

static void test_busy_fork(void **state)
{
	node_t dir = make(&w, w.main, "dir", S_IFDIR | 0755), snap;
	char name[32];

	written = make(&w, w.main, "written", S_IFREG | 0644);
	for (int i = 0; i < 400; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		put_text(&w, make(&w, dir, name, S_IFREG | 0644), 0, name);
	}
	snap = snapshot("monday");
	for (int writes = 0; writes < 1000; writes += 1 + writes) {
		for (int i = 0; i < 400; i++) {
			snprintf(name, sizeof(name), "f%d", i);
			assert_int_equal(fs_unlink(w.fs, dir, name), 0);
		}
		put_text(&w, written, 0, "before...");
		writes_left = writes;
		store_on_yield(w.store, write_between);
		assert_int_equal(restore(snap, w.main, "/dir", "/dir"), 0);
		store_on_yield(w.store, NULL);
		expect_text(&w, written, writes ? "meanwhile" : "before...");
		expect_equal(describe(look(&w, snap, "dir"), true, NULL),
		             describe(dir, true, NULL));
		fixture_check(&w);
	}
}

static bool give_up(void)
{
	return pthread_equal(pthread_self(), own_thread) && !writes_left--;
}

static void test_given_up_and_dry_run(void **state)
{
	struct fs_restore what = {.path = "/", .into = "/copy"};
	struct fs_restored restored;
	char name[32], *before;
	node_t snap;

	for (int i = 0; i < 400; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		put_text(&w, make(&w, w.main, name, S_IFREG | 0644), 0, name);
	}
	snap = snapshot("monday");
	before = describe(w.main, true, NULL);
	what.source = NODE_STATE(snap);
	what.fork = NODE_STATE(w.main);
	for (int i = 0; i < 4; i++) {
		writes_left = i;
		store_on_yield(w.store, give_up);
		assert_int_equal(fs_restore(w.fs, &what, &restored), -EINTR);
		store_on_yield(w.store, NULL);
		expect_equal(strdup(before), describe(w.main, true, NULL));
		fixture_check(&w);
	}
	what.dry_run = true;
	assert_int_equal(fs_restore(w.fs, &what, &restored), 0);
	fs_restored_release(w.fs, &restored);
	expect_equal(before, describe(w.main, true, NULL));
	assert_int_equal(forest_drain(w.forest), 0);
	fixture_check(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_directory, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_parts, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
	        cmocka_unit_test_setup_teardown(test_missing_parents, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_open_file, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_busy_fork, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_given_up_and_dry_run,
	                                        setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
