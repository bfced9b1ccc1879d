/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests as the kernel sends them, and as it would never send them. */
#include "kernel.h"

#include <linux/limits.h>
#include <sys/socket.h>

#include "control.h"

static struct fixture w;
static struct kernel k;

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

/* ---- Nodes that a session does not reach -------------------------------- */

enum { OPCODES_END = 128 };

static bool ends_something(uint32_t opcode)
{
	return opcode == FUSE_INIT || opcode == FUSE_DESTROY ||
	       opcode == FUSE_INTERRUPT || opcode == FUSE_FORGET ||
	       opcode == FUSE_BATCH_FORGET || opcode == FUSE_RELEASE ||
	       opcode == FUSE_RELEASEDIR || opcode == FUSE_NOTIFY_REPLY;
}

/* A request about two nodes, for each of which the other may be foreign. */
static int ask_two(uint32_t opcode, uint64_t first, uint64_t second)
{
	struct {
		union {
			struct fuse_link_in link;
			struct fuse_rename_in rename;
			struct fuse_rename2_in rename2;
			struct fuse_copy_file_range_in copy;
		} in;
		char names[16];
	} arg;
	size_t len = 0;

	memset(&arg, 0, sizeof(arg));
	switch (opcode) {
	case FUSE_LINK:
		arg.in.link.oldnodeid = second;
		len = sizeof(arg.in.link);
		break;
	case FUSE_RENAME:
		arg.in.rename.newdir = second;
		len = sizeof(arg.in.rename);
		break;
	case FUSE_RENAME2:
		arg.in.rename2.newdir = second;
		len = sizeof(arg.in.rename2);
		break;
	default:
		arg.in.copy.nodeid_out = second;
		len = sizeof(arg.in.copy);
		break;
	}
	memcpy((char *)&arg + len, "a\0b\0", 4);
	return kernel_ask(&k, opcode, first, &arg, len + 4);
}

/* No request about the node gets further than to its number. */
static void expect_unreached(uint64_t node, uint64_t own)
{
	static const uint32_t twos[] = {FUSE_LINK, FUSE_RENAME, FUSE_RENAME2,
	                                FUSE_COPY_FILE_RANGE};
	char arg[256] = "";

	for (uint32_t opcode = 1; opcode < OPCODES_END; opcode++) {
		if (!ends_something(opcode))
			assert_int_equal(
			        kernel_ask(&k, opcode, node, arg, sizeof(arg)),
			        -ESTALE);
	}
	for (size_t i = 0; i < ARRAY_SIZE(twos); i++) {
		assert_int_equal(ask_two(twos[i], node, own), -ESTALE);
		assert_int_equal(ask_two(twos[i], own, node), -ESTALE);
		assert_int_not_equal(ask_two(twos[i], own, own), -ESTALE);
	}
}

static int get_attr(uint64_t node)
{
	struct fuse_getattr_in in = {0};

	return kernel_ask(&k, FUSE_GETATTR, node, &in, sizeof(in));
}

static int look_up(uint64_t parent, const char *name)
{
	return kernel_ask(&k, FUSE_LOOKUP, parent, name, strlen(name) + 1);
}

static uint64_t looked_up(void)
{
	struct fuse_entry_out out;

	assert_true(k.len >= sizeof(out));
	memcpy(&out, k.data, sizeof(out));
	return out.nodeid;
}

/* Two forks, each with a snapshot, and a file in all of them. */
struct forks {
	uint64_t jail, jail_snap, other, other_snap, file;
};

static struct forks make_forks(void)
{
	struct forks f;

