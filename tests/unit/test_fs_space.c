/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* States as directories: the rules of the name space; readdir; statfs. */
#include "fs_fixture.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <sys/xattr.h>

#include "fs_struct.h"

static struct fixture w;

static int setup(void **state)
{
	fixture_init(&w, 0);
	return 0;
}

static int teardown(void **state)
{
	fixture_release(&w);
	return 0;
}

static node_t snapdir(node_t root)
{
	return NODE(NODE_STATE(root), INO_SNAPDIR);
}

/* ---- Forks and snapshots ------------------------------------------------ */

static void test_forks(void **state)
{
	node_t file = make(&w, w.main, "file", S_IFREG | 0644), fork, deep;

	put_text(&w, file, 0, "before");
	fork = make(&w, NODE_ROOT, "main@try", S_IFDIR);
	assert_int_equal(NODE_INO(fork), INO_ROOT);
	deep = make(&w, NODE_ROOT, "main@try@again", S_IFDIR);
	put_text(&w, file, 0, "after!");
	assert_int_equal(NODE_INO(look(&w, fork, "file")), NODE_INO(file));
	expect_text(&w, look(&w, fork, "file"), "before");
	put_text(&w, look(&w, deep, "file"), 6, " this");
	expect_text(&w, look(&w, fork, "file"), "before");
	expect_text(&w, look(&w, deep, "file"), "before this");
	assert_int_equal(try_make(&w, NODE_ROOT, "main@try", S_IFDIR), -EEXIST);
	assert_int_equal(try_make(&w, NODE_ROOT, "none@x", S_IFDIR), -ENOENT);
	assert_int_equal(try_make(&w, NODE_ROOT, "a~b", S_IFDIR), -EINVAL);
	assert_int_equal(try_make(&w, NODE_ROOT, "file", S_IFREG), -EPERM);
}

static void set_default(const char *name)
{
	struct state *s = NULL;

	store_lock(w.store);
	if (name)
		assert_int_equal(state_find(w.forest, 0, name, &s), 0);
	assert_int_equal(state_set_default(w.forest, s), 0);
	store_unlock(w.store);
}

/* A name without an '@' makes a tree of its own, unless there is a default. */
static void test_new_trees(void **state)
{
	struct stat to = {.st_gid = 7, .st_mode = 02775};
	node_t file = make(&w, w.main, "file", S_IFREG | 0644), tree;
	struct stat st;

	put_text(&w, file, 0, "main's");
	tree = make(&w, NODE_ROOT, "tree", S_IFDIR | 01777);
	assert_int_equal(NODE_INO(tree), INO_ROOT);
	assert_int_equal(look(&w, tree, "file"), 0);
	st = attr(&w, tree);
	assert_int_equal(st.st_mode, S_IFDIR | 01755); /* umask 022 */
	assert_int_equal(st.st_uid, 1000);
	assert_int_equal(st.st_gid, 1000);
	assert_int_equal(st.st_size, 0);
	put_text(&w, make(&w, tree, "own", S_IFREG | 0644), 0, "tree's");
	assert_int_equal(try_make(&w, NODE_ROOT, "tree", S_IFDIR), -EEXIST);
	assert_int_equal(try_make(&w, NODE_ROOT, ".snap", S_IFDIR), -EPERM);
	assert_int_equal(
	        fs_setattr(w.fs, NODE_ROOT, FS_SET_GID | FS_SET_MODE, &to, &st),
	        0);
	st = attr(&w, make(&w, NODE_ROOT, "grouped", S_IFDIR | 0755));
	assert_int_equal(st.st_gid, 7);
	assert_int_equal(st.st_mode, S_IFDIR | 02755);
	assert_int_equal(fs_rmdir(w.fs, NODE_ROOT, "grouped"), 0);
	/* A directory is copied into a new tree, not on top of a fork. */
	make(&w, tree, "dir", S_IFDIR | 0755);
	assert_int_equal(
	        fs_rename(w.fs, tree, "dir", NODE_ROOT, "main@dir", 0, NULL),
	        -EPERM);
	set_default("main");
	assert_int_equal(
	        fs_rename(w.fs, tree, "dir", NODE_ROOT, "dir", 0, NULL),
	        -EPERM);
	expect_text(&w, look(&w, make(&w, NODE_ROOT, "plain", S_IFDIR), "file"),
	            "main's");
	set_default(NULL);
	assert_int_equal(
	        look(&w, make(&w, NODE_ROOT, "again", S_IFDIR), "file"), 0);
}

