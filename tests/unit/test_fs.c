/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names, attributes, xattrs and ACLs, without a mount. */
#include "fs_fixture.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <sys/xattr.h>

#include "xattr.h"

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

static bool later(struct timespec a, struct timespec b)
{
	return a.tv_sec > b.tv_sec ||
	       (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

/* ---- Names -------------------------------------------------------------- */

static void test_names(void **state)
{
	char longest[NAME_LEN_MAX + 2];
	node_t dir = make(&w, w.main, "dir", S_IFDIR | 0777);
	node_t file = make(&w, dir, "file", S_IFREG | 0666);
	struct stat st = attr(&w, file), root = attr(&w, w.main);

	assert_int_equal(st.st_mode, S_IFREG | 0644);
	assert_int_equal(st.st_uid, 1000);
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(attr(&w, dir).st_nlink, 2);
	assert_int_equal(attr(&w, dir).st_mode, S_IFDIR | 0755);
	assert_int_equal(root.st_nlink, 3);
	assert_int_equal(look(&w, dir, "file"), file);
	assert_int_equal(look(&w, dir, "."), dir);
	assert_int_equal(look(&w, dir, ".."), w.main);
	assert_int_equal(look(&w, w.main, ".."), NODE_ROOT);
	assert_int_equal(look(&w, NODE_ROOT, ".."), NODE_ROOT);
	assert_int_equal(look(&w, NODE_ROOT, "main"), w.main);
	assert_int_equal(look_error(&w, file, "x"), -ENOTDIR);
	assert_int_equal(look_error(&w, dir, "x"), -ENOENT);
	memset(longest, 'n', sizeof(longest));
	longest[NAME_LEN_MAX + 1] = 0;
	assert_int_equal(look_error(&w, dir, longest), -ENAMETOOLONG);
	assert_int_equal(try_make(&w, dir, longest, S_IFREG), -ENAMETOOLONG);
	longest[NAME_LEN_MAX] = 0;
	make(&w, dir, longest, S_IFREG);
	assert_int_equal(try_make(&w, dir, longest, S_IFREG), -EEXIST);
	assert_int_equal(try_make(&w, dir, "file", S_IFDIR), -EEXIST);
	assert_int_equal(fs_rmdir(w.fs, w.main, "dir"), -ENOTEMPTY);
	assert_int_equal(fs_rmdir(w.fs, dir, "file"), -ENOTDIR);
	assert_int_equal(fs_unlink(w.fs, w.main, "dir"), -EISDIR);
	assert_int_equal(fs_unlink(w.fs, dir, "none"), -ENOENT);
	assert_int_equal(fs_unlink(w.fs, dir, "file"), 0);
	assert_int_equal(fs_unlink(w.fs, dir, longest), 0);
	assert_int_equal(fs_getattr(w.fs, file, &st), -ESTALE);
	assert_int_equal(fs_rmdir(w.fs, w.main, "dir"), 0);
	assert_int_equal(attr(&w, w.main).st_nlink, 2);
	assert_int_equal(try_make(&w, dir, "file", S_IFREG), -ENOENT);
}

/* A directory that is removed while it is open. */
static void test_removed_directory(void **state)
{
	node_t dir = make(&w, w.main, "dir", S_IFDIR | 0777);

	assert_int_equal(fs_open(w.fs, dir, O_RDONLY), 0);
	assert_int_equal(fs_rmdir(w.fs, w.main, "dir"), 0);
	assert_int_equal(attr(&w, dir).st_nlink, 0);
	assert_int_equal(try_make(&w, dir, "file", S_IFREG), -ENOENT);
	assert_int_equal(look_error(&w, dir, "file"), -ENOENT);
	fixture_check(&w);
	fs_release(w.fs, dir);
	assert_int_equal(count_orphans(&w, NODE_STATE(w.main)), 0);
}

static void test_kinds(void **state)
{
	char target[PATH_MAX], back[PATH_MAX];
	struct fs_entry e;
	node_t node;

	assert_int_equal(fs_make(w.fs, w.main, "dev", S_IFCHR | 0666, 0x1234,
	                         NULL, &fixture_cred, &e),
	                 0);
	assert_int_equal(attr(&w, e.node).st_rdev, 0x1234);
	make(&w, w.main, "fifo", S_IFIFO | 0600);
	node = make(&w, w.main, "sock", S_IFSOCK | 0600);
	assert_int_equal(resize(&w, node, 0), -EINVAL);
	for (size_t len = 1; len < PATH_MAX; len = len * 3 + 1) {
		memset(target, 'a' + (int)(len % 26), len);
		target[len] = 0;
		assert_int_equal(fs_make(w.fs, w.main, "link", S_IFLNK | 0777,
		                         0, target, &fixture_cred, &e),
		                 0);
		assert_int_equal(e.st.st_size, len);
		assert_int_equal(fs_readlink(w.fs, e.node, back), 0);
		assert_string_equal(back, target);
		fixture_reopen(&w);
		assert_int_equal(fs_readlink(w.fs, e.node, back), 0);
		assert_string_equal(back, target);
		assert_int_equal(fs_unlink(w.fs, w.main, "link"), 0);
	}
	assert_int_equal(fs_make(w.fs, w.main, "link", S_IFLNK | 0777, 0, "",
	                         &fixture_cred, &e),
	                 -ENOENT);
	assert_int_equal(fs_readlink(w.fs, node, back), -EINVAL);
}

static void test_links(void **state)
{
	enum { LINKS = 66000 };
	node_t file = make(&w, w.main, "file", S_IFREG | 0600);
	node_t dir = make(&w, w.main, "dir", S_IFDIR | 0700);
	struct stat before;
	struct fs_entry e;
	char name[32];

	put_text(&w, file, 0, "once");
	assert_int_equal(fs_link(w.fs, dir, w.main, "no", &e), -EPERM);
	assert_int_equal(fs_link(w.fs, file, dir, "file", &e), 0);
	assert_int_equal(fs_link(w.fs, file, dir, "file", &e), -EEXIST);
	assert_int_equal(e.node, file);
	for (int i = 2; i < LINKS; i++) {
		snprintf(name, sizeof(name), "link%d", i);
		assert_int_equal(fs_link(w.fs, file, dir, name, &e), 0);
	}
	assert_int_equal(attr(&w, file).st_nlink, LINKS);
	before = attr(&w, file);
	assert_int_equal(fs_unlink(w.fs, w.main, "file"), 0);
	assert_true(later(attr(&w, file).st_ctim, before.st_ctim));
	for (int i = 2; i < LINKS; i++) {
		snprintf(name, sizeof(name), "link%d", i);
		assert_int_equal(fs_unlink(w.fs, dir, name), 0);
	}
	expect_text(&w, file, "once");
	assert_int_equal(attr(&w, file).st_nlink, 1);
}

/* ---- Rename ------------------------------------------------------------- */

static int rename_in(node_t from, const char *name, node_t to,
                     const char *new_name, unsigned flags)
{
	return fs_rename(w.fs, from, name, to, new_name, flags, &fixture_cred);
}

static void test_rename_rules(void **state)
{
	node_t a = make(&w, w.main, "a", S_IFDIR | 0700);
	node_t b = make(&w, a, "b", S_IFDIR | 0700);
	node_t c = make(&w, b, "c", S_IFDIR | 0700);
	node_t f = make(&w, a, "f", S_IFREG | 0600);
	node_t g = make(&w, w.main, "g", S_IFREG | 0600);
	struct fs_entry e;

	assert_int_equal(rename_in(w.main, "a", c, "x", 0), -EINVAL);
	assert_int_equal(rename_in(w.main, "a", a, "x", 0), -EINVAL);
	assert_int_equal(rename_in(w.main, "a", c, "x", 0), -EINVAL);
	assert_int_equal(rename_in(w.main, "no", a, "x", 0), -ENOENT);
	assert_int_equal(rename_in(w.main, "g", w.main, "a", 0), -EISDIR);
	assert_int_equal(rename_in(w.main, "a", w.main, "g", 0), -ENOTDIR);
	assert_int_equal(rename_in(b, "c", w.main, "a", 0), -ENOTEMPTY);
	assert_int_equal(rename_in(w.main, "g", a, "f", RENAME_NOREPLACE),
	                 -EEXIST);
	assert_int_equal(rename_in(w.main, "g", a, "x", RENAME_EXCHANGE),
	                 -ENOENT);
	assert_int_equal(rename_in(w.main, "g", a, "x",
	                           RENAME_EXCHANGE | RENAME_NOREPLACE),
	                 -EINVAL);
	assert_int_equal(rename_in(w.main, "a", b, "c", RENAME_EXCHANGE),
	                 -EINVAL);
	assert_int_equal(rename_in(b, "c", w.main, "a", RENAME_EXCHANGE),
	                 -EINVAL);
	/* Two names of one file: nothing happens. */
	assert_int_equal(fs_link(w.fs, g, a, "g2", &e), 0);
	assert_int_equal(rename_in(w.main, "g", a, "g2", 0), 0);
	assert_int_equal(look(&w, w.main, "g"), g);
	assert_int_equal(fs_unlink(w.fs, a, "g2"), 0);
	/* Over a file; over an empty directory; up and down. */
	assert_int_equal(rename_in(w.main, "g", a, "f", 0), 0);
	assert_int_equal(look(&w, a, "f"), g);
	assert_int_equal(fs_getattr(w.fs, f, &e.st), -ESTALE);
	make(&w, w.main, "empty", S_IFDIR | 0700);
	assert_int_equal(rename_in(a, "b", w.main, "empty", 0), 0);
	assert_int_equal(attr(&w, a).st_nlink, 2);
	assert_int_equal(attr(&w, w.main).st_nlink, 4);
	assert_int_equal(look(&w, b, ".."), w.main);
	fixture_check(&w);
	assert_int_equal(rename_in(a, "f", w.main, "empty", RENAME_EXCHANGE),
	                 0);
	assert_int_equal(look(&w, a, "f"), b);
	assert_int_equal(look(&w, w.main, "empty"), g);
	assert_int_equal(look(&w, b, ".."), a);
	assert_int_equal(attr(&w, a).st_nlink, 3);
	assert_int_equal(
	        rename_in(w.main, "empty", w.main, "g", RENAME_NOREPLACE), 0);
	fixture_check(&w);
}

/* ---- Attributes --------------------------------------------------------- */

static void test_times(void **state)
{
	struct stat st = {0}, dir, now;
	node_t file = make(&w, w.main, "file", S_IFREG | 0600);
	static const int64_t seconds[] = {INT64_MIN, -1,         0,
	                                  1,         5000000000, INT64_MAX};

	for (size_t i = 0; i < ARRAY_SIZE(seconds); i++) {
		st.st_atim = (struct timespec){seconds[i], 999999999};
		st.st_mtim = (struct timespec){seconds[i], 1};
		assert_int_equal(fs_setattr(w.fs, file,
		                            FS_SET_ATIME | FS_SET_MTIME, &st,
		                            &now),
		                 0);
		fixture_reopen(&w);
		now = attr(&w, file);
		assert_int_equal(now.st_atim.tv_sec, seconds[i]);
		assert_int_equal(now.st_mtim.tv_sec, seconds[i]);
		assert_int_equal(now.st_atim.tv_nsec, 999999999);
		assert_int_equal(now.st_mtim.tv_nsec, 1);
	}
	st = attr(&w, file);
	put_text(&w, file, 0, "x");
	now = attr(&w, file);
	assert_true(later(now.st_ctim, st.st_ctim));
	assert_int_equal(now.st_mtim.tv_sec, now.st_ctim.tv_sec);
	assert_int_equal(now.st_atim.tv_sec, st.st_atim.tv_sec);
	dir = attr(&w, w.main);
	assert_int_equal(chmod_to(&w, file, 0640), 0);
	assert_false(later(attr(&w, w.main).st_mtim, dir.st_mtim));
	assert_int_equal(attr(&w, file).st_mtim.tv_nsec, now.st_mtim.tv_nsec);
	assert_true(later(attr(&w, file).st_ctim, now.st_ctim));
	make(&w, w.main, "other", S_IFREG | 0600);
	assert_true(later(attr(&w, w.main).st_mtim, dir.st_mtim));
	dir = attr(&w, w.main);
	now = attr(&w, file);
	assert_int_equal(rename_in(w.main, "file", w.main, "other", 0), 0);
	assert_true(later(attr(&w, w.main).st_mtim, dir.st_mtim));
	assert_true(later(attr(&w, file).st_ctim, now.st_ctim));
	assert_int_equal(attr(&w, file).st_mtim.tv_nsec, now.st_mtim.tv_nsec);
}

static void test_setgid_directory(void **state)
{
	struct stat st = {.st_gid = 77};
	node_t dir = make(&w, w.main, "dir", S_IFDIR | 0777), sub;

	assert_int_equal(fs_setattr(w.fs, dir, FS_SET_GID, &st, &st), 0);
	assert_int_equal(chmod_to(&w, dir, 03777), 0);
	sub = make(&w, dir, "sub", S_IFDIR | 0777);
	assert_int_equal(attr(&w, sub).st_gid, 77);
	assert_int_equal(attr(&w, sub).st_mode, S_IFDIR | 02755);
	sub = make(&w, dir, "file", S_IFREG | 0666);
	assert_int_equal(attr(&w, sub).st_gid, 77);
	assert_int_equal(attr(&w, sub).st_mode, S_IFREG | 0644);
}

static void test_privileges(void **state)
{
	node_t file = make(&w, w.main, "file", S_IFREG | 0755);
	struct stat st = {.st_uid = 7, .st_size = 1};

#define CAP(expected)                                                          \
	assert_int_equal(fs_getxattr(w.fs, file, XATTR_CAPABILITY, NULL, 0),   \
	                 expected)
#define ARM(mode)                                                              \
	assert_int_equal(chmod_to(&w, file, mode), 0);                         \
	assert_int_equal(                                                      \
	        fs_setxattr(w.fs, file, XATTR_CAPABILITY, "cap", 3, 0), 0)

	ARM(06755);
	CAP(3);
	put_text(&w, file, 0, "root writes");
	assert_int_equal(attr(&w, file).st_mode & 07777, 06755);
	CAP(-ENODATA);
	ARM(06755);
	assert_int_equal(fs_write(w.fs, file, 0, "x", 1, FS_WRITE_KILL_PRIV),
	                 0);
	assert_int_equal(attr(&w, file).st_mode & 07777, 0755);
	CAP(-ENODATA);
	ARM(06745);
	assert_int_equal(fs_setattr(w.fs, file, FS_SET_UID, &st, &st), 0);
	/* No right to execute for the group: not a privilege. */
	assert_int_equal(st.st_mode & 07777, 02745);
	CAP(-ENODATA);
	ARM(06755);
	st.st_size = 1;
	assert_int_equal(fs_setattr(w.fs, file, FS_SET_SIZE, &st, &st), 0);
	assert_int_equal(st.st_mode & 07777, 06755);
	CAP(-ENODATA);
	ARM(06755);
	st.st_size = 0;
	assert_int_equal(fs_setattr(w.fs, file, FS_SET_SIZE | FS_SET_KILL_PRIV,
	                            &st, &st),
	                 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	CAP(-ENODATA);
#undef ARM
#undef CAP
}

/* ---- Xattrs ------------------------------------------------------------- */

static int set_xattr(node_t node, const char *name, size_t len, int flags)
{
	static uint8_t value[XATTR_VALUE_MAX + 1];

	memset(value, name[strlen(name) - 1] + (int)len, sizeof(value));
	return fs_setxattr(w.fs, node, name, value, len, flags);
}

static void expect_xattr(node_t node, const char *name, size_t len)
{
	static uint8_t value[XATTR_VALUE_MAX + 1], wanted[XATTR_VALUE_MAX];

	memset(wanted, name[strlen(name) - 1] + (int)len, sizeof(wanted));
	assert_int_equal(fs_getxattr(w.fs, node, name, value, sizeof(value)),
	                 len);
	assert_memory_equal(value, wanted, len);
	assert_int_equal(fs_getxattr(w.fs, node, name, NULL, 0), len);
	if (len > 1)
		assert_int_equal(fs_getxattr(w.fs, node, name, value, len - 1),
		                 -ERANGE);
}

static void test_xattrs(void **state)
{
	static const size_t sizes[] = {0,
	                               1,
	                               XATTR_INLINE_MAX,
	                               XATTR_INLINE_MAX + 1,
	                               4096,
	                               XATTR_VALUE_MAX};
	node_t file = make(&w, w.main, "file", S_IFREG | 0644);
	char name[NAME_LEN_MAX + 2] = "user.", list[8192];

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			snprintf(name, sizeof(name), "user.%zu", i);
			assert_int_equal(set_xattr(file, name, sizes[i], 0), 0);
		}
		fixture_reopen(&w);
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			snprintf(name, sizeof(name), "user.%zu", i);
			expect_xattr(file, name, sizes[i]);
		}
	}
	assert_int_equal(set_xattr(file, "user.0", 0, XATTR_CREATE), -EEXIST);
	assert_int_equal(set_xattr(file, "user.x", 0, XATTR_REPLACE), -ENODATA);
	assert_int_equal(set_xattr(file, "user.x", XATTR_VALUE_MAX + 1, 0),
	                 -E2BIG);
	assert_int_equal(fs_removexattr(w.fs, file, "user.x"), -ENODATA);
	assert_int_equal(set_xattr(file, "user.", 1, 0), -EINVAL);
	assert_int_equal(set_xattr(file, "system.x", 1, 0), -EOPNOTSUPP);
	assert_int_equal(set_xattr(file, "other.x", 1, 0), -EOPNOTSUPP);
	assert_int_equal(set_xattr(file, "trusted.x", 1, 0), 0);
	assert_int_equal(set_xattr(file, "security.x", 1, 0), 0);
	memset(name, 'n', sizeof(name));
	memcpy(name, "user.", 5);
	name[NAME_LEN_MAX + 1] = 0;
	assert_int_equal(set_xattr(file, name, 1, 0), -ERANGE);
	name[NAME_LEN_MAX] = 0;
	assert_int_equal(set_xattr(file, name, XATTR_INLINE_MAX, 0), 0);
	expect_xattr(file, name, XATTR_INLINE_MAX);
	assert_int_equal(fs_listxattr(w.fs, file, true, NULL, 0),
	                 6 * 7 + 10 + 11 + 256);
	assert_int_equal(fs_listxattr(w.fs, file, true, list, 100), -ERANGE);
	assert_int_equal(fs_listxattr(w.fs, file, true, list, sizeof(list)),
	                 6 * 7 + 10 + 11 + 256);
	fixture_check(&w);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		snprintf(name, sizeof(name), "user.%zu", i);
		assert_int_equal(fs_removexattr(w.fs, file, name), 0);
	}
	assert_int_equal(fs_listxattr(w.fs, file, true, NULL, 0),
	                 10 + 11 + 256);
}

