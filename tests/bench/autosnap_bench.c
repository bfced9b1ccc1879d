/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Snapshots by time, as the daemon makes and expires them, without a kernel in
 * between: random overwrites of 1,000 bytes among FILES files, then the work of
 * one interval of -o autosnap with keep=last:KEEP, then all of it durable;
 * again and again, as fast as it goes.
 *
 *   autosnap_bench STORE SLOTS KEEP [FILES [UPDATES [STEP]]]
 *
 * Prints a line of JSON for each STEP slots: the mean milliseconds of a slot
 * for writing, for the snapshot with what expires, and for the commit; the
 * longest slot; how long it takes to read a file of a random snapshot and to
 * fork one; the snapshots that there are, the versions still to be freed, and
 * the size of the store.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "autosnap.h"
#include "fs_bench.h"
#include "session.h"
#include "util.h"

enum { RECORD = SLOT_RECORD };

struct bench {
	struct fs *fs;
	struct store *store;
	struct forest *forest;
	struct mounts mounts;
	struct autosnap *autosnap;
	struct autosnap_rule rule;
	uint64_t fork;
	node_t root, *nodes;
	int slots, files, updates, step;
	uint64_t random;
};

/* Sums of a step, in milliseconds. */
struct sums {
	double write, snapshot, commit, longest;
};

static int work_begin(void *arg)
{
	(void)arg;
	return 0;
}

static void work_end(void *arg)
{
	(void)arg;
}

static void bench_open(struct bench *self, const char *path)
{
	struct autosnap_options options = {
	        .mounts = &self->mounts, .begin = work_begin, .end = work_end};
	struct state *state;

	check(store_create(path, NULL), "init");
	check(store_open(path, NULL, &self->store), "open");
	check(forest_create(self->store, 0, 0, 0755), "init");
	check(forest_open(self->store, &self->forest), "open");
	check(fs_create(self->forest, &(struct fs_options){0}, &self->fs),
	      "open");
	check(mounts_init(&self->mounts, self->fs, NULL, NULL), "mounts");
	options.fs = self->fs;
	check(autosnap_create(&options, &self->autosnap), "autosnap");
	store_lock(self->store);
	check(state_find(self->forest, 0, "main", &state), "main");
	self->fork = self->rule.state = state->number;
	self->root = NODE(state->number, INO_ROOT);
	store_unlock(self->store);
}

static void bench_close(struct bench *self)
{
	free(self->nodes);
	autosnap_destroy(self->autosnap);
	mounts_release(&self->mounts);
	fs_destroy(self->fs);
	forest_close(self->forest);
	check(store_close(self->store), "close");
}

static void slot_run(struct bench *self, struct sums *sums)
{
	int64_t clock = clock_ns();
	double write, snapshot, commit;
	uint8_t record[RECORD];

	for (int i = 0; i < self->updates; i++) {
		uint64_t n = random_next(&self->random) % (uint64_t)self->files;

		random_fill(record, RECORD, &self->random);
		check(fs_write(self->fs, self->nodes[n], 0, record, RECORD, 0),
		      "overwrite");
	}
	write = clock_lap(&clock);
	check(autosnap_run(self->autosnap, &self->rule), "autosnap");
	snapshot = clock_lap(&clock);
	check(store_sync(self->store), "sync");
	commit = clock_lap(&clock);
	sums->write += write;
	sums->snapshot += snapshot;
	sums->commit += commit;
	sums->longest = MAX(sums->longest, write + snapshot + commit);
}

/* Read a file of a random snapshot, and fork another one.  Milliseconds. */
static void snapshots_use(struct bench *self, uint64_t count, double *ret_read,
                          double *ret_fork)
{
	const struct fs_cred cred = {0};
	char name[64];
	struct state *s, *fork;
	struct fs_entry entry;
	node_t root;
	int64_t clock;

	snprintf(name, sizeof(name), "main~%llu",
	         (unsigned long long)(1 + random_next(&self->random) % count));
	store_lock(self->store);
	check(state_resolve(self->forest, name, &s), name);
	root = NODE(s->number, INO_ROOT);
	store_unlock(self->store);
	clock = clock_ns();
	check(fs_lookup(self->fs, root, "d0", SNAPDIR_HIDDEN, &entry), "d0");
	check(fs_lookup(self->fs, entry.node, "f7", SNAPDIR_HIDDEN, &entry),
	      "f7");
	*ret_read = clock_lap(&clock);
	store_lock(self->store);
	check(state_resolve(self->forest, name, &s), name);
	check(fs_state_fork(self->fs, s, "fork", 0755, &cred, &fork), "fork");
	store_unlock(self->store);
	*ret_fork = clock_lap(&clock);
	store_lock(self->store);
	check(state_find(self->forest, 0, "fork", &fork), "fork");
	check(fs_state_delete(self->fs, fork, false), "delete");
	store_unlock(self->store);
}

static void step_report(struct bench *self, int slot, const struct sums *sums)
{
	double n = self->step, read, fork_ms;
	struct store_stats stats;
	struct state *state;
	uint64_t count, backlog;

	store_lock(self->store);
	check(state_get(self->forest, self->fork, &state), "main");
	count = state->snapshots;
	backlog = forest_backlog(self->forest);
	store_unlock(self->store);
	snapshots_use(self, count, &read, &fork_ms);
	store_stats(self->store, &stats);
	printf("{\"slot\": %d, \"snapshots\": %llu, \"write_ms\": %.2f, "
	       "\"snapshot_ms\": %.3f, \"sync_ms\": %.2f, "
	       "\"total_ms\": %.2f, \"longest_ms\": %.1f, "
	       "\"look_ms\": %.3f, \"fork_ms\": %.3f, \"backlog\": %llu, "
	       "\"file_mb\": %.0f, \"free_mb\": %.0f}\n",
	       slot, (unsigned long long)count, sums->write / n,
	       sums->snapshot / n, sums->commit / n,
	       (sums->write + sums->snapshot + sums->commit) / n, sums->longest,
	       read, fork_ms, (unsigned long long)backlog,
	       (double)stats.file_bytes / 1e6, (double)stats.free_bytes / 1e6);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct bench self = {.random = 2};
	struct sums sums = {0};

	if (argc < 4 || atoi(argv[2]) <= 0 || atoi(argv[3]) <= 0) {
		fprintf(stderr, "usage: autosnap_bench STORE SLOTS KEEP [FILES "
		                "[UPDATES [STEP]]]\n");
		return 2;
	}
	self.slots = atoi(argv[2]);
	self.rule.keep.keep[RETENTION_LAST] = (uint64_t)atoi(argv[3]);
	self.files = argc > 4 ? atoi(argv[4]) : 100000;
	self.updates = argc > 5 ? atoi(argv[5]) : 200;
	self.step = argc > 6 ? atoi(argv[6]) : 1000;
	bench_open(&self, argv[1]);
	self.nodes = files_make(self.fs, self.root, self.files);
	check(store_sync(self.store), "sync");
	for (int slot = 1; slot <= self.slots; slot++) {
		slot_run(&self, &sums);
		if (slot % self.step)
			continue;
		step_report(&self, slot, &sums);
		sums = (struct sums){0};
	}
	bench_close(&self);
	return 0;
}