static int readonly_everywhere(node_t root, node_t dir, node_t file)
{
	struct stat st = {.st_size = 0};
	struct fs_entry e;

#define RO(call) assert_int_equal(call, -EROFS)
	RO(try_make(&w, dir, "new", S_IFREG));
	RO(try_make(&w, dir, "new", S_IFDIR));
	RO(fs_tmpfile(w.fs, dir, 0600, &fixture_cred, &e));
	RO(fs_link(w.fs, file, root, "new", &e));
	RO(fs_unlink(w.fs, dir, "file"));
	RO(fs_rmdir(w.fs, root, "dir"));
	RO(fs_rename(w.fs, dir, "file", root, "new", 0, NULL));
	RO(fs_setattr(w.fs, file, FS_SET_SIZE, &st, &st));
	RO(fs_setattr(w.fs, file, FS_SET_MODE, &st, &st));
	RO(fs_setattr(w.fs, root, FS_SET_ATIME_NOW, &st, &st));
	RO(fs_open(w.fs, file, O_WRONLY));
	RO(fs_open(w.fs, file, O_RDWR));
	RO(fs_open(w.fs, file, O_RDONLY | O_TRUNC));
	RO(fs_write(w.fs, file, 0, "x", 1, 0));
	RO(fs_fallocate(w.fs, file, 0, 0, 1));
	RO(fs_fallocate(w.fs, file, 3, 0, 1));
	RO((int)fs_copy_range(w.fs, file, 0, file, 100, 1));
	RO(fs_setxattr(w.fs, file, "user.x", "x", 1, 0));
	RO(fs_removexattr(w.fs, file, "user.a"));
#undef RO
	assert_int_equal(fs_open(w.fs, file, O_RDONLY), 0);
	fs_release(w.fs, file);
	return 0;
}

static void test_snapshots(void **state)
{
	node_t dir = make(&w, w.main, "dir", S_IFDIR | 0755);
	node_t file = make(&w, dir, "file", S_IFREG | 0644), snap, again;
	struct stat st;

	put_text(&w, file, 0, "monday");
	assert_int_equal(fs_setxattr(w.fs, file, "user.a", "a", 1, 0), 0);
	assert_int_equal(look(&w, w.main, ".snap"), snapdir(w.main));
	assert_int_equal(look(&w, snapdir(w.main), ".."), w.main);
	snap = make(&w, snapdir(w.main), "monday", S_IFDIR);
	assert_int_equal(look(&w, snap, ".."), snapdir(w.main));
	assert_int_equal(look_error(&w, snap, ".snap"), -ENOENT);
	put_text(&w, file, 0, "tuesda");
	dir = look(&w, snap, "dir");
	file = look(&w, dir, "file");
	expect_text(&w, file, "monday");
	readonly_everywhere(snap, dir, file);
	assert_int_equal(try_make(&w, w.main, ".snap", S_IFDIR), -EEXIST);
	assert_int_equal(fs_rmdir(w.fs, w.main, ".snap"), -EPERM);
	assert_int_equal(try_make(&w, snapdir(w.main), "f", S_IFREG), -EPERM);
	assert_int_equal(try_make(&w, snapdir(snap), "x", S_IFDIR), -ESTALE);
	again = make(&w, NODE_ROOT, "main~monday@redo", S_IFDIR);
	expect_text(&w, look(&w, look(&w, again, "dir"), "file"), "monday");
	put_text(&w, look(&w, look(&w, again, "dir"), "file"), 0, "redone");
	expect_text(&w, file, "monday");
	assert_int_equal(attr(&w, snapdir(w.main)).st_nlink, 3);
	assert_int_equal(fs_rename(w.fs, snapdir(w.main), "monday",
	                           snapdir(w.main), "mon", 0, NULL),
	                 0);
	assert_int_equal(look(&w, snapdir(w.main), "mon"), snap);
	assert_int_equal(fs_rmdir(w.fs, snapdir(w.main), "mon"), 0);
	assert_int_equal(fs_getattr(w.fs, file, &st), -ESTALE);
	assert_int_equal(fs_open(w.fs, file, O_RDONLY), -ESTALE);
	assert_int_equal(look(&w, snapdir(w.main), "mon"), 0);
}

