/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A mount whose kernel opens files and directories without a request. */
#include "kernel.h"

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

static void mount_main(bool no_open)
{
	const struct session_params params = {
	        .state = NODE_STATE(w.main),
	        .snapdir = SNAPDIR_DISABLED,
	        .no_open = no_open,
	};

	kernel_mount_with(&k, &w, &params);
}

static uint64_t look_up(const char *name)
{
	struct fuse_entry_out out;

	assert_int_equal(kernel_ask(&k, FUSE_LOOKUP, 1, name, strlen(name) + 1),
	                 0);
	memcpy(&out, k.data, sizeof(out));
	return out.nodeid;
}

static void unlink_name(const char *name)
{
	assert_int_equal(kernel_ask(&k, FUSE_UNLINK, 1, name, strlen(name) + 1),
	                 0);
}

static int get_attr(uint64_t node)
{
	struct fuse_getattr_in in = {0};

	return kernel_ask(&k, FUSE_GETATTR, node, &in, sizeof(in));
}

static int read_some(uint64_t node)
{
	struct fuse_read_in in = {.size = 10};

	return kernel_ask(&k, FUSE_READ, node, &in, sizeof(in));
}

/* Forget one lookup, and wait until the inode is gone. */
static void forget(uint64_t node)
{
	struct fuse_forget_in in = {.nlookup = 1};

	kernel_send(&k, FUSE_FORGET, node, &in, sizeof(in));
	while (get_attr(node) == 0)
		;
}

static void test_opens_are_refused_once_and_for_all(void **state)
{
	node_t file = make(&w, w.main, "file", S_IFREG | 0644);
	struct fuse_open_in in = {.flags = O_RDWR};

	for (int no_open = 0; no_open < 2; no_open++) {
		int expected = no_open ? -ENOSYS : 0;

		mount_main(no_open);
		assert_int_equal(!(k.agreed & FUSE_ATOMIC_O_TRUNC), no_open);
		assert_int_equal(kernel_ask(&k, FUSE_OPEN, NODE_INO(file), &in,
		                            sizeof(in)),
		                 expected);
		assert_int_equal(
		        kernel_ask(&k, FUSE_OPENDIR, 1, &in, sizeof(in)),
		        expected);
		kernel_umount(&k);
	}
}

/* A .snap is never cached: the mount needs OPENDIR. */
static void test_directories_are_opened_where_snapshots_are(void **state)
{
	const struct session_params params = {
	        .snapdir = SNAPDIR_HIDDEN,
	        .no_open = true,
	};
	struct fuse_open_in in = {0};

	kernel_mount_with(&k, &w, &params);
	assert_int_equal(kernel_ask(&k, FUSE_OPEN, w.main, &in, sizeof(in)),
	                 -ENOSYS);
	assert_int_equal(kernel_ask(&k, FUSE_OPENDIR, w.main, &in, sizeof(in)),
	                 0);
	kernel_umount(&k);
}

static void test_unlinked_file_ends_with_the_last_lookup(void **state)
{
	uint64_t node;

	put_text(&w, make(&w, w.main, "file", S_IFREG | 0644), 0, "text");
	mount_main(true);
	node = look_up("file");
	unlink_name("file");
	assert_int_equal(get_attr(node), 0);
	assert_int_equal(read_some(node), 0);
	assert_memory_equal(k.data, "text", 4);
	forget(node);
	kernel_umount(&k);
}

static void test_unlinked_file_ends_at_once_where_opens_are_known(void **state)
{
	uint64_t node;

	make(&w, w.main, "file", S_IFREG | 0644);
	mount_main(false);
	node = look_up("file");
	unlink_name("file");
	assert_int_not_equal(get_attr(node), 0);
	kernel_umount(&k);
}

/* A mount that ends sends no FORGET. */
static void test_unlinked_file_ends_with_the_mount(void **state)
{
	node_t file = make(&w, w.main, "file", S_IFREG | 0644);
	struct stat st;

	mount_main(true);
	look_up("file");
	unlink_name("file");
	kernel_umount(&k);
	assert_int_not_equal(fs_getattr(w.fs, file, &st), 0);
}

/*
 * Make a file, and close it.  The kernel sends RELEASE only until it has got
 * ENOSYS for an OPEN.
 */
static uint64_t make_and_close(const char *name, bool release)
{
	struct {
		struct fuse_create_in in;
		char name[8];
	} arg = {.in = {.flags = O_RDWR, .mode = S_IFREG | 0600}};
	struct fuse_release_in in = {0};
	struct fuse_entry_out out;

	memcpy(arg.name, name, strlen(name));
	assert_int_equal(kernel_ask(&k, FUSE_CREATE, 1, &arg,
	                            sizeof(arg.in) + strlen(name) + 1),
	                 0);
	memcpy(&out, k.data, sizeof(out));
	if (release)
		assert_int_equal(kernel_ask(&k, FUSE_RELEASE, out.nodeid, &in,
		                            sizeof(in)),
		                 0);
	return out.nodeid;
}

/* A file without a name may be open again by /proc/self/fd. */
static void test_nameless_file_outlives_its_descriptor(void **state)
{
	for (int release = 0; release < 2; release++) {
		uint64_t node;

		mount_main(true);
		/* The session does the same with TMPFILE. */
		node = make_and_close("/", release);
		assert_int_equal(get_attr(node), 0);
		forget(node);
		kernel_umount(&k);
	}
}

