/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The slot workload, straight into the engine: 20,000 random overwrites of
 * 1,000 bytes among 100,000 files, then a snapshot, then all of it durable;
 * again and again.  No kernel in between.
 *
 *   slot_bench STORE [SLOTS [FILES [UPDATES [KEEP [FILLER ROUNDS AT...]]]]]
 *
 * KEEP is how many snapshots are kept; older ones are deleted as it goes.  With
 * FILLER only the slots that bench.h's plan has are whole, and there are as
 * many slots as it needs.  Prints a line of JSON a slot: milliseconds for
 * writing, for the snapshot, for the commit, and the store's size.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "fs_bench.h"
#include "util.h"

enum { RECORD = SLOT_RECORD };

struct bench {
	struct fs *fs;
	struct store *store;
	node_t root, snapdir, *nodes;
	struct slot_plan plan;
	int keep;
};

static void bench_open(struct bench *self, const char *path)
{
	struct forest *forest;
	struct state *state;

	check(store_create(path, NULL), "init");
	check(store_open(path, NULL, &self->store), "open");
	check(forest_create(self->store, 0, 0, 0755), "init");
	check(forest_open(self->store, &forest), "open");
	check(fs_create(forest, &(struct fs_options){0}, &self->fs), "open");
	store_lock(self->store);
	check(state_find(forest, 0, "main", &state), "main");
	self->root = NODE(state->number, INO_ROOT);
	self->snapdir = NODE(state->number, INO_SNAPDIR);
	store_unlock(self->store);
}

static void bench_close(struct bench *self)
{
	struct forest *forest = fs_forest(self->fs);

	free(self->nodes);
	fs_destroy(self->fs);
	forest_close(forest);
	check(store_close(self->store), "close");
}

static void slot_report(struct bench *self, int slot, double write,
                        double snapshot, double commit)
{
	struct store_stats stats;

	store_stats(self->store, &stats);
	printf("{\"slot\": %d, \"at\": %d, \"write_ms\": %.1f, "
	       "\"snapshot_ms\": %.3f, \"sync_ms\": %.1f, "
	       "\"total_ms\": %.1f, \"file_mb\": %.1f, \"free_mb\": %.1f}\n",
	       slot, slot_plan_at(&self->plan, slot), write, snapshot, commit,
	       write + snapshot + commit, (double)stats.file_bytes / 1e6,
	       (double)stats.free_bytes / 1e6);
	fflush(stdout);
}

static void slot_run(struct bench *self, int slot)
{
	int at = slot_plan_at(&self->plan, slot);
	int updates = at ? self->plan.updates : self->plan.filler;
	struct fs_cred cred = {.umask = 022};
	uint64_t random = (uint64_t)slot + 2;
	struct fs_entry entry;
	uint8_t record[RECORD];
	double write, snapshot;
	int64_t clock;
	char name[32];

	if (at)
		check(store_sync(self->store), "sync");
	clock = clock_ns();
	for (int i = 0; i < updates; i++) {
		uint64_t n = random_next(&random) % (uint64_t)self->plan.files;

		random_fill(record, RECORD, &random);
		check(fs_write(self->fs, self->nodes[n], 0, record, RECORD, 0),
		      "overwrite");
	}
	write = clock_lap(&clock);
	snprintf(name, sizeof(name), "s%d", slot);
	check(fs_make(self->fs, self->snapdir, name, S_IFDIR | 0755, 0, NULL,
	              &cred, &entry),
	      "snapshot");
	snapshot = clock_lap(&clock);
	if (at) {
		check(store_sync(self->store), "sync");
		slot_report(self, slot, write, snapshot, clock_lap(&clock));
	}
	if (slot > self->keep) {
		snprintf(name, sizeof(name), "s%d", slot - self->keep);
		check(fs_rmdir(self->fs, self->snapdir, name), "rmdir");
	}
}

/* Without a plan every slot is whole. */
static bool arguments_parse(struct bench *self, int argc, char **argv)
{
	int slots = argc > 2 ? atoi(argv[2]) : 10;

	self->plan = (struct slot_plan){
	        .files = argc > 3 ? atoi(argv[3]) : 100000,
	        .updates = argc > 4 ? atoi(argv[4]) : 20000,
	        .rounds = slots,
	        .at = {1},
	        .at_count = 1,
	};
	self->keep = argc > 5 ? atoi(argv[5]) : slots;
	if (argc <= 6)
		return argc > 1 && slots > 0;
	if (argc < 9 || argc > 8 + SLOT_AT_MAX)
		return false;
	self->plan.filler = atoi(argv[6]);
	self->plan.rounds = atoi(argv[7]);
	self->plan.at_count = argc - 8;
	for (int i = 8; i < argc; i++)
		self->plan.at[i - 8] = atoi(argv[i]);
	return true;
}

int main(int argc, char **argv)
{
	struct bench self = {0};
	int64_t clock;

	if (!arguments_parse(&self, argc, argv)) {
		fprintf(stderr,
		        "usage: slot_bench STORE [SLOTS [FILES [UPDATES "
		        "[KEEP [FILLER ROUNDS AT...]]]]]\n");
		return 2;
	}
	bench_open(&self, argv[1]);
	clock = clock_ns();
	self.nodes = files_make(self.fs, self.root, self.plan.files);
	check(store_sync(self.store), "sync");
	printf("{\"files\": %d, \"make_ms\": %.1f}\n", self.plan.files,
	       clock_lap(&clock));
	for (int slot = 1; slot <= slot_plan_last(&self.plan); slot++)
		slot_run(&self, slot);
	bench_close(&self);
	return 0;
}