static void expect_link(const char *name, const char *target)
{
	char back[PATH_MAX];
	struct fs_entry e;

	assert_int_equal(fs_lookup(w.fs, NODE_ROOT, name, SNAPDIR_HIDDEN, &e),
	                 0);
	assert_true(S_ISLNK(e.st.st_mode));
	assert_true(e.uncacheable);
	assert_int_equal(e.st.st_size, strlen(target));
	assert_int_equal(fs_readlink(w.fs, e.node, back), 0);
	assert_string_equal(back, target);
}

static void test_tilde(void **state)
{
	make(&w, snapdir(w.main), "one", S_IFDIR);
	make(&w, snapdir(w.main), "two", S_IFDIR);
	expect_link("main~one", "main/.snap/one");
	expect_link("main~1", "main/.snap/two");
	expect_link("main~2", "main/.snap/one");
	expect_link("main~@now", "main/.snap/two");
	assert_int_equal(look(&w, NODE_ROOT, "main~3"), 0);
	assert_int_equal(look(&w, NODE_ROOT, "main~none"), 0);
	assert_int_equal(look(&w, NODE_ROOT, "none~1"), 0);
	assert_int_equal(look(&w, NODE_ROOT, "main~@no time"), 0);
	assert_int_equal(fs_unlink(w.fs, NODE_ROOT, "main~1"), -EPERM);
	assert_int_equal(fs_rmdir(w.fs, NODE_ROOT, "main~1"), -ENOTDIR);
	assert_int_equal(
	        fs_rename(w.fs, NODE_ROOT, "main~1", NODE_ROOT, "x", 0, NULL),
	        -EPERM);
}

static void test_rmdir_of_forks(void **state)
{
	node_t fork = make(&w, NODE_ROOT, "fork", S_IFDIR);

	set_default("main");
	assert_int_equal(fs_rmdir(w.fs, NODE_ROOT, "main"), -EBUSY);
	assert_int_equal(fs_rmdir(w.fs, NODE_ROOT, "none"), -ENOENT);
	assert_int_equal(fs_unlink(w.fs, NODE_ROOT, "fork"), -EISDIR);
	make(&w, fork, "work", S_IFREG | 0600);
	assert_int_equal(fs_rmdir(w.fs, NODE_ROOT, "fork"), -ENOTEMPTY);
	make(&w, snapdir(fork), "kept", S_IFDIR);
	assert_int_equal(fs_rmdir(w.fs, NODE_ROOT, "fork"), -ENOTEMPTY);
	assert_int_equal(fs_rmdir(w.fs, snapdir(fork), "kept"), 0);
	assert_int_equal(fs_unlink(w.fs, fork, "work"), 0);
	assert_int_equal(fs_rmdir(w.fs, NODE_ROOT, "fork"), 0);
	fork = make(&w, NODE_ROOT, "fork", S_IFDIR);
	make(&w, fork, "work", S_IFREG | 0600);
	w.options.rmdir_always = true;
	fixture_reopen(&w);
	assert_int_equal(fs_rmdir(w.fs, NODE_ROOT, "fork"), 0);
	assert_int_equal(fs_rmdir(w.fs, NODE_ROOT, "main"), -EBUSY);
}

static int move(node_t from, const char *name, node_t to, const char *new_name,
                unsigned flags)
{
	return fs_rename(w.fs, from, name, to, new_name, flags, &fixture_cred);
}