/* A file handle finds it. */
static void test_nameless_file_is_kept_for_its_handle(void **state)
{
	node_t file = make(&w, w.main, "file", S_IFREG | 0644);
	struct fuse_entry_out out;

	assert_int_equal(fs_open(w.fs, file, O_RDONLY), 0);
	assert_int_equal(fs_unlink(w.fs, w.main, "file"), 0);
	mount_main(true);
	assert_int_equal(kernel_ask(&k, FUSE_LOOKUP, NODE_INO(file), ".", 2),
	                 0);
	memcpy(&out, k.data, sizeof(out));
	assert_int_equal(out.nodeid, NODE_INO(file));
	fs_release(w.fs, file);
	assert_int_equal(get_attr(out.nodeid), 0);
	forget(out.nodeid);
	kernel_umount(&k);
}

static void test_new_file_outlives_its_descriptor(void **state)
{
	struct fuse_release_in in = {0};

	for (int release = 0; release < 2; release++) {
		uint64_t node;

		mount_main(true);
		node = make_and_close("file", release);
		unlink_name("file");
		assert_int_equal(
		        kernel_ask(&k, FUSE_RELEASE, node, &in, sizeof(in)), 0);
		assert_int_equal(get_attr(node), 0);
		forget(node);
		kernel_umount(&k);
	}
}

static void test_pages_of_a_deleted_state_are_dropped(void **state)
{
	node_t root = make(&w, NODE_ROOT, "main@gone", S_IFDIR);
	node_t file = make(&w, root, "file", S_IFREG | 0644);
	const struct session_params params = {
	        .state = NODE_STATE(root),
	        .snapdir = SNAPDIR_DISABLED,
	        .no_open = true,
	};
	struct state *gone;

	put_text(&w, file, 0, "text");
	kernel_mount_with(&k, &w, &params);
	assert_int_equal(look_up("file"), NODE_INO(file));
	assert_int_equal(read_some(NODE_INO(file)), 0);
	store_lock(w.store);
	assert_int_equal(state_find(w.forest, 0, "main@gone", &gone), 0);
	assert_int_equal(state_delete(w.forest, gone, false), 0);
	store_unlock(w.store);
	k.watched = NODE_INO(file);
	/* Pages are dropped once, and again after another READ. */
	for (int i = 0; i < 2; i++) {
		mounts_states_gone(&k.mounts);
		assert_int_equal(get_attr(1), -ESTALE);
		assert_int_equal(k.dropped, 1);
	}
	assert_int_equal(read_some(NODE_INO(file)), -ESTALE);
	mounts_states_gone(&k.mounts);
	assert_int_equal(get_attr(1), -ESTALE);
	assert_int_equal(k.dropped, 2);
	kernel_umount(&k);
}

/*
 * Append, and expect so many invalidations before the reply, unless it has
 * waited for them for long.
 */
static void append(uint64_t node, uint64_t asked, uint32_t size, unsigned drops)
{
	int64_t start = mono_ns();
	static struct {
		struct fuse_write_in in;
		char data[3 * 4096];
	} arg;

	arg.in = (struct fuse_write_in){
	        .offset = asked,
	        .size = size,
	        .flags = O_RDWR | O_APPEND,
	};
	assert_true(size <= sizeof(arg.data));
	k.dropped = 0;
	k.dropped_end = 0;
	assert_int_equal(
	        kernel_ask(&k, FUSE_WRITE, node, &arg, sizeof(arg.in) + size),
	        0);
	if (k.dropped < drops)
		assert_true(mono_ns() - start >= 100000000);
	while (k.dropped < drops)
		assert_int_equal(get_attr(node), 0);
	assert_int_equal(k.dropped, drops);
}

static void read_page(uint64_t node, uint64_t off, size_t expected)
{
	struct fuse_read_in in = {.offset = off, .size = 4096};

	assert_int_equal(kernel_ask(&k, FUSE_READ, node, &in, sizeof(in)), 0);
	assert_int_equal(k.len, expected);
}

/*
 * Another mount has made the file shorter.  What the kernel has at the offset
 * that it asks for is dropped before it has the reply, except for the page that
 * it holds until then.
 */
static void test_append_elsewhere_drops_pages_first(void **state)
{
	enum { SIZE = 2 * 4096 + 100 };
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t node;

	if (page != 4096)
		skip();
	put_text(&w, make(&w, w.main, "file", S_IFREG | 0644), 0, "text");
	mount_main(true);
	node = look_up("file");
	k.watched = node;
	append(node, 4, 10, 0);
	append(node, 3 * page, SIZE, 2);
	assert_int_equal(k.dropped_end, 5 * page);
	/* All of the last page was filled. */
	append(node, 4 * page, 4096, 2);
	assert_int_equal(k.dropped_end, 5 * page);
	/* The last page is cached by a read, and thus not held. */
	read_page(node, 8 * page, 0);
	append(node, 8 * page + 10, 10, 2);
	assert_int_equal(k.dropped_end, 8 * page + 20);
	append(node, 8 * page + 20, 10, 1);
	assert_int_equal(k.dropped_end, 14 + SIZE + 4096 + 20);
	kernel_umount(&k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	        TEST(test_opens_are_refused_once_and_for_all),
	        TEST(test_directories_are_opened_where_snapshots_are),
	        TEST(test_unlinked_file_ends_with_the_last_lookup),
	        TEST(test_unlinked_file_ends_at_once_where_opens_are_known),
	        TEST(test_unlinked_file_ends_with_the_mount),
	        TEST(test_nameless_file_outlives_its_descriptor),
	        TEST(test_nameless_file_is_kept_for_its_handle),
	        TEST(test_new_file_outlives_its_descriptor),
	        TEST(test_pages_of_a_deleted_state_are_dropped),
	        TEST(test_append_elsewhere_drops_pages_first),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
