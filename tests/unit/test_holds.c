/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Measure how long the store's lock is held: each request, with arguments and
 * in states that make it as much work as can be.  What counts is the processor
 * time of the thread that holds the lock, which is about the same on a machine
 * that is busy with other things.
 */
#include "fs_fixture.h"

#include <limits.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/xattr.h>

#include "forest.h"
#include "fs_struct.h"
#include "number.h"
#include "control.h"

/*
 * A look is at a block or a record in memory, some 0.1 to 0.5 us.  The time is
 * the processor's, but a virtual one may count what others had of it: only
 * orders of magnitude are held against it.
 */
enum { LOOKS_MAX = 4000, BACKGROUND_LOOKS_MAX = 25000 };
static const int64_t hold_max_ns = 250000000;

enum {
	KINDS = 64,
	PAGE = 4096,
};

static struct fixture w;
enum { MANY = 10000 }; /* names, snapshots, extents, attributes, directories */

/* ---- Measuring ---------------------------------------------------------- */

static struct hold {
	char kind[48];
	bool foreground; /* of a request */
	int64_t longest; /* ns */
	uint64_t most;   /* blocks and records */
	uint64_t count;
} holds[KINDS]; /* guarded by the store's lock */

/* The request of the thread; NULL: background work. */
static __thread const char *doing;

static void held(void *arg, int64_t ns, uint64_t work)
{
	struct hold *hold = holds;
	char kind[sizeof(hold->kind)];

	if (doing)
		snprintf(kind, sizeof(kind), "%s", doing);
	else
		pthread_getname_np(pthread_self(), kind, sizeof(kind));
	while (*hold->kind && strcmp(hold->kind, kind) != 0)
		hold++;
	memcpy(hold->kind, kind, sizeof(kind));
	hold->foreground = doing;
	hold->longest = MAX(hold->longest, ns);
	hold->most = MAX(hold->most, work);
	hold->count++;
}

/* Do something that counts as of this kind. */
#define measured(what, expression)                                             \
	__extension__({                                                        \
		doing = what;                                                  \
		__auto_type _r = (expression);                                 \
		doing = "set up";                                              \
		_r;                                                            \
	})

#define expect(what, expression, value)                                        \
	assert_int_equal(measured(what, expression), value)

static void test_holds(void **state)
{
	for (struct hold *hold = holds; *hold->kind; hold++)
		print_message("# %8.3f ms %6ju looks %8ju times  %s\n",
		              (double)hold->longest / 1e6,
		              (uintmax_t)hold->most, (uintmax_t)hold->count,
		              hold->kind);
	for (struct hold *hold = holds; *hold->kind; hold++) {
		assert_true(
		        hold->most <=
		        (hold->foreground ? LOOKS_MAX : BACKGROUND_LOOKS_MAX));
		assert_true(hold->longest <= hold_max_ns);
	}
}

/* ---- What there is a lot of --------------------------------------------- */

static node_t big_dir, deep[2], sparse, dense, other_dense, with_xattrs;

static const char *numbered(const char *prefix, int i)
{
	static char name[64];

	snprintf(name, sizeof(name), "%s%d", prefix, i);
	return name;
}

static void make_many(void)
{
	static const uint8_t page[PAGE] = {1};

	big_dir = make(&w, w.main, "big", S_IFDIR | 0755);
	for (int i = 0; i < MANY; i++)
		make(&w, big_dir, numbered("a name of some length ", i),
		     S_IFREG | 0644);
	deep[0] = make(&w, w.main, "deep", S_IFDIR | 0755);
	deep[1] = deep[0];
	for (int i = 0; i < MANY; i++)
		deep[1] = make(&w, deep[1], "d", S_IFDIR | 0755);
	sparse = make(&w, w.main, "sparse", S_IFREG | 0644);
	put(&w, sparse, (INT64_C(1) << 62) - 2, "x", 1);
	dense = make(&w, w.main, "dense", S_IFREG | 0644);
	other_dense = make(&w, w.main, "other", S_IFREG | 0644);
	for (int i = 0; i < MANY; i++) {
		put(&w, dense, (off_t)i * PAGE, page, PAGE);
		put(&w, other_dense, (off_t)i * PAGE, page, PAGE / 2);
	}
	with_xattrs = make(&w, w.main, "xattrs", S_IFREG | 0644);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(fs_setxattr(w.fs, with_xattrs,
		                             numbered("user.", i), "v", 1, 0),
		                 0);
}

static node_t snapdir(void)
{
	return NODE(NODE_STATE(w.main), INO_SNAPDIR);
}

/* ---- Requests ----------------------------------------------------------- */

static int stop_at(void *arg, const char *name, const struct fs_entry *entry,
                   off_t cookie)
{
	int *left = arg;

	return --*left < 0;
}