	f.file = NODE_INO(make(&w, w.main, "file", S_IFREG | 0644));
	put_text(&w, NODE(NODE_STATE(w.main), f.file), 0, "secret");
	f.jail = NODE_STATE(make(&w, NODE_ROOT, "main@jail", S_IFDIR));
	f.other = NODE_STATE(make(&w, NODE_ROOT, "main@other", S_IFDIR));
	f.jail_snap =
	        NODE_STATE(make(&w, NODE(f.jail, INO_SNAPDIR), "a", S_IFDIR));
	f.other_snap =
	        NODE_STATE(make(&w, NODE(f.other, INO_SNAPDIR), "a", S_IFDIR));
	return f;
}

static void expect_jailed(const struct forks *f)
{
	const uint64_t unreached[] = {
	        NODE(f->other, f->file),
	        NODE(f->other, INO_ROOT),
	        NODE(f->other, INO_SNAPDIR),
	        NODE(f->other_snap, f->file),
	        NODE(f->other_snap, INO_ROOT),
	        w.main,
	        NODE(100000, f->file), /* there is no such state */
	        /* A session of one state has plain numbers only. */
	        NODE(f->jail, f->file),
	        NODE(f->jail, INO_ROOT),
	};

	for (size_t i = 0; i < ARRAY_SIZE(unreached); i++)
		expect_unreached(unreached[i], f->file);
	assert_int_equal(get_attr(INO_ROOT), 0);
	assert_int_equal(get_attr(f->file), 0);
	assert_int_equal(look_up(f->file, "."), 0);
	assert_int_equal(looked_up(), f->file);
	assert_int_equal(look_up(INO_ROOT, ".."), -ESTALE);
}

static void test_state_alone_reaches_itself(void **state)
{
	struct forks f = make_forks();

	kernel_mount(&k, &w, f.jail, SNAPDIR_DISABLED);
	expect_jailed(&f);
	expect_unreached(INO_SNAPDIR, f.file);
	expect_unreached(NODE(f.jail_snap, INO_ROOT), f.file);
	expect_unreached(NODE(f.jail_snap, f.file), f.file);
	kernel_umount(&k);
}

static void test_state_alone_reaches_snapshots_it_shows(void **state)
{
	struct forks f = make_forks();

	kernel_mount(&k, &w, f.jail, SNAPDIR_HIDDEN);
	expect_jailed(&f);
	assert_int_equal(look_up(INO_ROOT, ".snap"), 0);
	assert_int_equal(looked_up(), INO_SNAPDIR);
	assert_int_equal(look_up(INO_SNAPDIR, "a"), 0);
	assert_int_equal(looked_up(), NODE(f.jail_snap, INO_ROOT));
	assert_int_equal(look_up(NODE(f.jail_snap, INO_ROOT), "file"), 0);
	assert_int_equal(get_attr(NODE(f.jail_snap, f.file)), 0);
	assert_int_equal(look_up(NODE(f.jail_snap, INO_ROOT), ".."), 0);
	assert_int_equal(looked_up(), INO_SNAPDIR);
	kernel_umount(&k);
}

static void test_snapshot_alone_reaches_itself(void **state)
{
	struct forks f = make_forks();

	kernel_mount(&k, &w, f.jail_snap, SNAPDIR_HIDDEN);
	expect_unreached(NODE(f.jail, f.file), f.file);
	expect_unreached(NODE(f.other_snap, f.file), f.file);
	assert_int_equal(look_up(INO_ROOT, ".."), -ESTALE);
	assert_int_equal(look_up(INO_ROOT, ".snap"), 0);
	assert_int_equal(looked_up(), 0); /* there is none */
	assert_int_equal(get_attr(INO_SNAPDIR), -ESTALE);
	assert_int_equal(get_attr(f.file), 0);
	kernel_umount(&k);
}