static void test_rename_of_states(void **state)
{
	node_t a = make(&w, NODE_ROOT, "a", S_IFDIR);
	node_t b = make(&w, NODE_ROOT, "b", S_IFDIR);
	node_t dir = make(&w, a, "dir", S_IFDIR | 0700);
	node_t file = make(&w, b, "file", S_IFREG | 0600);
	struct fs_entry e;

	make(&w, snapdir(a), "s", S_IFDIR);
	make(&w, snapdir(a), "t", S_IFDIR);
	assert_int_equal(move(NODE_ROOT, "a", b, "a", 0), -EPERM);
	assert_int_equal(move(NODE_ROOT, "a", dir, "a", 0), -EPERM);
	assert_int_equal(move(a, "dir", NODE_ROOT, "dir", 0), -EXDEV);
	assert_int_equal(move(a, "dir", snapdir(a), "dir", 0), -EPERM);
	assert_int_equal(move(snapdir(a), "s", NODE_ROOT, "s", 0), -EPERM);
	assert_int_equal(move(snapdir(a), "s", snapdir(b), "s", 0), -EPERM);
	assert_int_equal(move(a, "dir", b, "dir", 0), -EXDEV);
	assert_int_equal(move(a, ".snap", a, "x", 0), -EPERM);
	assert_int_equal(fs_link(w.fs, file, a, "file", &e), -EXDEV);
	assert_int_equal(fs_link(w.fs, file, NODE_ROOT, "file", &e), -EPERM);
	assert_int_equal(move(snapdir(a), "s", snapdir(a), "t", 0), -ENOTEMPTY);
	assert_int_equal(move(NODE_ROOT, "a", NODE_ROOT, "b", RENAME_NOREPLACE),
	                 -EEXIST);
	assert_int_equal(move(NODE_ROOT, "a", NODE_ROOT, "b", 0), -ENOTEMPTY);
	assert_int_equal(move(NODE_ROOT, "a", NODE_ROOT, "a", 0), 0);
	assert_int_equal(move(NODE_ROOT, "a", NODE_ROOT, "~", 0), -EINVAL);
	assert_int_equal(move(NODE_ROOT, "a", NODE_ROOT, "b", RENAME_EXCHANGE),
	                 0);
	assert_int_equal(look(&w, NODE_ROOT, "a"), b);
	assert_int_equal(look(&w, NODE_ROOT, "b"), a);
	/* Over one that holds nothing of its own. */
	make(&w, NODE_ROOT, "c", S_IFDIR);
	assert_int_equal(move(NODE_ROOT, "b", NODE_ROOT, "c", 0), 0);
	assert_int_equal(look(&w, NODE_ROOT, "c"), a);
	assert_int_equal(look(&w, NODE_ROOT, "b"), 0);
}

static void test_root_attributes(void **state)
{
	struct stat st = {.st_mode = 01777, .st_uid = 5, .st_gid = 6};
	struct stat before = attr(&w, NODE_ROOT);

	assert_true(S_ISDIR(before.st_mode));
	assert_int_equal(fs_setattr(w.fs, NODE_ROOT,
	                            FS_SET_MODE | FS_SET_UID | FS_SET_GID, &st,
	                            &st),
	                 0);
	fixture_reopen(&w);
	st = attr(&w, NODE_ROOT);
	assert_int_equal(st.st_mode, S_IFDIR | 01777);
	assert_int_equal(st.st_uid, 5);
	assert_int_equal(st.st_gid, 6);
	assert_int_equal(
	        fs_setattr(w.fs, snapdir(w.main), FS_SET_MODE, &st, &st),
	        -EPERM);
	assert_int_equal(chmod_to(&w, w.main, 0700), 0);
	assert_int_equal(attr(&w, snapdir(w.main)).st_mode, S_IFDIR | 0700);
}

/* ---- readdir ------------------------------------------------------------ */

struct listed {
	char name[NAME_LEN_MAX + 1];
	off_t cookie;
	node_t node;
	unsigned type;
};

struct list {
	struct listed *entries;
	size_t count, most;
};