static int list_all(node_t node, bool plus)
{
	int left = INT_MAX;

	return fs_readdir(w.fs, node, 0, plus, SNAPDIR_VISIBLE, stop_at, &left);
}

static void test_files(void **state)
{
	const off_t end = INT64_C(1) << 62;
	static uint8_t data[1 << 20];
	struct fs_data read;
	struct stat st = {0};
	off_t at;

	expect("write 1 MiB", fs_write(w.fs, dense, 0, data, sizeof(data), 0),
	       0);
	expect("write 1 MiB again",
	       fs_write(w.fs, dense, 17, data, sizeof(data), 0), 0);
	expect("read 1 MiB", fs_read(w.fs, dense, 3, sizeof(data), &read), 0);
	fs_data_release(&read);
	expect("seek data", fs_seek(w.fs, sparse, 0, SEEK_DATA, &at), 0);
	expect("seek hole", fs_seek(w.fs, dense, 0, SEEK_HOLE, &at), 0);
	expect("copy a range",
	       fs_copy_range(w.fs, dense, 0, other_dense, 0, MANY * PAGE),
	       (ssize_t)MANY * PAGE);
	expect("copy a range unaligned",
	       fs_copy_range(w.fs, dense, 0, other_dense, 1, 8 << 20), 8 << 20);
	expect("zero a range",
	       fs_fallocate(w.fs, other_dense, FALLOC_FL_ZERO_RANGE, 5,
	                    MANY / 2 * PAGE),
	       0);
	expect("allocate",
	       fs_fallocate(w.fs, other_dense, 0, MANY * PAGE, MANY * PAGE), 0);
	expect("punch a range",
	       fs_fallocate(w.fs, other_dense,
	                    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5,
	                    MANY / 2 * PAGE),
	       0);
	expect("punch nothing",
	       fs_fallocate(w.fs, sparse,
	                    FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
	                    end - 4096),
	       0);
	expect("truncate", fs_setattr(w.fs, dense, FS_SET_SIZE, &st, &st), 0);
	expect("unlink a large file", fs_unlink(w.fs, w.main, "other"), 0);
}

static void test_names(void **state)
{
	struct fs_entry e;
	struct stat st;

	expect("lookup",
	       fs_lookup(w.fs, big_dir, "not there", SNAPDIR_HIDDEN, &e),
	       -ENOENT);
	expect("getattr", fs_getattr(w.fs, deep[1], &st), 0);
	expect("readdir", list_all(big_dir, false), 0);
	expect("readdirplus", list_all(big_dir, true), 0);
	expect("rename to below itself",
	       fs_rename(w.fs, w.main, "deep", deep[1], "x", 0, &fixture_cred),
	       -EINVAL);
	make(&w, w.main, "mover", S_IFDIR | 0755);
	expect("rename deep down",
	       fs_rename(w.fs, w.main, "mover", deep[1], "x", 0, &fixture_cred),
	       0);
	expect("rename back up",
	       fs_rename(w.fs, deep[1], "x", w.main, "mover", 0, &fixture_cred),
	       0);
}

static void test_xattrs(void **state)
{
	static char list[64 << 10], value[4000];

	expect("listxattr",
	       fs_listxattr(w.fs, with_xattrs, false, list, sizeof(list)),
	       -E2BIG);
	expect("listxattr's length",
	       fs_listxattr(w.fs, with_xattrs, false, NULL, 0), -E2BIG);
	expect("setxattr",
	       fs_setxattr(w.fs, with_xattrs, "user.long", value, sizeof(value),
	                   0),
	       0);
	expect("getxattr",
	       fs_getxattr(w.fs, with_xattrs, "user.long", value,
	                   sizeof(value)),
	       sizeof(value));
	expect("removexattr", fs_removexattr(w.fs, with_xattrs, "user.long"),
	       0);
	expect("unlink a file with attributes",
	       fs_unlink(w.fs, w.main, "xattrs"), 0);
}