static void test_whole_store_without_snapshots(void **state)
{
	struct forks f = make_forks();

	kernel_mount(&k, &w, 0, SNAPDIR_DISABLED);
	expect_unreached(NODE(f.jail_snap, f.file), w.main);
	expect_unreached(NODE(f.jail_snap, INO_ROOT), w.main);
	expect_unreached(NODE(f.jail, INO_SNAPDIR), w.main);
	assert_int_equal(get_attr(NODE(f.jail, f.file)), 0);
	assert_int_equal(get_attr(NODE_ROOT), 0);
	assert_int_equal(look_up(NODE_ROOT, "main@jail~a"), 0);
	assert_int_equal(kernel_ask(&k, FUSE_READLINK, looked_up(), NULL, 0),
	                 0);
	kernel_umount(&k);

	kernel_mount(&k, &w, 0, SNAPDIR_HIDDEN);
	assert_int_equal(get_attr(NODE(f.jail_snap, f.file)), 0);
	assert_int_equal(get_attr(NODE(f.jail, INO_SNAPDIR)), 0);
	kernel_umount(&k);
}

/* overlayfs has such dentries checked, of the files that it finds by handle. */
static void test_lookup_of_a_dentry_without_a_name(void **state)
{
	struct forks f = make_forks();

	kernel_mount(&k, &w, 0, SNAPDIR_HIDDEN);
	assert_int_equal(look_up(NODE(f.jail, f.file), "/"), 0);
	assert_int_equal(looked_up(), NODE(f.jail, f.file));
	assert_int_equal(look_up(NODE(f.jail, f.file), "."), 0);
	assert_int_equal(looked_up(), NODE(f.jail, f.file));
	assert_int_equal(look_up(NODE(f.jail, f.file), "a"), -ENOTDIR);
	kernel_umount(&k);
}

static int get_xattr(uint64_t node, const char *name)
{
	char arg[sizeof(struct fuse_getxattr_in) + XATTR_NAME_MAX + 1] = "";
	struct fuse_getxattr_in in = {.size = 4096};

	memcpy(arg, &in, sizeof(in));
	strcpy(arg + sizeof(in), name);
	return kernel_ask(&k, FUSE_GETXATTR, node, arg,
	                  sizeof(in) + strlen(name) + 1);
}

static void test_state_alone_does_not_tell_of_others(void **state)
{
	struct forks f = make_forks();

	kernel_mount(&k, &w, f.jail, SNAPDIR_HIDDEN);
	assert_int_equal(get_xattr(INO_ROOT, "user.coppice.store"), -ENODATA);
	assert_int_equal(get_xattr(INO_ROOT, "user.coppice.origin"), -ENODATA);
	assert_int_equal(get_xattr(INO_ROOT, "user.coppice.state"), 0);
	assert_int_equal(
	        get_xattr(NODE(f.jail_snap, INO_ROOT), "user.coppice.store"),
	        -ENODATA);
	kernel_umount(&k);

	kernel_mount(&k, &w, 0, SNAPDIR_HIDDEN);
	assert_int_equal(
	        get_xattr(NODE(f.jail, INO_ROOT), "user.coppice.origin"), 0);
	assert_int_equal(get_xattr(NODE_ROOT, "user.coppice.store"), 0);
	kernel_umount(&k);
}

/* ---- Who may do what in .snap ------------------------------------------- */

static uint64_t kept_for(void)
{
	struct fuse_attr_out out;

	assert_true(k.len >= sizeof(out));
	memcpy(&out, k.data, sizeof(out));
	return out.attr_valid;
}

static int set_attr(uint64_t node, uint32_t valid, uint32_t value)
{
	struct fuse_setattr_in in = {.valid = valid, .mode = value};

	in.uid = in.gid = value;
	return kernel_ask(&k, FUSE_SETATTR, node, &in, sizeof(in));
}

static int set_xattr(uint64_t node, const char *name, const void *value,
                     uint32_t size)
{
	char arg[1024] = "";
	const size_t head = 8; /* without FUSE_SETXATTR_EXT */
	size_t len = strlen(name) + 1;

	memcpy(arg, &size, sizeof(size));
	memcpy(arg + head, name, len);
	memcpy(arg + head + len, value, size);
	return kernel_ask(&k, FUSE_SETXATTR, node, arg, head + len + size);
}

