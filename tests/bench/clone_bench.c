/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Measure how fast a subtree is cloned.
 *
 *   clone_bench DIR [PACKAGES [FILES [ROUNDS]]]
 *
 * Makes a store at DIR with PACKAGES packages of FILES files each, in folders
 * of eight files, most of them with 100 to 4,000 bytes, like those of a
 * node_modules.  Clones all of it ROUNDS times within the fork, and once into
 * another one.  Prints a line of JSON for each, in entries a second of the call
 * alone, and with the sync that makes the copy durable.
 */
#include "fs_bench.h"

enum { FOLDER_FILES = 8 };

static struct fs *fs;

static void package_make(node_t parent, int number, int files, uint64_t *random)
{
	char name[32], data[4096];
	node_t package, folder = 0;

	snprintf(name, sizeof(name), "package-%d", number);
	package = make(fs, parent, name, S_IFDIR | 0755);
	for (int i = 0; i < files; i++) {
		size_t len = 100 + random_next(random) % 3900;
		node_t file;

		if (i % FOLDER_FILES == 0) {
			snprintf(name, sizeof(name), "lib%d", i);
			folder = make(fs, package, name, S_IFDIR | 0755);
		}
		snprintf(name, sizeof(name), "file-%d.js", i);
		file = make(fs, folder, name, S_IFREG | 0644);
		random_fill(data, len, random);
		check(fs_write(fs, file, 0, data, len, 0), "write");
	}
}

static void clone_time(struct store *store, node_t from, node_t parent,
                       const char *name, const char *what)
{
	struct fs_cloned cloned;
	int64_t start = clock_ns();
	double ms, sync_ms, cpu = cpu_ms();

	check(fs_clone(fs, from, parent, name, &cloned), name);
	ms = clock_lap(&start);
	cpu = cpu_ms() - cpu;
	check(store_sync(store), "sync");
	sync_ms = clock_lap(&start);
	printf("{\"op\": \"%s\", \"entries\": %llu, \"ms\": %.1f, "
	       "\"cpu_ms\": %.1f, \"sync_ms\": %.1f, \"per_s\": %.0f, "
	       "\"per_cpu_s\": %.0f, \"durable_per_s\": %.0f}\n",
	       what, (unsigned long long)cloned.entries, ms, cpu, sync_ms,
	       (double)cloned.entries / ms * 1e3,
	       (double)cloned.entries / cpu * 1e3,
	       (double)cloned.entries / (ms + sync_ms) * 1e3);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int packages = argc > 2 ? atoi(argv[2]) : 1000;
	int files = argc > 3 ? atoi(argv[3]) : 100;
	int rounds = argc > 4 ? atoi(argv[4]) : 5;
	const struct store_params params = {0};
	const struct store_options options = {0};
	const struct fs_options fs_options = {0};
	struct forest *forest;
	struct store *store;
	uint64_t random = 1;
	node_t main, from;
	char name[32];

	if (argc < 2) {
		fprintf(stderr, "usage: clone_bench DIR [PACKAGES [FILES "
		                "[ROUNDS]]]\n");
		return 2;
	}
	check(store_create(argv[1], &params), argv[1]);
	check(store_open(argv[1], &options, &store), argv[1]);
	check(forest_create(store, 1000, 1000, 0755), argv[1]);
	check(forest_open(store, &forest), argv[1]);
	check(fs_create(forest, &fs_options, &fs), argv[1]);
	main = make(fs, NODE_ROOT, "main@bench", S_IFDIR | 0755);
	from = make(fs, main, "node_modules", S_IFDIR | 0755);
	for (int i = 0; i < packages; i++)
		package_make(from, i, files, &random);
	check(store_sync(store), "sync");
	for (int i = 0; i < rounds; i++) {
		snprintf(name, sizeof(name), "copy-%d", i);
		clone_time(store, from, main, name, "inside");
	}
	clone_time(store, from,
	           make(fs, NODE_ROOT, "main@other", S_IFDIR | 0755), "copy",
	           "across");
	fs_destroy(fs);
	forest_close(forest);
	check(store_close(store), "close");
	return 0;
}