static int list_one(void *arg, const char *name, const struct fs_entry *entry,
                    off_t cookie)
{
	struct list *list = arg;
	struct listed *l = &list->entries[list->count];

	if (list->count == list->most)
		return 1;
	strcpy(l->name, name);
	l->cookie = cookie;
	l->node = entry->node;
	l->type = IFTODT(entry->st.st_mode);
	assert_int_equal(entry->st.st_ino, entry->node);
	list->count++;
	return 0;
}

static size_t list_dir(node_t dir, off_t off, bool plus, enum fs_snapdir snap,
                       struct listed *entries, size_t most)
{
	struct list list = {entries, 0, most};

	assert_int_equal(
	        fs_readdir(w.fs, dir, off, plus, snap, list_one, &list), 0);
	return list.count;
}

static void test_readdir(void **state)
{
	enum { FILES = 5000 };
	static struct listed all[FILES + 10], part[7];
	static bool seen[FILES];
	node_t dir = make(&w, w.main, "dir", S_IFDIR | 0700);
	char name[32];
	size_t count, n;
	off_t at = 0;
	int made = FILES, removed = 0, stable = 0;

	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "%d", i);
		make(&w, dir, name, i % 2 ? S_IFREG | 0600 : S_IFDIR | 0700);
	}
	count = list_dir(dir, 0, true, SNAPDIR_VISIBLE, all, FILES + 10);
	assert_int_equal(count, FILES + 2);
	assert_string_equal(all[0].name, ".");
	assert_string_equal(all[1].name, "..");
	assert_int_equal(all[1].node, w.main);
	for (size_t i = 2; i < count; i++) {
		assert_true(all[i].cookie > all[i - 1].cookie);
		n = strtoul(all[i].name, NULL, 10);
		assert_int_equal(all[i].type, n % 2 ? DT_REG : DT_DIR);
		n = list_dir(dir, all[i - 1].cookie, false, SNAPDIR_HIDDEN,
		             part, 1);
		assert_int_equal(n, 1);
		assert_string_equal(part[0].name, all[i].name);
	}
	/* Files come and go while it is read in small pieces: the numbers
	 * divisible by 8 stay, and each is seen just once. */
	while ((n = list_dir(dir, at, false, SNAPDIR_HIDDEN, part, 7))) {
		for (size_t i = 0; i < n; i++) {
			size_t number = strtoul(part[i].name, NULL, 10);

			if (part[i].name[0] == '.' || number >= FILES)
				continue;
			assert_false(seen[number]);
			seen[number] = true;
			stable += number % 8 == 0;
		}
		at = part[n - 1].cookie;
		for (int i = 0; i < 5; i++) {
			snprintf(name, sizeof(name), "%d", made++);
			make(&w, dir, name, S_IFREG | 0600);
			removed += 1 + removed % 8 / 7;
			snprintf(name, sizeof(name), "%d", removed);
			if (removed % 8 && removed < FILES && removed % 2)
				assert_int_equal(fs_unlink(w.fs, dir, name), 0);
		}
	}
	assert_int_equal(stable, FILES / 8);
}

static void test_list_states(void **state)
{
	enum { FORKS = 3000 };
	static struct listed all[FORKS + 10], part[5];
	node_t fork;
	char name[32];
	size_t n, seen = 0;
	off_t at = 0;

	for (int i = 0; i < FORKS; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		fork = make(&w, NODE_ROOT, name, S_IFDIR);
	}
	assert_int_equal(
	        list_dir(NODE_ROOT, 0, true, SNAPDIR_HIDDEN, all, FORKS + 10),
	        FORKS + 3);
	/* Delete the listed names before listing more, as rm does. */
	while ((n = list_dir(NODE_ROOT, at, false, SNAPDIR_HIDDEN, part, 5))) {
		for (size_t i = 0; i < n; i++) {
			if (part[i].name[0] == 'f')
				assert_int_equal(
				        fs_rmdir(w.fs, NODE_ROOT, part[i].name),
				        0);
			seen += part[i].name[0] == 'f';
		}
		at = part[n - 1].cookie;
	}
	assert_int_equal(seen, FORKS);
	fork = make(&w, NODE_ROOT, "fork", S_IFDIR);
	make(&w, snapdir(fork), "s", S_IFDIR);
	make(&w, fork, "file", S_IFREG | 0600);
	assert_int_equal(
	        list_dir(snapdir(fork), 0, true, SNAPDIR_HIDDEN, all, 10), 3);
	assert_string_equal(all[2].name, "s");
	assert_int_equal(list_dir(fork, 0, true, SNAPDIR_HIDDEN, all, 10), 3);
	assert_int_equal(list_dir(fork, 0, true, SNAPDIR_VISIBLE, all, 10), 4);
	assert_string_equal(all[2].name, ".snap");
	assert_int_equal(list_dir(look(&w, snapdir(fork), "s"), 0, true,
	                          SNAPDIR_VISIBLE, all, 10),
	                 2);
}

