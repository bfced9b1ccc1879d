/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A whole store with bytes changed.  The input is changes, seven bytes each:
 * four that choose a page, two that choose a place in it, one that is xored.
 * The store is checked, and everything that can be read is read.
 *
 * The store is intact.mdb; COPPICE_FUZZ_MAKE=FILE makes another.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec.h"
#include "fs_fixture.h"
#include "fuzz.h"

enum { PAGE = 4096, CHANGE_LEN = 7, CHANGES_MOST = 64 };

static struct fixture fixture;
static uint8_t *intact, *bytes;
static size_t intact_len;
static char path[120];

static void at_end(void)
{
	scratch_release(&fixture.scratch);
	free(intact);
	free(bytes);
}

/* A little of everything. */
static void fill(void)
{
	struct state *main, *made;
	static uint8_t data[40000];
	node_t dir, file = 0;
	struct fs_entry e;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * i >> 7);
	dir = make(&fixture, fixture.main, "dir", S_IFDIR | 0755);
	for (int i = 0; i < 40; i++) {
		char name[12];

		snprintf(name, sizeof(name), "%d", i);
		file = make(&fixture, dir, name, S_IFREG | 0644);
		put(&fixture, file, 0, data + i, (size_t)(i * i * 5));
	}
	store_lock(fixture.store);
	fuzz_assert(!state_find(fixture.forest, 0, "main", &main));
	fuzz_assert(!state_snapshot(fixture.forest, main, "monday", &made));
	fuzz_assert(!state_fork(fixture.forest, main, "main@a", &made));
	store_unlock(fixture.store);
	fuzz_assert(!fs_make(fixture.fs, NODE_ROOT, "current", S_IFLNK | 0777,
	                     0, "main", &fixture_cred, &e));
	put(&fixture, file, 1000, data, 100);
	fuzz_assert(!fs_unlink(fixture.fs, dir, "7"));
	fuzz_assert(!store_sync(fixture.store));
}

/* Make another store; no two are the same byte by byte. */
static void intact_make(const char *to)
{
	char command[400];

	fixture_init(&fixture, 0);
	fill();
	fixture_close(&fixture);
	snprintf(command, sizeof(command), "cp '%s/data.mdb' '%s'",
	         fixture.scratch.store, to);
	fuzz_assert(!system(command));
	scratch_release(&fixture.scratch);
}

static void begin(void)
{
	const char *to = getenv("COPPICE_FUZZ_MAKE");
	struct stat st;
	int fd;

	fuzz_quiet();
	if (to)
		intact_make(to);
	fd = open(FUZZ_STORE, O_RDONLY);
	fuzz_assert(fd >= 0 && !fstat(fd, &st));
	intact_len = (size_t)st.st_size;
	intact = malloc(intact_len);
	bytes = malloc(intact_len);
	fuzz_assert(intact && bytes &&
	            read(fd, intact, intact_len) == (ssize_t)intact_len);
	close(fd);
	scratch_init(&fixture.scratch);
	fuzz_assert(!mkdir(fixture.scratch.store, 0700));
	snprintf(path, sizeof(path), "%s/data.mdb", fixture.scratch.store);
	atexit(at_end);
}

/* Counts what LMDB would stumble over. */
static int note(void *arg, const struct finding *finding)
{
	*(unsigned *)arg += !strcmp(finding->kind, "page");
	return 0;
}

struct walk {
	struct fs *fs;
	unsigned left;
	unsigned depth;
};

struct names {
	node_t nodes[64];
	unsigned len;
};

static int add(void *arg, const char *name, const struct fs_entry *entry,
               off_t cookie)
{
	struct names *names = arg;

	if (strcmp(name, ".") && strcmp(name, ".."))
		names->nodes[names->len++] = entry->node;
	return names->len == 64;
}

static void walk(struct walk *w, node_t node)
{
	struct names names = {.len = 0};
	struct fs_data data;
	struct stat st;
	char list[256];

	if (!w->left || fs_getattr(w->fs, node, &st))
		return;
	w->left--;
	fs_listxattr(w->fs, node, true, list, sizeof(list));
	if (S_ISREG(st.st_mode)) {
		if (!fs_read(w->fs, node, 0, 300000, &data))
			fs_data_release(&data);
	} else if (S_ISDIR(st.st_mode) && w->depth < 5) {
		fs_readdir(w->fs, node, 0, true, SNAPDIR_VISIBLE, add, &names);
		w->depth++;
		for (unsigned i = 0; i < names.len; i++)
			walk(w, names.nodes[i]);
		w->depth--;
	}
}

static void judge(void)
{
	struct store_options options = {.readonly = true};
	struct fs_options fs_options = {0};
	unsigned pages = 0;
	struct check_options check_options = {
	        .data = true, .found = note, .arg = &pages};
	struct store *store;
	struct forest *forest;
	struct walk w = {.left = 500};

	if (store_open(fixture.scratch.store, &options, &store))
		return;
	/* LMDB follows a damaged page to anywhere: then that was all. */
	if (!forest_check(store, &check_options) && !pages &&
	    !forest_open(store, &forest)) {
		if (!fs_create(forest, &fs_options, &w.fs)) {
			walk(&w, NODE_ROOT);
			fs_destroy(w.fs);
		}
		forest_close(forest);
	}
	store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	int fd;

	if (!intact)
		begin();
	memcpy(bytes, intact, intact_len);
	for (size_t i = 0;
	     i + CHANGE_LEN <= len && i < CHANGES_MOST * CHANGE_LEN;
	     i += CHANGE_LEN) {
		size_t page = be32_get(data + i) % (intact_len / PAGE);

		bytes[page * PAGE + be16_get(data + i + 4) % PAGE] ^=
		        data[i + 6];
	}
	fd = open(path, O_WRONLY | O_TRUNC | O_CREAT, 0600);
	fuzz_assert(fd >= 0 &&
	            write(fd, bytes, intact_len) == (ssize_t)intact_len);
	close(fd);
	judge();
	return 0;
}
