/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bytes of files: sizes, holes, sharing, and what is left of them. */
#include "fs_fixture.h"

#include <linux/falloc.h>
#include <stdio.h>

#include "file.h"
#include "inode.h"
#include "orphan_cleanup.h"

enum { CHUNK = 4096, MANY = 3 * PIECE_ITEMS };

static struct fixture w;
static uint8_t big[MANY * CHUNK];

/* Chunks are small, so that files of some MiB have many. */
static int setup(void **state)
{
	fixture_init(&w, 12);
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i / CHUNK * 31 + i % 251 + 1);
	return 0;
}

static int teardown(void **state)
{
	fixture_release(&w);
	return 0;
}

static node_t file_with(const char *name, size_t len)
{
	node_t file = make(&w, w.main, name, S_IFREG | 0644);

	if (len)
		put(&w, file, 0, big, len);
	return file;
}

static void expect_bytes(node_t file, off_t off, const uint8_t *wanted,
                         size_t len)
{
	uint8_t *bytes = malloc(len + 1);

	assert_int_equal(get(&w, file, off, bytes, len), len);
	assert_memory_equal(bytes, wanted, len);
	free(bytes);
}

static void expect_zeros(node_t file, off_t off, size_t len)
{
	uint8_t *zeros = calloc(1, len);

	expect_bytes(file, off, zeros, len);
	free(zeros);
}

/* ---- Sizes -------------------------------------------------------------- */

static void test_small(void **state)
{
	node_t file = file_with("file", 0);

	put_text(&w, file, 0, "hello");
	assert_int_equal(attr(&w, file).st_size, 5);
	assert_int_equal(attr(&w, file).st_blocks, 1);
	put_text(&w, file, 3, "p me out");
	expect_text(&w, file, "help me out");
	assert_int_equal(resize(&w, file, 4), 0);
	assert_int_equal(resize(&w, file, 8), 0);
	put_text(&w, file, 7, "!");
	expect_bytes(file, 0, (const uint8_t *)"help\0\0\0!", 8);
	/* Grows out of the item, byte by byte. */
	for (int i = 0; i < 3 * CHUNK; i++)
		put(&w, file, i, big + i, 1);
	expect_bytes(file, 0, big, 3 * CHUNK);
	assert_int_equal(attr(&w, file).st_blocks, 24);
	assert_int_equal(store_sync(w.store), 0);
	put_text(&w, file, CHUNK - 2, "over");
	fixture_reopen(&w);
	expect_bytes(file, 0, big, CHUNK - 2);
	expect_bytes(file, CHUNK - 2, (const uint8_t *)"over", 4);
	expect_bytes(file, CHUNK + 2, big + CHUNK + 2, 2 * CHUNK - 2);
}

static void test_limits(void **state)
{
	node_t file = file_with("file", 0);
	off_t far = FILE_SIZE_MAX - 5;

	assert_int_equal(fs_write(w.fs, file, far, "far off", 7, 0), -EFBIG);
	assert_int_equal(fs_write(w.fs, file, -1, "x", 1, 0), -EINVAL);
	assert_int_equal(attr(&w, file).st_size, 0);
	put_text(&w, file, far, "far");
	assert_int_equal(attr(&w, file).st_size, far + 3);
	expect_zeros(file, far - 100, 100);
	expect_bytes(file, far, (const uint8_t *)"far", 3);
	assert_int_equal(resize(&w, file, FILE_SIZE_MAX), 0);
	assert_int_equal(resize(&w, file, FILE_SIZE_MAX + 1), -EFBIG);
	assert_int_equal(resize(&w, file, -1), -EINVAL);
	assert_int_equal(resize(&w, w.main, 0), -EISDIR);
	assert_int_equal(resize(&w, file, 0), 0);
	assert_int_equal(attr(&w, file).st_blocks, 0);
}

static void test_truncate(void **state)
{
	node_t file = file_with("file", 2 * CHUNK + 100);

	assert_int_equal(resize(&w, file, CHUNK + 10), 0);
	assert_int_equal(attr(&w, file).st_blocks, 9);
	assert_int_equal(resize(&w, file, 3 * CHUNK), 0);
	expect_bytes(file, 0, big, CHUNK + 10);
	expect_zeros(file, CHUNK + 10, 2 * CHUNK - 10);
	put_text(&w, file, CHUNK + 20, "x");
	expect_zeros(file, CHUNK + 10, 10);
	expect_zeros(file, CHUNK + 21, CHUNK);
	assert_int_equal(store_sync(w.store), 0);
	assert_int_equal(resize(&w, file, CHUNK + 5), 0);
	assert_int_equal(resize(&w, file, 2 * CHUNK), 0);
	put_text(&w, file, CHUNK + 200, "x");
	expect_bytes(file, 0, big, CHUNK + 5);
	expect_zeros(file, CHUNK + 5, 195);
	assert_int_equal(fs_open(w.fs, file, O_WRONLY | O_TRUNC), 0);
	assert_int_equal(attr(&w, file).st_size, 0);
	assert_int_equal(attr(&w, file).st_blocks, 0);
	fs_release(w.fs, file);
}