static void test_virtual_xattrs(void **state)
{
	node_t file = make(&w, w.main, "file", S_IFREG | 0644);
	char value[1024] = {0};

#define VALUE(node, name, text)                                                \
	memset(value, 0, sizeof(value));                                       \
	assert_int_equal(fs_getxattr(w.fs, node, "user.coppice." name, value,  \
	                             sizeof(value)),                           \
	                 strlen(text));                                        \
	assert_string_equal(value, text)

	VALUE(w.main, "state", "main");
	VALUE(w.main, "fork", "main");
	VALUE(w.main, "readonly", "0");
	VALUE(file, "state", "main");
	VALUE(NODE_ROOT, "store", w.scratch.store);
#undef VALUE
	assert_int_equal(fs_getxattr(w.fs, file, "user.coppice.fork", value,
	                             sizeof(value)),
	                 -ENODATA);
	assert_true(fs_getxattr(w.fs, w.main, "user.coppice.created", value,
	                        sizeof(value)) > 0);
	assert_int_equal(
	        fs_setxattr(w.fs, w.main, "user.coppice.state", "x", 1, 0),
	        -EPERM);
	assert_int_equal(fs_removexattr(w.fs, w.main, "user.coppice.state"),
	                 -EPERM);
	assert_int_equal(fs_listxattr(w.fs, w.main, true, NULL, 0), 0);
}