static void test_states(void **state)
{
	struct fs_entry e;
	char name[64];

	for (int i = 0; i < MANY; i++)
		expect("snapshot",
		       try_make(&w, snapdir(), numbered("s", i),
		                S_IFDIR | 0755),
		       0);
	snprintf(name, sizeof(name), "main~%d", MANY - 1);
	expect("lookup of a position",
	       fs_lookup(w.fs, NODE_ROOT, name, SNAPDIR_HIDDEN, &e), 0);
	snprintf(name, sizeof(name), "main~%d@x~%d@y", MANY - 1, MANY);
	expect("fork of a position",
	       try_make(&w, NODE_ROOT, name, S_IFDIR | 0755), 0);
	expect("list snapshots", list_all(snapdir(), false), 0);
	expect("list snapshots with attributes", list_all(snapdir(), true), 0);
	/* The newest go: all that is newer than what stays is a gap. */
	for (int i = MANY / 2; i < MANY; i++)
		expect("delete a snapshot",
		       fs_rmdir(w.fs, snapdir(), numbered("s", i)), 0);
	expect("lookup of the newest",
	       fs_lookup(w.fs, NODE_ROOT, "main~1", SNAPDIR_HIDDEN, &e), 0);
	expect("snapshot after deletions",
	       try_make(&w, snapdir(), "again", S_IFDIR | 0755), 0);
	expect("list snapshots after deletions", list_all(snapdir(), false), 0);
	for (int i = 0; i < MANY; i++)
		expect("fork",
		       try_make(&w, NODE_ROOT, numbered("main@", i),
		                S_IFDIR | 0755),
		       0);
	expect("list forks", list_all(NODE_ROOT, false), 0);
	expect("list forks with attributes", list_all(NODE_ROOT, true), 0);
	for (int i = 0; i < MANY / 2; i++)
		expect("delete a fork",
		       fs_rmdir(w.fs, NODE_ROOT, numbered("main@", i)), 0);
	expect("list forks after deletions", list_all(NODE_ROOT, false), 0);
	/* All numbers have been given out, and half of them are in use. */
	store_lock(w.store);
	forest_limit_numbers(w.forest, store_counter(w.store, COUNTER_STATE));
	store_unlock(w.store);
	for (int i = 0; i < 10; i++)
		expect("fork when a number is searched for",
		       try_make(&w, NODE_ROOT, numbered("main@again", i),
		                S_IFDIR | 0755),
		       0);
}

/* ---- Verbs -------------------------------------------------------------- */

static int drop_row(void *arg, json_t *row)
{
	return 0;
}

static int control(const char *format, ...)
{
	json_t *request, *answer = NULL;
	va_list ap;
	int err;

	va_start(ap, format);
	request = json_vpack_ex(NULL, 0, format, ap);
	va_end(ap);
	assert_non_null(request);
	err = control_run(w.fs, request, drop_row, NULL, &answer);
	if (!err && json_object_get(answer, "error"))
		err = -(int)json_integer_value(
		        json_object_get(answer, "errno"));
	json_decref(request);
	json_decref(answer);
	return err;
}

static void test_verbs(void **state)
{
	char name[64];

	snprintf(name, sizeof(name), "main~%d", MANY / 2);
	expect("verb list", control("{s:s, s:b}", "verb", "list", "all", 1), 0);
	expect("verb list of a fork",
	       control("{s:s, s:s}", "verb", "list", "fork", "main"), 0);
	expect("verb show", control("{s:s, s:s}", "verb", "show", "name", name),
	       0);
	expect("verb find", control("{s:s, s:s}", "verb", "find", "name", name),
	       0);
	expect("verb fork",
	       control("{s:s, s:s, s:s}", "verb", "fork", "source", name,
	               "name", "main@verb"),
	       0);
	/* Names are made of the time to the second. */
	for (int i = 0; i < MANY / 20; i++)
		expect("verb snap",
		       control("{s:s, s:s}", "verb", "snap", "fork",
		               "main@verb"),
		       0);
	expect("verb stat", control("{s:s}", "verb", "stat"), 0);
	expect("verb rename",
	       control("{s:s, s:s, s:s}", "verb", "rename", "name", "main",
	               "to", "other"),
	       0);
	expect("verb rm",
	       control("{s:s, s:s, s:b}", "verb", "rm", "name", "main@verb",
	               "recursive", 1),
	       0);
	assert_int_equal(forest_drain(w.forest), 0);
}

static int group_setup(void **state)
{
	fixture_init(&w, 12);
	fixture_close(&w);
	w.commit_ms = 1000;
	fixture_open(&w);
	doing = "set up";
	assert_int_equal(store_on_unlock(w.store, held, NULL), 0);
	make_many();
	return 0;
}

static int group_teardown(void **state)
{
	store_on_unlock(w.store, NULL, NULL);
	fixture_close(&w);
	scratch_release(&w.scratch);
	return 0;
}

#ifdef NDEBUG
/* The lock's holds are not measured in a release build. */
enum { MEASURED = 0 };
#undef cmocka_unit_test
#define cmocka_unit_test(fn)                                                   \
	{                                                                      \
#fn ": not in a release build", skipped, NULL, NULL,           \
		        (void *)(fn)                                           \
	}

static void skipped(void **state)
{
	skip();
}
#else
enum { MEASURED = 1 };
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_files),  cmocka_unit_test(test_names),
	        cmocka_unit_test(test_xattrs), cmocka_unit_test(test_states),
	        cmocka_unit_test(test_verbs),  cmocka_unit_test(test_holds),
	};

	return cmocka_run_group_tests(tests, MEASURED ? group_setup : NULL,
	                              MEASURED ? group_teardown : NULL);
}