/* ---- Symlinks in the root directory ------------------------------------- */

static int point(const char *name, const char *target, node_t *ret_node)
{
	struct fs_entry e = {0};
	int err = fs_make(w.fs, NODE_ROOT, name, S_IFLNK | 0777, 0, target,
	                  &fixture_cred, &e);

	*ret_node = e.node;
	return err;
}

#define NOTHING ((node_t)0)
static void expect_target(const char *name, node_t node, const char *target)
{
	char buffer[PATH_MAX];

	assert_int_equal(look(&w, NODE_ROOT, name), node);
	if (!node)
		return;
	assert_int_equal(fs_readlink(w.fs, node, buffer), 0);
	assert_string_equal(buffer, target);
}

static void test_symlinks(void **state)
{
	char long_target[SYMLINK_TARGET_MAX + 2], buffer[PATH_MAX];
	struct fs_entry e;
	struct stat st;
	node_t a, b;

	make(&w, NODE_ROOT, "fork", S_IFDIR);
	assert_int_equal(point("current", "fork", &a), 0);
	expect_target("current", a, "fork");
	st = attr(&w, a);
	assert_int_equal(st.st_mode, S_IFLNK | 0777);
	assert_int_equal(st.st_uid, fixture_cred.uid);
	assert_int_equal(st.st_size, 4);
	/* A name is one thing's. */
	assert_int_equal(point("current", "x", &b), -EEXIST);
	assert_int_equal(point("fork", "x", &b), -EEXIST);
	assert_int_equal(try_make(&w, NODE_ROOT, "current", S_IFDIR), -EEXIST);
	assert_int_equal(try_make(&w, NODE_ROOT, "x", S_IFREG), -EPERM);
	assert_int_equal(fs_link(w.fs, a, NODE_ROOT, "x", &e), -EPERM);
	assert_int_equal(try_make(&w, a, "x", S_IFDIR), -ENOTDIR);
	assert_int_equal(look_error(&w, a, "x"), -ENOTDIR);
	/* Names that no fork can have. */
	assert_int_equal(point(".snap", "x", &b), -EPERM);
	assert_int_equal(point(".x", "x", &b), -EINVAL);
	assert_int_equal(point("main~1", "x", &b), -EINVAL);
	assert_int_equal(point("x", "", &b), -ENOENT);
	memset(long_target, 't', sizeof(long_target));
	long_target[SYMLINK_TARGET_MAX + 1] = 0;
	assert_int_equal(point("x", long_target, &b), -ENAMETOOLONG);
	long_target[SYMLINK_TARGET_MAX] = 0;
	assert_int_equal(point("x", long_target, &b), 0);
	assert_int_equal(fs_make(w.fs, snapdir(w.main), "x", S_IFLNK | 0777, 0,
	                         "x", &fixture_cred, &e),
	                 -EPERM);
	fixture_reopen(&w);
	expect_target("x", b, long_target);
	expect_target("current", a, "fork");
	/* Attributes of a link, and its removal. */
	st = (struct stat){.st_uid = 7, .st_gid = 8, .st_mtim = {9, 10}};
	assert_int_equal(fs_setattr(w.fs, a,
	                            FS_SET_UID | FS_SET_GID | FS_SET_MTIME, &st,
	                            &st),
	                 0);
	assert_int_equal(fs_setattr(w.fs, a, FS_SET_SIZE, &st, &st), -EINVAL);
	assert_int_equal(fs_setxattr(w.fs, a, "trusted.x", "", 0, 0),
	                 -EOPNOTSUPP);
	fixture_crash(&w);
	assert_int_equal(attr(&w, a).st_uid, 7);
	assert_int_equal(attr(&w, a).st_gid, 8);
	assert_int_equal(attr(&w, a).st_mtim.tv_nsec, 10);
	assert_int_equal(fs_rmdir(w.fs, NODE_ROOT, "current"), -ENOTDIR);
	assert_int_equal(fs_unlink(w.fs, NODE_ROOT, "current"), 0);
	expect_target("current", NOTHING, "");
	assert_int_equal(fs_readlink(w.fs, a, buffer), -ESTALE);
	assert_int_equal(fs_unlink(w.fs, NODE_ROOT, "current"), -ENOENT);
	make(&w, NODE_ROOT, "current", S_IFDIR);
	assert_int_equal(point("current", "x", &b), -EEXIST);
}

