/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Imports of frames that no source has: an error, or a state that is whole. */
#include "fs_fixture.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "import.h"
#include "import_stream.h"
#include "number.h"

enum { CHUNK = 4096, DIRS = 4, NAMES = 4, FRAMES = 40, IMPORTS = 400 };

static struct fixture w;
static struct import_stream stream;
static int sockets[2];

static int setup(void **state)
{
	fixture_init(&w, 12);
	return 0;
}

static int teardown(void **state)
{
	fixture_release(&w);
	return 0;
}

/* ---- Frames ------------------------------------------------------------- */

static void begin(void)
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	assert_int_equal(stream_init(&stream, sockets[0]), 0);
}

/* Send the frames, and import them into the fork. */
static int end(const struct fs_import *what)
{
	struct fs_imported imported;
	int err;

	assert_int_equal(stream_flush(&stream), 0);
	shutdown(sockets[0], SHUT_WR);
	err = fs_import(w.fs, what, sockets[1], &imported);
	fs_imported_release(w.fs, &imported);
	stream_release(&stream);
	close(sockets[0]);
	close(sockets[1]);
	return err;
}

static int end_main(void)
{
	static const struct path_filter filter;
	static const struct fs_cred root;

	return end(&(struct fs_import){.state = "main",
	                               .path = "/",
	                               .cred = &root,
	                               .filter = &filter});
}

static struct import_attr attr_make(mode_t mode, uint64_t size)
{
	return (struct import_attr){
	        .inode = {.mode = mode, .nlink = 1, .size = size}};
}

static void name_put(struct writer *f, uint64_t dir, const char *name)
{
	put_varint(f, dir);
	import_bytes_put(f, name, strlen(name));
}

static void dir_send(uint64_t number, uint64_t parent, const char *name)
{
	const struct import_attr attr = attr_make(S_IFDIR | 0755, 0);
	struct writer *f = stream_begin(&stream, IMPORT_DIR);

	put_varint(f, number);
	put_varint(f, parent);
	if (number)
		import_bytes_put(f, name, strlen(name));
	import_attr_put(f, &attr);
	import_bytes_put(f, NULL, 0);
	assert_int_equal(stream_end(&stream), 0);
}

static void file_send(uint64_t dir, const char *name, unsigned flags,
                      const struct import_attr *attr, size_t len)
{
	static const uint8_t data[CHUNK] = "data";
	struct writer *f = stream_begin(&stream, IMPORT_FILE);

	name_put(f, dir, name);
	put_u8(f, (uint8_t)flags);
	import_attr_put(f, attr);
	import_bytes_put(f, NULL, 0);
	put_bytes(f, data, len);
	assert_int_equal(stream_end(&stream), 0);
}

static void data_send(uint64_t index, int byte, size_t len)
{
	uint8_t data[CHUNK];
	struct writer *f = stream_begin(&stream, IMPORT_DATA);

	memset(data, byte, sizeof(data));
	put_varint(f, index);
	put_bytes(f, data, len);
	assert_int_equal(stream_end(&stream), 0);
}

static void end_send(unsigned flags, uint64_t size)
{
	struct writer *f = stream_begin(&stream, IMPORT_END);

	put_u8(f, (uint8_t)flags);
	put_varint(f, size);
	assert_int_equal(stream_end(&stream), 0);
}

static void link_send(uint64_t dir, const char *name,
                      const struct import_attr *attr)
{
	struct writer *f = stream_begin(&stream, IMPORT_LINK);

	name_put(f, dir, name);
	import_attr_put(f, attr);
	assert_int_equal(stream_end(&stream), 0);
}

static void entry_send(uint64_t dir, const char *name,
                       const struct import_attr *attr)
{
	struct writer *f = stream_begin(&stream, IMPORT_ENTRIES);

	name_put(f, dir, name);
	import_attr_put(f, attr);
	assert_int_equal(stream_end(&stream), 0);
}

static void keep_send(uint64_t dir, const char *name)
{
	name_put(stream_begin(&stream, IMPORT_KEEP), dir, name);
	assert_int_equal(stream_end(&stream), 0);
}

static void done_send(uint64_t dir, unsigned flags)
{
	struct writer *f = stream_begin(&stream, IMPORT_DONE);

	put_varint(f, dir);
	put_u8(f, (uint8_t)flags);
	assert_int_equal(stream_end(&stream), 0);
}