/* A cut of more than a piece: nothing of it may ever be seen again. */
static void test_long_tail(void **state)
{
	node_t file = file_with("file", sizeof(big)), fork;
	struct fs_entry e;
	struct vnode v;

	/* The first hold of the lock, and then a crash. */
	store_lock(w.store);
	assert_int_equal(vnode_load_rw(w.fs, file, &v), 0);
	assert_int_equal(vnode_begin(&v), 0);
	assert_int_equal(file_resize(&v, 10), -EAGAIN);
	store_unlock(w.store);
	assert_true(count_extents(&w, file, 1) > 0);
	assert_int_equal(count_orphans(&w, NODE_STATE(w.main)), 1);
	fixture_check(&w);
	assert_int_equal(fs_make(w.fs, NODE_ROOT, "main@fork", S_IFDIR | 0755,
	                         0, NULL, &fixture_cred, &e),
	                 0);
	fork = look(&w, e.node, "file");
	/* The fork's grows over its own tail. */
	assert_int_equal(resize(&w, fork, sizeof(big)), 0);
	expect_zeros(fork, 10, sizeof(big) - 10);
	assert_int_equal(count_extents(&w, fork, 1), 0);
	put(&w, file, sizeof(big) - CHUNK, big, CHUNK);
	expect_bytes(file, 0, big, 10);
	expect_zeros(file, 10, sizeof(big) - CHUNK - 10);
	assert_int_equal(count_extents(&w, file, 0), 2);
	assert_int_equal(count_orphans(&w, NODE_STATE(w.main)), 0);
}

static void test_tail_after_crash(void **state)
{
	node_t file = file_with("file", sizeof(big));
	struct vnode v;

	store_lock(w.store);
	assert_int_equal(vnode_load_rw(w.fs, file, &v), 0);
	assert_int_equal(vnode_begin(&v), 0);
	assert_int_equal(file_resize(&v, CHUNK + 10), -EAGAIN);
	store_unlock(w.store);
	fixture_crash(&w);
	orphan_cleanup_drain(w.fs);
	assert_int_equal(count_extents(&w, file, 0), 2);
	assert_int_equal(count_orphans(&w, NODE_STATE(w.main)), 0);
	assert_int_equal(attr(&w, file).st_size, CHUNK + 10);
	expect_bytes(file, 0, big, CHUNK + 10);
}

/* ---- Without a name ----------------------------------------------------- */

static void test_orphans(void **state)
{
	node_t file = file_with("file", sizeof(big)), temp;
	struct fs_entry e;
	struct stat st;

	assert_int_equal(fs_open(w.fs, file, O_RDWR), 0);
	assert_int_equal(fs_open(w.fs, file, O_RDONLY), 0);
	assert_int_equal(fs_unlink(w.fs, w.main, "file"), 0);
	fs_release(w.fs, file);
	assert_int_equal(attr(&w, file).st_nlink, 0);
	put(&w, file, sizeof(big), big, 100);
	expect_bytes(file, 0, big, sizeof(big));
	assert_int_equal(count_orphans(&w, NODE_STATE(w.main)), 1);
	assert_int_equal(fs_link(w.fs, file, w.main, "back", &e), 0);
	assert_int_equal(count_orphans(&w, NODE_STATE(w.main)), 0);
	assert_int_equal(fs_unlink(w.fs, w.main, "back"), 0);
	fs_release(w.fs, file);
	assert_int_equal(fs_getattr(w.fs, file, &st), -ESTALE);
	assert_int_equal(count_orphans(&w, NODE_STATE(w.main)), 0);

	assert_int_equal(fs_tmpfile(w.fs, w.main, 0666, &fixture_cred, &e), 0);
	temp = e.node;
	assert_int_equal(e.st.st_mode, S_IFREG | 0644);
	put_text(&w, temp, 0, "kept");
	assert_int_equal(fs_link(w.fs, temp, w.main, "kept", &e), 0);
	fs_release(w.fs, temp);
	expect_text(&w, look(&w, w.main, "kept"), "kept");
	assert_int_equal(fs_tmpfile(w.fs, w.main, 0666, &fixture_cred, &e), 0);
	fs_release(w.fs, e.node);
	assert_int_equal(fs_getattr(w.fs, e.node, &st), -ESTALE);
	/* Closed: long files go in pieces, but are gone at the return. */
	file = file_with("file", sizeof(big));
	assert_int_equal(fs_unlink(w.fs, w.main, "file"), 0);
	assert_int_equal(count_extents(&w, file, 0), 0);
	assert_int_equal(count_orphans(&w, NODE_STATE(w.main)), 0);
}