static void test_rename_of_symlinks(void **state)
{
	struct state *fork;
	node_t a, b;

	make(&w, NODE_ROOT, "fork", S_IFDIR);
	assert_int_equal(point("a", "to-a", &a), 0);
	assert_int_equal(point("b", "to-b", &b), 0);
	assert_int_equal(move(NODE_ROOT, "a", NODE_ROOT, "b", RENAME_NOREPLACE),
	                 -EEXIST);
	assert_int_equal(move(NODE_ROOT, "a", NODE_ROOT, "b", RENAME_EXCHANGE),
	                 0);
	expect_target("a", b, "to-b");
	expect_target("b", a, "to-a");
	assert_int_equal(move(NODE_ROOT, "a", NODE_ROOT, "a", 0), 0);
	assert_int_equal(move(NODE_ROOT, "a", NODE_ROOT, "c", RENAME_NOREPLACE),
	                 0);
	assert_int_equal(move(NODE_ROOT, "c", NODE_ROOT, "d", RENAME_EXCHANGE),
	                 -ENOENT);
	/* Replace a symlink in one step, as ln -sfn does. */
	assert_int_equal(move(NODE_ROOT, "c", NODE_ROOT, "b", 0), 0);
	expect_target("b", b, "to-b");
	expect_target("c", NOTHING, "");
	expect_target("a", NOTHING, "");
	assert_int_equal(fs_getattr(w.fs, a, &(struct stat){0}), -ESTALE);
	/* Neither takes the place of the other. */
	assert_int_equal(move(NODE_ROOT, "b", NODE_ROOT, "fork", 0), -EISDIR);
	assert_int_equal(
	        move(NODE_ROOT, "b", NODE_ROOT, "fork", RENAME_NOREPLACE),
	        -EEXIST);
	assert_int_equal(
	        move(NODE_ROOT, "b", NODE_ROOT, "fork", RENAME_EXCHANGE),
	        -EINVAL);
	assert_int_equal(move(NODE_ROOT, "fork", NODE_ROOT, "b", 0), -ENOTDIR);
	assert_int_equal(
	        move(NODE_ROOT, "fork", NODE_ROOT, "b", RENAME_NOREPLACE),
	        -EEXIST);
	assert_int_equal(
	        move(NODE_ROOT, "fork", NODE_ROOT, "b", RENAME_EXCHANGE),
	        -EINVAL);
	store_lock(w.store);
	assert_int_equal(state_find(w.forest, 0, "fork", &fork), 0);
	assert_int_equal(state_rename(w.forest, fork, "b"), -EEXIST);
	store_unlock(w.store);
	/* mv copies it, there and back. */
	assert_int_equal(move(NODE_ROOT, "b", w.main, "b", 0), -EXDEV);
	assert_int_equal(move(NODE_ROOT, "b", NODE_ROOT, ".b", 0), -EINVAL);
	assert_int_equal(move(NODE_ROOT, "b", NODE_ROOT, "main~x", 0), -EINVAL);
	assert_int_equal(fs_make(w.fs, w.main, "link", S_IFLNK | 0777, 0, "x",
	                         &fixture_cred, &(struct fs_entry){0}),
	                 0);
	assert_int_equal(move(w.main, "link", NODE_ROOT, "link", 0), -EXDEV);
	fixture_reopen(&w);
	expect_target("b", b, "to-b");
}