static void commit_send(void)
{
	stream_begin(&stream, IMPORT_COMMIT);
	assert_int_equal(stream_end(&stream), 0);
}

/* ---- Tests -------------------------------------------------------------- */

static void test_same_directory_twice(void **state)
{
	begin();
	dir_send(0, 0, "");
	dir_send(1, 0, "dir");
	dir_send(2, 0, "dir");
	commit_send();
	assert_int_equal(end_main(), -EPROTO);
	assert_int_equal(look(&w, w.main, "dir"), 0);
}

static void test_open_directory_replaced(void **state)
{
	const struct import_attr file = attr_make(S_IFREG | 0644, 0);

	begin();
	dir_send(0, 0, "");
	dir_send(1, 0, "dir");
	file_send(0, "dir", 0, &file, 0);
	commit_send();
	assert_int_equal(end_main(), -EPROTO);
}

static void test_within_a_file(void **state)
{
	const struct import_attr file = attr_make(S_IFREG | 0644, 0);

	begin();
	dir_send(0, 0, "");
	dir_send(1, 0, "dir");
	file_send(1, "file", IMPORT_MORE, &file, 0);
	done_send(1, 0);
	end_send(0, 0);
	commit_send();
	assert_int_equal(end_main(), -EPROTO);
}

static void test_link_to_removed(void **state)
{
	struct import_attr file = attr_make(S_IFREG | 0644, 0);

	file.inode.nlink = 3;
	file.ino = 7;
	begin();
	dir_send(0, 0, "");
	file_send(0, "file", 0, &file, 0);
	dir_send(1, 0, "file");
	link_send(0, "link", &file);
	commit_send();
	assert_int_equal(end_main(), -EPROTO);
}

static void test_data_behind_end(void **state)
{
	const struct import_attr file = attr_make(S_IFREG | 0644, 3 * CHUNK);
	const struct import_attr shorter = attr_make(S_IFREG | 0644, CHUNK + 1);

	begin();
	dir_send(0, 0, "");
	file_send(0, "file", IMPORT_MORE, &file, 0);
	data_send(0, 'x', CHUNK);
	end_send(0, 10);
	commit_send();
	assert_int_equal(end_main(), -EPROTO);
	begin();
	dir_send(0, 0, "");
	file_send(0, "file", IMPORT_MORE, &shorter, 0);
	data_send(1, 'x', 2);
	end_send(0, CHUNK + 1);
	commit_send();
	assert_int_equal(end_main(), -EPROTO);
}

static void test_reserved_name(void **state)
{
	struct import_attr file = attr_make(S_IFREG | 0644, 0);

	file.inode.nlink = 2;
	begin();
	dir_send(0, 0, "");
	file_send(0, "file", 0, &file, 0);
	link_send(0, ".snap", &file);
	commit_send();
	assert_int_equal(end_main(), -EEXIST);
}

/* The same place twice: the second content counts. */
static void test_compared_once(void **state)
{
	const struct import_attr file = attr_make(S_IFREG | 0644, CHUNK);
	char text[CHUNK];

	for (int i = 0; i < 2; i++) {
		begin();
		dir_send(0, 0, "");
		file_send(0, "file", IMPORT_MORE, &file, 0);
		data_send(0, 'x', CHUNK);
		end_send(0, CHUNK);
		if (i) {
			file_send(0, "file", IMPORT_MORE, &file, 0);
			data_send(0, 'y', CHUNK);
			end_send(0, CHUNK);
		}
		commit_send();
		assert_int_equal(end_main(), 0);
	}
	assert_int_equal(get(&w, look(&w, w.main, "file"), 0, text, CHUNK),
	                 CHUNK);
	assert_int_equal(*text, 'y');
}

/* ---- Random frames ------------------------------------------------------ */

static bool open_dirs[DIRS], open_file;

static unsigned draw(uint64_t *rng, unsigned end_of)
{
	return (unsigned)(scratch_random(rng) % end_of);
}

/* Return the number of an open directory, mostly. */
static uint64_t draw_dir(uint64_t *rng)
{
	unsigned number = draw(rng, DIRS);

	while (!open_dirs[number] && draw(rng, 50))
		number = draw(rng, DIRS);
	return number;
}

static struct import_attr draw_attr(uint64_t *rng)
{
	static const mode_t types[] = {S_IFREG, S_IFREG, S_IFREG, S_IFLNK,
	                               S_IFIFO};
	struct import_attr attr =
	        attr_make(types[draw(rng, ARRAY_SIZE(types))] | 0644,
	                  draw(rng, 3 * CHUNK));