/* ---- ACLs --------------------------------------------------------------- */

#define ACL_HEAD 2, 0, 0, 0
#define ACL_ENTRY(tag, perm, id) tag, 0, perm, 0, id, 0, 0, 0
#define ACL_OBJ(tag, perm) tag, 0, perm, 0, 0xff, 0xff, 0xff, 0xff

static uint8_t acl_perm(node_t node, const char *name, unsigned tag)
{
	uint8_t acl[256];
	ssize_t len = fs_getxattr(w.fs, node, name, acl, sizeof(acl));

	assert_true(len > 4);
	for (ssize_t i = 4; i < len; i += 8)
		if (acl[i] == tag)
			return acl[i + 2];
	fail();
	return 0;
}

static void test_acls(void **state)
{
	static const uint8_t full[] = {ACL_HEAD,           ACL_OBJ(1, 7),
	                               ACL_ENTRY(2, 6, 9), ACL_OBJ(4, 5),
	                               ACL_OBJ(16, 6),     ACL_OBJ(32, 1)};
	static const uint8_t plain[] = {ACL_HEAD, ACL_OBJ(1, 6), ACL_OBJ(4, 4),
	                                ACL_OBJ(32, 0)};
	static const uint8_t bad[] = {ACL_HEAD, ACL_OBJ(4, 6), ACL_OBJ(1, 4),
	                              ACL_OBJ(32, 0)};
	node_t dir = make(&w, w.main, "dir", S_IFDIR | 0755), sub;
	node_t file = make(&w, w.main, "file", S_IFREG | 0644);

	assert_int_equal(
	        fs_setxattr(w.fs, file, XATTR_ACL_ACCESS, bad, sizeof(bad), 0),
	        -EINVAL);
	assert_int_equal(fs_setxattr(w.fs, file, XATTR_ACL_DEFAULT, full,
	                             sizeof(full), 0),
	                 -EACCES);
	assert_int_equal(fs_setxattr(w.fs, file, XATTR_ACL_ACCESS, full,
	                             sizeof(full), 0),
	                 0);
	assert_int_equal(attr(&w, file).st_mode, S_IFREG | 0761);
	assert_int_equal(chmod_to(&w, file, 0640), 0);
	assert_int_equal(acl_perm(file, XATTR_ACL_ACCESS, 1), 6);
	assert_int_equal(acl_perm(file, XATTR_ACL_ACCESS, 4), 5);
	assert_int_equal(acl_perm(file, XATTR_ACL_ACCESS, 16), 4);
	assert_int_equal(acl_perm(file, XATTR_ACL_ACCESS, 32), 0);
	/* An ACL that adds nothing to the mode is not kept. */
	assert_int_equal(fs_setxattr(w.fs, file, XATTR_ACL_ACCESS, plain,
	                             sizeof(plain), 0),
	                 0);
	assert_int_equal(fs_getxattr(w.fs, file, XATTR_ACL_ACCESS, NULL, 0),
	                 -ENODATA);
	assert_int_equal(attr(&w, file).st_mode, S_IFREG | 0640);
	/* The default ACL decides, not the umask. */
	assert_int_equal(fs_setxattr(w.fs, dir, XATTR_ACL_DEFAULT, full,
	                             sizeof(full), 0),
	                 0);
	assert_int_equal(attr(&w, dir).st_mode, S_IFDIR | 0755);
	file = make(&w, dir, "file", S_IFREG | 0666);
	assert_int_equal(attr(&w, file).st_mode, S_IFREG | 0660);
	assert_int_equal(acl_perm(file, XATTR_ACL_ACCESS, 2), 6);
	assert_int_equal(acl_perm(file, XATTR_ACL_ACCESS, 16), 6);
	assert_int_equal(fs_getxattr(w.fs, file, XATTR_ACL_DEFAULT, NULL, 0),
	                 -ENODATA);
	sub = make(&w, dir, "sub", S_IFDIR | 0777);
	assert_int_equal(attr(&w, sub).st_mode, S_IFDIR | 0761);
	assert_int_equal(acl_perm(sub, XATTR_ACL_DEFAULT, 16), 6);
	assert_int_equal(fs_setxattr(w.fs, dir, XATTR_ACL_DEFAULT, full, 4, 0),
	                 0);
	file = make(&w, dir, "file2", S_IFREG | 0666);
	assert_int_equal(attr(&w, file).st_mode, S_IFREG | 0644);
	assert_int_equal(fs_removexattr(w.fs, dir, XATTR_ACL_DEFAULT), 0);
	assert_int_equal(fs_removexattr(w.fs, file, XATTR_ACL_ACCESS), 0);
	assert_int_equal(fs_removexattr(w.fs, file, XATTR_ACL_DEFAULT), 0);
}