static void test_list_symlinks(void **state)
{
	enum { LINKS = 2500 };
	static struct listed all[LINKS + 10], part[7];
	unsigned seen = 0, forks = 0;
	size_t n;
	off_t at = 0;

	for (int i = 0; i < LINKS; i++) {
		char name[32];
		node_t node;

		snprintf(name, sizeof(name), "l%d", i);
		assert_int_equal(point(name, "main", &node), 0);
	}
	make(&w, NODE_ROOT, "fork", S_IFDIR);
	for (int plus = 0; plus < 2; plus++) {
		n = list_dir(NODE_ROOT, 0, plus, SNAPDIR_HIDDEN, all,
		             LINKS + 10);
		assert_int_equal(n, LINKS + 4);
		for (size_t i = 2; i < n; i++) {
			assert_int_equal(all[i].type, all[i].name[0] == 'l'
			                                      ? DT_LNK
			                                      : DT_DIR);
			assert_int_equal(look(&w, NODE_ROOT, all[i].name),
			                 all[i].node);
		}
	}
	while ((n = list_dir(NODE_ROOT, at, false, SNAPDIR_HIDDEN, part, 7))) {
		for (size_t i = 0; i < n; i++) {
			forks += part[i].type == DT_DIR;
			if (part[i].type != DT_LNK)
				continue;
			assert_int_equal(
			        fs_unlink(w.fs, NODE_ROOT, part[i].name), 0);
			seen++;
		}
		at = part[n - 1].cookie;
	}
	assert_int_equal(seen, LINKS);
	assert_int_equal(forks, 4);
}

static void test_snapdir_disabled(void **state)
{
	struct fs_entry e;

	make(&w, snapdir(w.main), "s", S_IFDIR);
	assert_int_equal(fs_lookup(w.fs, w.main, ".snap", SNAPDIR_DISABLED, &e),
	                 -ENOENT);
	assert_int_equal(
	        fs_lookup(w.fs, snapdir(w.main), "s", SNAPDIR_DISABLED, &e),
	        -ENOENT);
}

/* ---- statfs ------------------------------------------------------------- */

static void test_statfs(void **state)
{
	enum { LEN = 10 << 20 };
	node_t file = make(&w, w.main, "file", S_IFREG | 0600);
	struct statvfs before, after;
	uint8_t *data = malloc(LEN);
	uint64_t seed = 1;

	for (size_t i = 0; i < LEN; i++)
		data[i] = (uint8_t)scratch_random(&seed);
	assert_int_equal(fs_statfs(w.fs, NODE_STATE(w.main), &before), 0);
	assert_int_equal(before.f_namemax, 255);
	assert_int_equal(before.f_files - before.f_ffree, 2);
	put(&w, file, 0, data, LEN);
	assert_int_equal(store_sync(w.store), 0);
	assert_int_equal(fs_statfs(w.fs, NODE_STATE(w.main), &after), 0);
	assert_int_equal((after.f_blocks - after.f_bfree) -
	                         (before.f_blocks - before.f_bfree),
	                 LEN / 4096);
	assert_int_equal(fs_statfs(w.fs, 0, &after), 0);
	assert_true((after.f_blocks - after.f_bfree) * after.f_frsize >= LEN);
	assert_true(after.f_bavail > 0);
	assert_int_equal(fs_statfs(w.fs, 999, &after), -ESTALE);
	free(data);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	        T(test_forks),
	        T(test_new_trees),
	        T(test_snapshots),
	        T(test_tilde),
	        T(test_rmdir_of_forks),
	        T(test_rename_of_states),
	        T(test_root_attributes),
	        T(test_readdir),
	        T(test_list_states),
	        T(test_snapdir_disabled),
	        T(test_statfs),
	        T(test_symlinks),
	        T(test_rename_of_symlinks),
	        T(test_list_symlinks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