static void test_orphans_after_crash(void **state)
{
	node_t file = file_with("file", sizeof(big));
	struct fs_entry e;

	assert_int_equal(fs_open(w.fs, file, O_RDWR), 0);
	assert_int_equal(fs_unlink(w.fs, w.main, "file"), 0);
	assert_int_equal(fs_tmpfile(w.fs, w.main, 0666, &fixture_cred, &e), 0);
	fixture_crash(&w);
	orphan_cleanup_drain(w.fs);
	assert_int_equal(count_orphans(&w, NODE_STATE(w.main)), 0);
	assert_int_equal(count_extents(&w, file, 0), 0);
	assert_int_equal(fs_getattr(w.fs, file, &e.st), -ESTALE);
	assert_int_equal(fs_getattr(w.fs, e.node, &e.st), -ESTALE);
}

/* Orphans that a fork inherits are deleted, unless it is still unchanged. */
static void test_orphans_of_forks(void **state)
{
	node_t file = file_with("file", 3 * CHUNK), fork, snap;
	struct fs_entry e;

	assert_int_equal(fs_open(w.fs, file, O_RDWR), 0);
	assert_int_equal(fs_unlink(w.fs, w.main, "file"), 0);
	fork = make(&w, NODE_ROOT, "main@fork", S_IFDIR);
	snap = make(&w, NODE(NODE_STATE(w.main), INO_SNAPDIR), "snap", S_IFDIR);
	orphan_cleanup_drain(w.fs);
	assert_int_equal(count_orphans(&w, NODE_STATE(fork)), 1);
	assert_int_equal(fs_rmdir(w.fs, NODE_ROOT, "main@fork"), 0);
	fork = make(&w, NODE_ROOT, "main@fork", S_IFDIR);
	make(&w, fork, "change", S_IFREG | 0600);
	orphan_cleanup_drain(w.fs);
	assert_int_equal(count_orphans(&w, NODE_STATE(fork)), 0);
	/* The same of a snapshot, and over a crash. */
	assert_int_equal(fs_make(w.fs, NODE_ROOT, "main~snap@more",
	                         S_IFDIR | 0755, 0, NULL, &fixture_cred, &e),
	                 0);
	assert_int_equal(count_orphans(&w, NODE_STATE(e.node)), 1);
	make(&w, e.node, "change", S_IFREG | 0600);
	fixture_crash(&w);
	orphan_cleanup_drain(w.fs);
	assert_int_equal(count_orphans(&w, NODE_STATE(e.node)), 0);
	assert_int_equal(count_orphans(&w, NODE_STATE(w.main)), 0);
	assert_int_equal(count_orphans(&w, NODE_STATE(snap)), 1);
}

/* ---- Ranges ------------------------------------------------------------- */

static off_t seek(node_t file, off_t off, int whence)
{
	off_t result;
	int err = fs_seek(w.fs, file, off, whence, &result);

	return err ? err : result;
}

static void test_seek(void **state)
{
	node_t file = file_with("file", 0);

	assert_int_equal(seek(file, 0, SEEK_DATA), -ENXIO);
	assert_int_equal(seek(file, 0, SEEK_HOLE), -ENXIO);
	put(&w, file, 10 * CHUNK, big, 2 * CHUNK + 100);
	assert_int_equal(resize(&w, file, 20 * CHUNK), 0);
	assert_int_equal(seek(file, 0, SEEK_HOLE), 0);
	assert_int_equal(seek(file, 0, SEEK_DATA), 10 * CHUNK);
	assert_int_equal(seek(file, 10 * CHUNK + 5, SEEK_DATA), 10 * CHUNK + 5);
	assert_int_equal(seek(file, 10 * CHUNK, SEEK_HOLE), 12 * CHUNK + 100);
	assert_int_equal(seek(file, 12 * CHUNK + 100, SEEK_DATA), -ENXIO);
	assert_int_equal(seek(file, 12 * CHUNK + 100, SEEK_HOLE),
	                 12 * CHUNK + 100);
	assert_int_equal(seek(file, 20 * CHUNK, SEEK_HOLE), -ENXIO);
	assert_int_equal(seek(file, -1, SEEK_HOLE), -ENXIO);
	put(&w, file, 0, big, sizeof(big));
	assert_int_equal(seek(file, 1, SEEK_HOLE), sizeof(big));
	assert_int_equal(
	        fs_fallocate(w.fs, file, 0, sizeof(big), 20 * MANY * CHUNK), 0);
	assert_int_equal(seek(file, 1, SEEK_HOLE), sizeof(big));
	assert_int_equal(seek(file, sizeof(big), SEEK_DATA), -ENXIO);
	put_text(&w, file, 20 * MANY * CHUNK, "data");
	assert_int_equal(seek(file, sizeof(big), SEEK_DATA), 20 * MANY * CHUNK);
}

