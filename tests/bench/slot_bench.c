/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The slot workload, straight into the engine: 20,000 random overwrites of
 * 1,000 bytes among 100,000 files, then a snapshot, then all of it durable;
 * again and again.  No kernel in between.
 *
 *   slot_bench STORE [SLOTS [FILES [UPDATES [KEEP]]]]
 *
 * KEEP is how many snapshots are kept; older ones are deleted as it goes.
 * Prints a line of JSON a slot: milliseconds for writing, for the snapshot, for
 * the commit, and the store's size.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "fs.h"
#include "util.h"

enum { FILES_A_DIRECTORY = 1000, RECORD = 1000 };

static uint64_t random_next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static void check(int r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "slot_bench: %s: %s\n", what, strerror(-r));
	exit(1);
}

/* Bytes that compress as little as hashes and balances do. */
static void record_fill(uint8_t *record, uint64_t *random)
{
	for (int i = 0; i < RECORD; i += 8) {
		uint64_t word = random_next(random);

		memcpy(record + i, &word, 8);
	}
}

static node_t *files_make(struct fs *fs, node_t root, int files)
{
	struct fs_cred cred = { .umask = 022 };
	node_t *nodes = calloc((size_t)files, sizeof(*nodes));
	struct fs_entry directory = { 0 }, entry;
	uint8_t record[RECORD];
	uint64_t random = 1;
	char name[32];

	for (int i = 0; i < files; i++) {
		if (i % FILES_A_DIRECTORY == 0) {
			snprintf(name, sizeof(name), "d%d",
				 i / FILES_A_DIRECTORY);
			check(fs_make(fs, root, name, S_IFDIR | 0755, 0, NULL,
				      &cred, &directory),
			      "mkdir");
		}
		snprintf(name, sizeof(name), "f%d", i);
		check(fs_make(fs, directory.node, name, S_IFREG | 0644, 0,
			      NULL, &cred, &entry),
		      "create");
		record_fill(record, &random);
		check(fs_write(fs, entry.node, 0, record, RECORD, 0), "write");
		nodes[i] = entry.node;
	}
	return nodes;
}

static double since(int64_t *start)
{
	int64_t now = mono_ns(), was = *start;

	*start = now;
	return (double)(now - was) / 1e6;
}

static void slot_run(struct fs *fs, node_t snapdir, const node_t *nodes,
		     int files, int updates, int slot, int keep)
{
	struct store *store = forest_store(fs_forest(fs));
	struct fs_cred cred = { .umask = 022 };
	uint64_t random = (uint64_t)slot + 2;
	uint8_t record[RECORD];
	struct store_stats stats;
	struct fs_entry entry;
	int64_t clock = mono_ns();
	double write, snapshot, commit;
	char name[32];

	for (int i = 0; i < updates; i++) {
		record_fill(record, &random);
		check(fs_write(fs,
			       nodes[random_next(&random) % (uint64_t)files],
			       0, record, RECORD, 0),
		      "overwrite");
	}
	write = since(&clock);
	snprintf(name, sizeof(name), "s%d", slot);
	check(fs_make(fs, snapdir, name, S_IFDIR | 0755, 0, NULL, &cred,
		      &entry),
	      "snapshot");
	snapshot = since(&clock);
	check(store_sync(store), "sync");
	commit = since(&clock);
	if (slot >= keep) {
		snprintf(name, sizeof(name), "s%d", slot - keep);
		check(fs_rmdir(fs, snapdir, name), "rmdir");
	}
	store_stats(store, &stats);
	printf("{\"slot\": %d, \"write_ms\": %.1f, \"snapshot_ms\": %.3f, "
	       "\"commit_ms\": %.1f, \"total_ms\": %.1f, \"file_mb\": %.1f, "
	       "\"free_mb\": %.1f}\n",
	       slot, write, snapshot, commit, write + snapshot + commit,
	       (double)stats.file_bytes / 1e6, (double)stats.free_bytes / 1e6);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int slots = argc > 2 ? atoi(argv[2]) : 10;
	int files = argc > 3 ? atoi(argv[3]) : 100000;
	int updates = argc > 4 ? atoi(argv[4]) : 20000;
	int keep = argc > 5 ? atoi(argv[5]) : slots;
	struct forest *forest;
	struct state *state;
	struct store *store;
	node_t *nodes, root, snapdir;
	struct fs *fs;
	int64_t clock;

	if (argc < 2) {
		fprintf(stderr, "usage: slot_bench STORE [SLOTS [FILES "
				"[UPDATES [KEEP]]]]\n");
		return 2;
	}
	check(store_create(argv[1], NULL), "init");
	check(store_open(argv[1], NULL, &store), "open");
	check(forest_create(store, 0, 0, 0755), "init");
	check(forest_open(store, &forest), "open");
	check(fs_create(forest, &(struct fs_options){ 0 }, &fs), "open");
	store_lock(store);
	check(state_find(forest, 0, "main", &state), "main");
	root = NODE(state->number, INO_ROOT);
	snapdir = NODE(state->number, INO_SNAPDIR);
	store_unlock(store);
	clock = mono_ns();
	nodes = files_make(fs, root, files);
	check(store_sync(store), "sync");
	printf("{\"files\": %d, \"make_ms\": %.1f}\n", files, since(&clock));
	for (int slot = 0; slot < slots; slot++)
		slot_run(fs, snapdir, nodes, files, updates, slot, keep);
	free(nodes);
	fs_destroy(fs);
	forest_close(forest);
	check(store_close(store), "close");
	return 0;
}