#define EXPECT_FORGOTTEN(node, request)                                        \
	k.forgotten = 0;                                                       \
	assert_int_equal(request, 0);                                          \
	assert_int_equal(k.forgotten, node)

static void test_attributes_of_snapdir_are_forgotten(void **state)
{
	static const char acl[] = "system.posix_acl_access";
	const uint8_t value[] = {2,    0,   0, 0, 1,   0,   7,   0,   255, 255,
	                         255,  255, 4, 0, 7,   0,   255, 255, 255, 255,
	                         0x20, 0,   5, 0, 255, 255, 255, 255};
	uint64_t snapdir = NODE(NODE_STATE(w.main), INO_SNAPDIR);
	struct fuse_entry_out entry;

	kernel_mount(&k, &w, 0, SNAPDIR_HIDDEN);
	assert_int_equal(look_up(w.main, ".snap"), 0);
	assert_int_equal(looked_up(), snapdir);
	/* From a lookup they are not kept: nothing could call it back. */
	memcpy(&entry, k.data, sizeof(entry));
	assert_int_equal(entry.attr_valid, 0);
	assert_true(entry.entry_valid > 0);
	assert_int_equal(get_attr(snapdir), 0);
	assert_true(kept_for() > 0);
	EXPECT_FORGOTTEN(snapdir, set_attr(w.main, FATTR_MODE, 0700));
	EXPECT_FORGOTTEN(snapdir, set_attr(w.main, FATTR_UID, 1));
	EXPECT_FORGOTTEN(snapdir, set_attr(w.main, FATTR_GID, 1));
	EXPECT_FORGOTTEN(snapdir, set_xattr(w.main, acl, value, sizeof(value)));
	EXPECT_FORGOTTEN(snapdir, kernel_ask(&k, FUSE_REMOVEXATTR, w.main, acl,
	                                     sizeof(acl)));
	kernel_umount(&k);

	kernel_mount(&k, &w, NODE_STATE(w.main), SNAPDIR_HIDDEN);
	EXPECT_FORGOTTEN(INO_SNAPDIR, set_attr(INO_ROOT, FATTR_MODE, 0755));
	kernel_umount(&k);
}

/* ---- Names of states that come and go over the socket ------------------- */

static void run_verb(const char *request)
{
	const struct fs_cred cred = {0};
	json_t *json = json_loads(request, 0, NULL), *answer = NULL;

	assert_int_equal(control_serve(w.fs, &k.mounts, &cred, json, -1, NULL,
	                               NULL, &answer),
	                 0);
	assert_true(json_is_true(json_object_get(answer, "ok")));
	json_decref(json);
	json_decref(answer);
}

/* The last announcement of the name to the kernel; -1: none. */
static int flags_of_notice(uint64_t parent, const char *name)
{
	struct {
		struct fuse_out_header header;
		uint64_t parent;
		uint32_t len, flags;
		char name[256];
	} notice;
	int flags = -1;

	while (recv(k.fd, &notice, sizeof(notice), MSG_DONTWAIT) > 0) {
		if (notice.header.error == FUSE_NOTIFY_INVAL_ENTRY &&
		    notice.parent == parent && strcmp(notice.name, name) == 0)
			flags = (int)notice.flags;
	}
	return flags;
}

/*
 * A deleted state's name is dropped, not only looked up anew: an earlier answer
 * may be about to give it to the kernel for long.
 */