static int falloc(node_t file, int mode, off_t off, off_t len)
{
	return fs_fallocate(w.fs, file, mode, off, len);
}

static void test_fallocate(void **state)
{
	const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	node_t file = file_with("file", 0), many = file_with("many", 0);

	assert_int_equal(falloc(file, 0, 0, 0), -EINVAL);
	assert_int_equal(falloc(file, FALLOC_FL_PUNCH_HOLE, 0, 1), -EOPNOTSUPP);
	assert_int_equal(falloc(file, FALLOC_FL_COLLAPSE_RANGE, 0, CHUNK),
	                 -EOPNOTSUPP);
	assert_int_equal(falloc(file, 0, INT64_MAX - 10, 10), -EFBIG);
	assert_int_equal(falloc(file, 0, 0, INT64_C(1) << 50), -ENOSPC);
	assert_int_equal(falloc(file, FALLOC_FL_KEEP_SIZE, 0, 3 * CHUNK), 0);
	assert_int_equal(attr(&w, file).st_size, 0);
	assert_int_equal(attr(&w, file).st_blocks, 24);
	assert_int_equal(falloc(file, 0, CHUNK, 3 * CHUNK + 10), 0);
	assert_int_equal(attr(&w, file).st_size, 4 * CHUNK + 10);
	expect_zeros(file, 0, 4 * CHUNK + 10);
	put(&w, file, 0, big, 6 * CHUNK);
	assert_int_equal(falloc(file, punch, CHUNK + 10, 2 * CHUNK), 0);
	expect_bytes(file, 0, big, CHUNK + 10);
	expect_zeros(file, CHUNK + 10, 2 * CHUNK);
	expect_bytes(file, 3 * CHUNK + 10, big + 3 * CHUNK + 10,
	             3 * CHUNK - 10);
	assert_int_equal(attr(&w, file).st_blocks, 33);
	assert_int_equal(
	        falloc(file, FALLOC_FL_ZERO_RANGE, 5 * CHUNK - 1, CHUNK * 2),
	        0);
	assert_int_equal(attr(&w, file).st_size, 7 * CHUNK - 1);
	expect_zeros(file, 5 * CHUNK - 1, CHUNK * 2);
	assert_int_equal(falloc(file, punch, 0, INT64_MAX), 0);
	assert_int_equal(attr(&w, file).st_blocks, 0);
	assert_int_equal(attr(&w, file).st_size, 7 * CHUNK - 1);
	expect_zeros(file, 0, 7 * CHUNK - 1);
	/* More than one batch. */
	put(&w, many, 0, big, sizeof(big));
	assert_int_equal(falloc(many, punch, 5, sizeof(big) - 10), 0);
	expect_bytes(many, 0, big, 5);
	expect_zeros(many, 5, sizeof(big) - 10);
	expect_bytes(many, sizeof(big) - 5, big + sizeof(big) - 5, 5);
	assert_int_equal(count_extents(&w, many, 0), 2);
}

/* ---- copy_file_range ---------------------------------------------------- */