	if (!draw(rng, 3)) {
		attr.inode.nlink = 2 + draw(rng, 2);
		attr.ino = draw(rng, 3);
	}
	attr.inode.mtime.sec = attr.inode.ctime.sec = draw(rng, 2);
	return attr;
}

static void random_file(uint64_t *rng, const char *name)
{
	struct import_attr attr = draw_attr(rng);

	if (S_ISREG(attr.inode.mode) && draw(rng, 2)) {
		file_send(draw_dir(rng), name, IMPORT_MORE, &attr, 0);
		open_file = true;
		return;
	}
	attr.inode.size %= CHUNK;
	file_send(draw_dir(rng), name, 0, &attr, attr.inode.size);
}

static void random_dir(uint64_t *rng, const char *name)
{
	unsigned number = 1 + draw(rng, DIRS - 1);

	if (open_dirs[number] && draw(rng, 50))
		return;
	dir_send(number, draw_dir(rng), name);
	open_dirs[number] = true;
}

static void random_done(uint64_t *rng)
{
	uint64_t number = draw_dir(rng);

	if (!number && draw(rng, 10))
		return;
	done_send(number, !draw(rng, 4));
	open_dirs[number] = false;
}

/* Send a frame that is allowed at this place, mostly. */
static void random_frame(uint64_t *rng)
{
	const char name[] = {(char)('a' + draw(rng, NAMES)), 0};
	struct import_attr attr = draw_attr(rng);

	if (open_file && draw(rng, 200)) {
		open_file = draw(rng, 2);
		if (open_file)
			data_send(draw(rng, 3), 'a' + (int)draw(rng, 2),
			          draw(rng, 3) ? CHUNK : 1 + draw(rng, CHUNK));
		else
			end_send(!draw(rng, 3), draw(rng, 3 * CHUNK));
		return;
	}
	switch (draw(rng, 6)) {
	case 0:
		random_dir(rng, name);
		break;
	case 1:
		random_done(rng);
		break;
	case 2:
		link_send(draw_dir(rng), name, &attr);
		break;
	case 3:
		if (draw(rng, 2))
			entry_send(draw_dir(rng), name, &attr);
		else
			keep_send(draw_dir(rng), name);
		break;
	default:
		random_file(rng, name);
		break;
	}
}

static void test_random(void **state)
{
	uint64_t rng = scratch_seed();
	unsigned good = 0;

	for (unsigned i = 0; i < IMPORTS; i++) {
		unsigned frames = 1 + draw(&rng, FRAMES);
		int err;

		memset(open_dirs, 0, sizeof(open_dirs));
		open_dirs[0] = true;
		open_file = false;
		begin();
		dir_send(0, 0, "");
		while (frames--)
			random_frame(&rng);
		if (open_file)
			end_send(IMPORT_FAILED, 0);
		commit_send();
		err = end_main();
		/* The orphans of an earlier import may be freed meanwhile. */
		if (err && err != -EBUSY)
			assert_int_equal(err, -EPROTO);
		good += !err;
		fixture_check(&w);
	}
	print_message("# %u of %u imports were complete\n", good, IMPORTS);
	assert_true(good);
}

/* An import whose snapshot gets no number changes nothing. */
static void test_no_number(void **state)
{
	static const struct path_filter filter;
	static const struct fs_cred root;
	const struct fs_import what = {.state = "main",
	                               .path = "/",
	                               .snapshot = "after",
	                               .cred = &root,
	                               .filter = &filter};

	store_lock(w.store);
	forest_limit_numbers(w.forest, 2);
	store_unlock(w.store);
	begin();
	dir_send(0, 0, "");
	dir_send(1, 0, "dir");
	commit_send();
	assert_int_equal(end(&what), -ENOSPC);
	assert_int_equal(look_error(&w, w.main, "dir"), -ENOENT);
	fixture_check(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(test_same_directory_twice,
	                                        setup, teardown),
	        cmocka_unit_test_setup_teardown(test_open_directory_replaced,
	                                        setup, teardown),
	        cmocka_unit_test_setup_teardown(test_within_a_file, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_link_to_removed, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_data_behind_end, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_reserved_name, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_compared_once, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_no_number, setup,
	                                        teardown),
	        cmocka_unit_test_setup_teardown(test_random, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