/* An ACL too long for the item, which has to be read from disk. */
static void test_long_acl(void **state)
{
	enum { USERS = 200 };
	node_t dir = make(&w, w.main, "dir", S_IFDIR | 0755), file;
	uint8_t acl[4 + 8 * (USERS + 4)] = {ACL_HEAD, ACL_OBJ(1, 7)};
	static const uint8_t rest[] = {ACL_OBJ(4, 5), ACL_OBJ(16, 7),
	                               ACL_OBJ(32, 5)};

	for (int i = 0; i < USERS; i++) {
		acl[12 + 8 * i] = 2;
		acl[14 + 8 * i] = 7;
		acl[16 + 8 * i] = (uint8_t)i;
	}
	memcpy(acl + 12 + 8 * USERS, rest, sizeof(rest));
	assert_int_equal(
	        fs_setxattr(w.fs, dir, XATTR_ACL_DEFAULT, acl, sizeof(acl), 0),
	        0);
	fixture_reopen(&w);
	file = make(&w, dir, "file", S_IFREG | 0640);
	assert_int_equal(fs_getxattr(w.fs, file, XATTR_ACL_ACCESS, NULL, 0),
	                 sizeof(acl));
	assert_int_equal(attr(&w, file).st_mode, S_IFREG | 0640);
	fixture_reopen(&w);
	assert_int_equal(chmod_to(&w, file, 0600), 0);
	assert_int_equal(attr(&w, file).st_mode, S_IFREG | 0600);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	        T(test_names),
	        T(test_removed_directory),
	        T(test_kinds),
	        T(test_links),
	        T(test_rename_rules),
	        T(test_times),
	        T(test_setgid_directory),
	        T(test_privileges),
	        T(test_xattrs),
	        T(test_virtual_xattrs),
	        T(test_acls),
	        T(test_long_acl),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
