/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The slot workload through libcoppice: each slot is one durable batch that
 * overwrites records at random keys and ends in a snapshot.  Then reads, forks
 * and snapshots of it.
 *
 *   lib_bench [-b] STORE FILES UPDATES FILLER ROUNDS AT...
 *
 * Each measured slot begins when the one before is committed; -b: at once.
 *
 * Prints a line of JSON a measured slot (milliseconds of filling the batch and
 * of the batch's commit, then the processor time of all up to the store's and
 * the bytes that its use has grown by; -b: so far), and one for each kind of
 * small operation.  See bench.h.
 */
#include <stdbool.h>
#include <sys/resource.h>

#include "bench.h"
#include "coppice.h"

enum { READS = 200000, SMALL = 2000, OLD = 20 };

struct bench {
	struct coppice *store;
	struct coppice_state *main;
	struct coppice_batch *batch;
	struct slot_plan plan;
	bool at_once;
};

static void check(ssize_t r, const char *what)
{
	if (r >= 0)
		return;
	fprintf(stderr, "lib_bench: %s: %s\n", what, coppice_error());
	exit(1);
}

static double cpu_ms(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

static void key_of(char key[32], uint64_t n)
{
	snprintf(key, 32, "d%03d/k%llu", (int)(n % 100), (unsigned long long)n);
}

static void record_put(struct bench *self, uint64_t n, uint64_t *random)
{
	uint8_t record[SLOT_RECORD];
	char key[32];

	random_fill(record, sizeof(record), random);
	key_of(key, n);
	check(coppice_batch_put(self->batch, self->main, key, record,
	                        sizeof(record), COPPICE_PARENTS),
	      "put");
}

static uint64_t used(struct bench *self)
{
	struct coppice_stats stats = {.size = sizeof(stats)};

	check(coppice_stats(self->store, &stats), "stats");
	return stats.used_bytes;
}

static void settle(struct bench *self)
{
	if (!self->at_once)
		check(coppice_sync(self->store), "sync");
}

static void slot_run(struct bench *self, int slot)
{
	int at = slot_plan_at(&self->plan, slot);
	int updates = at ? self->plan.updates : self->plan.filler;
	uint64_t random = (uint64_t)slot + 2, before = 0;
	double fill, commit, cpu = 0;
	int64_t clock;
	char name[32];

	if (at) {
		settle(self);
		before = used(self);
		cpu = cpu_ms();
	}
	clock = clock_ns();
	for (int i = 0; i < updates; i++)
		record_put(self,
		           random_next(&random) % (uint64_t)self->plan.files,
		           &random);
	fill = clock_lap(&clock);
	snprintf(name, sizeof(name), "s%d", slot);
	check(coppice_batch_commit(self->batch, at ? COPPICE_DURABLE : 0, name),
	      "commit");
	commit = clock_lap(&clock);
	if (!at)
		return;
	settle(self);
	printf("{\"slot\": %d, \"at\": %d, \"fill_ms\": %.1f, "
	       "\"commit_ms\": %.1f, \"cpu_ms\": %.1f, \"mb\": %.1f}\n",
	       slot, at, fill, commit, cpu_ms() - cpu,
	       ((double)used(self) - (double)before) / 1e6);
	fflush(stdout);
}

/* Read random records of a state; return the nanoseconds of each. */
static void reads_run(struct bench *self, struct coppice_state *state,
                      const char *what)
{
	uint64_t random = 7;
	uint8_t record[SLOT_RECORD];
	double ms, cpu = cpu_ms();
	int64_t clock = clock_ns();
	char key[32];

	for (int i = 0; i < READS; i++) {
		key_of(key, random_next(&random) % (uint64_t)self->plan.files);
		check(coppice_get(state, key, 0, record, sizeof(record)),
		      "get");
	}
	ms = clock_lap(&clock);
	printf("{\"reads\": \"%s\", \"per_s\": %.0f, \"per_cpu_s\": %.0f}\n",
	       what, READS / ms * 1e3, READS / (cpu_ms() - cpu) * 1e3);
	fflush(stdout);
}

static void old_read(struct bench *self)
{
	struct coppice_state *state;
	struct sample opens = {0};
	uint64_t random = 9;
	char name[32];

	for (int i = 0; i < OLD; i++) {
		uint64_t slot = random_next(&random) %
		                (uint64_t)slot_plan_last(&self->plan);
		int64_t start = clock_ns();

		snprintf(name, sizeof(name), "main~s%d", (int)slot + 1);
		check(coppice_state_open(self->store, name, &state), "open");
		sample_add(&opens, clock_ns() - start);
		if (i % (OLD / 2) == 0)
			reads_run(self, state, "old slot");
		if (i % (OLD / 2) == 0)
			reads_run(self, state, "old slot again");
		coppice_state_close(state);
	}
	sample_print(&opens, "open");
}

static void states_make(struct bench *self)
{
	struct sample forks = {0}, snapshots = {0};
	char name[32];

	for (int i = 0; i < SMALL; i++) {
		int64_t start = clock_ns();

		snprintf(name, sizeof(name), "fork%d", i);
		check(coppice_fork(self->store, "main~s1", name, 0, NULL),
		      "fork");
		sample_add(&forks, clock_ns() - start);
		snprintf(name, sizeof(name), "snap%d", i);
		start = clock_ns();
		check(coppice_snapshot(self->store, "main", name), "snapshot");
		sample_add(&snapshots, clock_ns() - start);
	}
	sample_print(&forks, "fork");
	sample_print(&snapshots, "snapshot");
}

int main(int argc, char **argv)
{
	struct bench self = {0};
	uint64_t random = 1;

	if (argc > 1 && !strcmp(argv[1], "-b")) {
		self.at_once = true;
		argc--;
		argv++;
	}
	if (argc < 2 || !slot_plan_parse(&self.plan, argc - 2, argv + 2)) {
		fprintf(stderr, "usage: lib_bench [-b] STORE FILES UPDATES "
		                "FILLER ROUNDS AT...\n");
		return 2;
	}
	check(coppice_open(argv[1], COPPICE_CREATE, NULL, &self.store), "open");
	check(coppice_state_open(self.store, "main", &self.main), "main");
	check(coppice_batch_new(self.store, &self.batch), "batch");
	for (int i = 0; i < self.plan.files; i++)
		record_put(&self, (uint64_t)i, &random);
	check(coppice_batch_commit(self.batch, COPPICE_DURABLE, "genesis"),
	      "commit");
	for (int slot = 1; slot <= slot_plan_last(&self.plan); slot++)
		slot_run(&self, slot);
	reads_run(&self, self.main, "newest");
	reads_run(&self, self.main, "newest again");
	old_read(&self);
	states_make(&self);
	coppice_batch_discard(self.batch);
	coppice_state_close(self.main);
	check(coppice_close(self.store), "close");
	return 0;
}