static void test_names_of_states_over_the_socket(void **state)
{
	enum { DROPPED, EXPIRED };
	uint64_t snapdir = NODE(NODE_STATE(w.main), INO_SNAPDIR);

	kernel_mount(&k, &w, 0, SNAPDIR_HIDDEN);
	assert_int_equal(look_up(w.main, ".snap"), 0);
	run_verb("{\"verb\": \"fork\", \"name\": \"main@a\"}");
	assert_int_equal(flags_of_notice(NODE_ROOT, "main@a"), EXPIRED);
	run_verb("{\"verb\": \"rename\", \"name\": \"main@a\","
	         " \"to\": \"main@a\"}");
	assert_int_equal(flags_of_notice(NODE_ROOT, "main@a"), -1);
	run_verb("{\"verb\": \"rename\", \"name\": \"main@a\","
	         " \"to\": \"main@b\"}");
	assert_int_equal(flags_of_notice(NODE_ROOT, "main@a"), DROPPED);
	run_verb("{\"verb\": \"rm\", \"name\": \"main@b\"}");
	assert_int_equal(flags_of_notice(NODE_ROOT, "main@b"), DROPPED);
	run_verb("{\"verb\": \"snap\", \"fork\": \"main\","
	         " \"name\": \"s\"}");
	assert_int_equal(flags_of_notice(snapdir, "s"), EXPIRED);
	run_verb("{\"verb\": \"rm\", \"name\": \"main~s\"}");
	assert_int_equal(flags_of_notice(snapdir, "s"), DROPPED);
	kernel_umount(&k);
}

/* ---- Who asks ----------------------------------------------------------- */

static size_t list_xattrs(uint32_t uid, pid_t pid)
{
	struct fuse_getxattr_in in = {.size = 100};

	k.uid = uid;
	k.pid = (uint32_t)pid;
	assert_int_equal(
	        kernel_ask(&k, FUSE_LISTXATTR, w.main, &in, sizeof(in)), 0);
	return k.len;
}

/* Also where the kernel leaves it to the daemon to find out. */
static void test_trusted_names_are_listed_for_root(void **state)
{
	const size_t all = sizeof("user.a") + sizeof("trusted.b");
	const uint32_t untold = ~UINT32_C(0);

	assert_int_equal(fs_setxattr(w.fs, w.main, "user.a", "1", 1, 0), 0);
	kernel_mount(&k, &w, 0, SNAPDIR_HIDDEN);
	assert_int_equal(list_xattrs(untold, getpid()), sizeof("user.a"));
	assert_int_equal(fs_setxattr(w.fs, w.main, "trusted.b", "1", 1, 0), 0);
	assert_int_equal(list_xattrs(0, 0), all);
	assert_int_equal(list_xattrs(1000, 0), sizeof("user.a"));
	assert_int_equal(list_xattrs(untold, 0), sizeof("user.a"));
	assert_int_equal(list_xattrs(untold, getpid()),
	                 geteuid() == 0 ? all : sizeof("user.a"));
	kernel_umount(&k);
}

/* ---- Copying more than the answer can report ---------------------------- */

static uint64_t copy_once(uint64_t from, uint64_t to, uint64_t off,
                          uint64_t len)
{
	struct fuse_copy_file_range_in in = {
	        .off_in = off,
	        .nodeid_out = to,
	        .off_out = off,
	        .len = len,
	};
	struct fuse_write_out out;

	assert_int_equal(
	        kernel_ask(&k, FUSE_COPY_FILE_RANGE, from, &in, sizeof(in)), 0);
	assert_int_equal(k.len, sizeof(out));
	memcpy(&out, k.data, sizeof(out));
	return out.size;
}

