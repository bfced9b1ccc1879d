/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Measure how fast a fork is joined whose source has changed, too.
 *
 *   join_bench DIR [FILES [CHANGES [ROUNDS]]]
 *
 * Makes a store at DIR with FILES files of 200 bytes, 500 in a directory, or
 * opens the one that an earlier run made with the same FILES.  In each round
 * main is forked, CHANGES random files are changed in the fork and as many in
 * main (half of them written, the others renamed, deleted or made), and the
 * fork is joined into main.  Prints a line of JSON a round: how long the join
 * took and its processor time, and the processor time of a second join, which
 * finds nothing to do.  The forks stay.
 */
#include "fs_bench.h"

enum { DIR_FILES = 500, FILE_BYTES = 200 };

static struct fs *fs;
static uint64_t random_state = 1;

/* Return 0 if there is no such name. */
static node_t look(node_t parent, const char *name)
{
	struct fs_entry entry;

	return fs_lookup(fs, parent, name, SNAPDIR_HIDDEN, &entry) ? 0
	                                                           : entry.node;
}

static void file_write(node_t file)
{
	char data[FILE_BYTES];

	random_fill(data, sizeof(data), &random_state);
	check(fs_write(fs, file, 0, data, sizeof(data), 0), "write");
}

static void tree_make(node_t root, int files)
{
	node_t dir = 0;
	char name[32];

	for (int i = 0; i < files; i++) {
		if (i % DIR_FILES == 0) {
			snprintf(name, sizeof(name), "d%d", i / DIR_FILES);
			dir = make(fs, root, name, S_IFDIR | 0755);
		}
		snprintf(name, sizeof(name), "f%d", i);
		file_write(make(fs, dir, name, S_IFREG | 0644));
	}
}

/*
 * Change one of the files whose numbers leave `side` when divided by 2, so that
 * the two sides never change the same one.
 */
static void change(node_t root, int files, int side, int serial)
{
	uint64_t random = random_next(&random_state);
	int number = (int)(random % (uint64_t)files) / 2 * 2 + side;
	char name[32], other[48];
	node_t dir, file;

	snprintf(name, sizeof(name), "d%d", number / DIR_FILES);
	dir = look(root, name);
	snprintf(name, sizeof(name), "f%d", number);
	file = look(dir, name);
	snprintf(other, sizeof(other), "n%d-%d", side, serial);
	if (!file || random >> 60 < 2) {
		file_write(make(fs, dir, other, S_IFREG | 0644));
		return;
	}
	switch (random >> 61) {
	case 1:
		check(fs_unlink(fs, dir, name), name);
		break;
	case 2:
	case 3:
		check(fs_rename(fs, dir, name, dir, other, 0, &bench_cred),
		      name);
		break;
	default:
		file_write(file);
		break;
	}
}

/* Return the processor time of this thread in milliseconds. */
static double join(node_t from, node_t into)
{
	struct fs_join what = {.from = NODE_STATE(from),
	                       .into = NODE_STATE(into)};
	struct fs_joined joined;
	double cpu = cpu_ms();

	check(fs_join(fs, &what, &joined), "join");
	if (joined.conflicts)
		fprintf(stderr, "join_bench: %d conflicts\n", joined.conflicts);
	fs_joined_release(fs, &joined);
	return cpu_ms() - cpu;
}

static void round_run(struct store *store, node_t main, int files, int changes,
                      int number)
{
	double ms, cpu, again;
	int64_t start;
	char name[32];
	node_t fork;

	do
		snprintf(name, sizeof(name), "main@%d", number++);
	while (look(NODE_ROOT, name));
	fork = make(fs, NODE_ROOT, name, S_IFDIR | 0755);
	for (int i = 0; i < changes; i++) {
		change(main, files, 0, number * changes + i);
		change(fork, files, 1, number * changes + i);
	}
	check(store_sync(store), "sync");
	start = clock_ns();
	cpu = join(fork, main);
	ms = clock_lap(&start);
	again = join(fork, main);
	printf("{\"op\": \"join\", \"files\": %d, \"changes\": %d, "
	       "\"ms\": %.1f, \"cpu_ms\": %.1f, \"again_cpu_ms\": %.1f}\n",
	       files, changes, ms, cpu, again);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int files = argc > 2 ? atoi(argv[2]) : 1000000;
	int changes = argc > 3 ? atoi(argv[3]) : 1000;
	int rounds = argc > 4 ? atoi(argv[4]) : 5;
	const struct store_params params = {0};
	const struct store_options options = {0};
	const struct fs_options fs_options = {0};
	struct forest *forest;
	struct store *store;
	bool fresh;
	node_t main;

	if (argc < 2) {
		fprintf(stderr, "usage: join_bench DIR [FILES [CHANGES "
		                "[ROUNDS]]]\n");
		return 2;
	}
	fresh = store_create(argv[1], &params) == 0;
	check(store_open(argv[1], &options, &store), argv[1]);
	if (fresh)
		check(forest_create(store, 1000, 1000, 0755), argv[1]);
	check(forest_open(store, &forest), argv[1]);
	check(fs_create(forest, &fs_options, &fs), argv[1]);
	main = look(NODE_ROOT, "main");
	if (fresh)
		tree_make(main, files);
	check(store_sync(store), "sync");
	for (int i = 0; i < rounds; i++)
		round_run(store, main, files, changes, i);
	fs_destroy(fs);
	forest_close(forest);
	check(store_close(store), "close");
	return 0;
}