static void test_copy_range(void **state)
{
	size_t len = sizeof(big) - 1000, used;
	node_t file = file_with("file", len), copy = file_with("copy", 0);
	node_t fork = make(&w, NODE_ROOT, "main@fork", S_IFDIR), other;
	struct store_stats stats;

	assert_int_equal(store_sync(w.store), 0);
	store_stats(w.store, &stats);
	used = stats.file_bytes - stats.free_bytes;
	assert_int_equal(fs_copy_range(w.fs, file, 0, copy, 0, 1 << 30), len);
	expect_bytes(copy, 0, big, len);
	other = make(&w, fork, "other", S_IFREG | 0600);
	assert_int_equal(fs_copy_range(w.fs, file, 0, other, 0, 1 << 30), len);
	assert_int_equal(store_sync(w.store), 0);
	store_stats(w.store, &stats);
	assert_true(stats.file_bytes - stats.free_bytes - used < len / 4);
	/* Neither sees what is written to the other. */
	put_text(&w, file, 0, "changed");
	put_text(&w, copy, CHUNK, "changed");
	expect_bytes(other, 0, big, len);
	expect_bytes(copy, 0, big, CHUNK);
	expect_bytes(file, 7, big + 7, len - 7);
	fixture_reopen(&w);
	expect_bytes(other, 0, big, len);
	expect_bytes(copy, CHUNK + 7, big + CHUNK + 7, len - CHUNK - 7);
	/* Within a file; not onto itself. */
	assert_int_equal(fs_copy_range(w.fs, other, 0, other, 10, 100),
	                 -EINVAL);
	assert_int_equal(
	        fs_copy_range(w.fs, other, 3 * CHUNK, other, CHUNK, 2 * CHUNK),
	        2 * CHUNK);
	expect_bytes(other, CHUNK, big + 3 * CHUNK, 2 * CHUNK);
	/* Unlike offsets, and past the end. */
	assert_int_equal(
	        fs_copy_range(w.fs, other, (off_t)len - 5, copy, 77, 100), 5);
	expect_bytes(copy, 77, big + len - 5, 5);
	assert_int_equal(fs_copy_range(w.fs, other, (off_t)len, copy, 0, 1), 0);
	assert_int_equal(fs_copy_range(w.fs, w.main, 0, copy, 0, 1), -EINVAL);
}

/* A chunk that still gathers changes is shared as it is at that moment. */
static void test_copy_unsaved(void **state)
{
	node_t file = file_with("file", 2 * CHUNK), copy = file_with("copy", 0);

	assert_int_equal(fs_copy_range(w.fs, file, 0, copy, 0, 2 * CHUNK),
	                 2 * CHUNK);
	put_text(&w, file, 10, "after");
	put_text(&w, copy, CHUNK + 10, "after");
	expect_bytes(copy, 0, big, CHUNK + 10);
	expect_bytes(file, 15, big + 15, 2 * CHUNK - 15);
	assert_int_equal(fs_unlink(w.fs, w.main, "file"), 0);
	expect_bytes(copy, 0, big, CHUNK + 10);
	fixture_reopen(&w);
	expect_bytes(copy, 0, big, CHUNK + 10);
	expect_bytes(copy, CHUNK + 15, big + CHUNK + 15, CHUNK - 15);
}

/*
 * A copy of a copy that is just being saved, when the first original turns out
 * to have been stored before and is gone.
 */
static void test_copy_while_saving(void **state)
{
	node_t kept = file_with("kept", CHUNK), files[2];
	uint64_t txg, now;

	assert_int_equal(store_sync(w.store), 0);
	for (int round = 0; round < 10; round++) {
		node_t same = file_with("same", CHUNK);
		char name[2][16];

		for (int i = 0; i < 2; i++) {
			snprintf(name[i], sizeof(name[i]), "%d-%d", round, i);
			files[i] = file_with(name[i], 0);
		}
		assert_int_equal(
		        fs_copy_range(w.fs, same, 0, files[0], 0, CHUNK),
		        CHUNK);
		assert_int_equal(fs_unlink(w.fs, w.main, "same"), 0);
		store_lock(w.store);
		txg = store_txg(w.store);
		store_unlock(w.store);
		store_commit_start(w.store);
		do {
			store_lock(w.store);
			now = store_txg(w.store);
			store_unlock(w.store);
		} while (now == txg);
		assert_int_equal(
		        fs_copy_range(w.fs, files[0], 0, files[1], 0, CHUNK),
		        CHUNK);
		assert_int_equal(fs_unlink(w.fs, w.main, name[0]), 0);
		assert_int_equal(store_sync(w.store), 0);
		expect_bytes(files[1], 0, big, CHUNK);
	}
	fixture_reopen(&w);
	expect_bytes(kept, 0, big, CHUNK);
	expect_bytes(files[1], 0, big, CHUNK);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	        T(test_small),
	        T(test_limits),
	        T(test_truncate),
	        T(test_long_tail),
	        T(test_tail_after_crash),
	        T(test_orphans),
	        T(test_orphans_after_crash),
	        T(test_orphans_of_forks),
	        T(test_seek),
	        T(test_fallocate),
	        T(test_copy_range),
	        T(test_copy_unsaved),
	        T(test_copy_while_saving),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