static void test_copy_beyond_four_gigabytes(void **state)
{
	const uint64_t size = (UINT64_C(8) << 30) + 5;
	node_t from = make(&w, w.main, "from", S_IFREG | 0644);
	node_t to = make(&w, w.main, "to", S_IFREG | 0644);
	uint64_t off = 0;
	char byte;

	put_text(&w, from, 0, "first");
	put_text(&w, from, (off_t)(size / 2), "middle");
	put_text(&w, from, (off_t)size - 5, "last.");
	kernel_mount(&k, &w, 0, SNAPDIR_HIDDEN);
	while (off < size) {
		uint64_t n = copy_once(from, to, off, size - off);

		assert_true(n >= 1 && n <= size - off);
		off += n;
		/* The reported length is what was copied. */
		assert_int_equal(attr(&w, to).st_size, off);
	}
	assert_int_equal(copy_once(from, to, size, 1), 0);
	kernel_umount(&k);
	assert_int_equal(count_extents(&w, to, 0), count_extents(&w, from, 0));
	for (int i = 0; i < 3; i++) {
		off = (uint64_t[]){0, size / 2, size - 5}[i];
		assert_int_equal(get(&w, to, (off_t)off, &byte, 1), 1);
		assert_int_equal(byte, "fml"[i]);
	}
}

/* ---- Files of states that are gone -------------------------------------- */

static void test_requests_about_a_deleted_state(void **state)
{
	node_t root = make(&w, NODE_ROOT, "main@gone", S_IFDIR);
	node_t file = make(&w, root, "file", S_IFREG | 0644);
	struct fuse_open_in open = {.flags = O_RDWR};
	struct fuse_fsync_in sync = {0};
	struct fuse_read_in read = {.size = 10};
	struct fuse_release_in release = {0};
	struct state *gone;

	kernel_mount(&k, &w, 0, SNAPDIR_HIDDEN);
	assert_int_equal(kernel_ask(&k, FUSE_OPEN, file, &open, sizeof(open)),
	                 0);
	assert_int_equal(kernel_ask(&k, FUSE_FSYNC, file, &sync, sizeof(sync)),
	                 0);
	store_lock(w.store);
	assert_int_equal(state_find(w.forest, 0, "main@gone", &gone), 0);
	assert_int_equal(state_delete(w.forest, gone, false), 0);
	store_unlock(w.store);
	assert_int_equal(kernel_ask(&k, FUSE_FSYNC, file, &sync, sizeof(sync)),
	                 -ESTALE);
	assert_int_equal(
	        kernel_ask(&k, FUSE_FSYNCDIR, root, &sync, sizeof(sync)),
	        -ESTALE);
	assert_int_equal(kernel_ask(&k, FUSE_READ, file, &read, sizeof(read)),
	                 -ESTALE);
	assert_int_equal(
	        kernel_ask(&k, FUSE_FSYNCDIR, NODE_ROOT, &sync, sizeof(sync)),
	        0);
	assert_int_equal(
	        kernel_ask(&k, FUSE_RELEASE, file, &release, sizeof(release)),
	        0);
	kernel_umount(&k);
}

static int flush(uint64_t file)
{
	struct fuse_flush_in in = {.lock_owner = 1};

	return kernel_ask(&k, FUSE_FLUSH, file, &in, sizeof(in));
}

/* Locks that hold in all mounts cost a mount without them no request. */
static void test_flush_only_for_locks_of_the_store(void **state)
{
	struct fuse_init_out out;

	kernel_mount(&k, &w, 0, SNAPDIR_HIDDEN);
	memcpy(&out, k.data, sizeof(out));
	assert_int_equal(out.flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS), 0);
	assert_int_equal(flush(NODE_ROOT), -ENOSYS);
	kernel_umount(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	        TEST(test_state_alone_reaches_itself),
	        TEST(test_state_alone_reaches_snapshots_it_shows),
	        TEST(test_snapshot_alone_reaches_itself),
	        TEST(test_whole_store_without_snapshots),
	        TEST(test_lookup_of_a_dentry_without_a_name),
	        TEST(test_state_alone_does_not_tell_of_others),
	        TEST(test_attributes_of_snapdir_are_forgotten),
	        TEST(test_names_of_states_over_the_socket),
	        TEST(test_trusted_names_are_listed_for_root),
	        TEST(test_copy_beyond_four_gigabytes),
	        TEST(test_requests_about_a_deleted_state),
	        TEST(test_flush_only_for_locks_of_the_store),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
