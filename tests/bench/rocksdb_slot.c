/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The slot workload in RocksDB: the same records under 8-byte keys, and a
 * checkpoint where a file system has its snapshot.
 *
 *   rocksdb_slot DIR FILES UPDATES FILLER ROUNDS AT...
 *
 * Writes go in batches of 1,000 and past the log, which is the fastest way; the
 * checkpoint writes the table of recent changes out and syncs it, so that what
 * is in it is durable.  See bench.h.
 */
#include <rocksdb/c.h>
#include <sys/stat.h>

#include "bench.h"

enum { BATCH = 1000 };

struct bench {
	struct slot_plan plan;
	const char *dir;
	rocksdb_t *db;
	rocksdb_writeoptions_t *unlogged;
	rocksdb_writebatch_t *batch;
	int pending;
};

static void check(char *error, const char *what)
{
	if (!error)
		return;
	fprintf(stderr, "rocksdb_slot: %s: %s\n", what, error);
	exit(1);
}

static void batch_write(struct bench *self)
{
	char *error = NULL;

	rocksdb_write(self->db, self->unlogged, self->batch, &error);
	check(error, "write");
	rocksdb_writebatch_clear(self->batch);
	self->pending = 0;
}

static void record_write(struct bench *self, uint64_t n, uint64_t *random)
{
	char record[SLOT_RECORD], key[8];

	random_fill(record, sizeof(record), random);
	for (int i = 0; i < 8; i++)
		key[i] = (char)(n >> (56 - 8 * i));
	rocksdb_writebatch_put(self->batch, key, sizeof(key), record,
	                       sizeof(record));
	if (++self->pending == BATCH)
		batch_write(self);
}

static void checkpoint_make(struct bench *self, int slot)
{
	rocksdb_checkpoint_t *checkpoint;
	char *error = NULL, path[4096];

	checkpoint = rocksdb_checkpoint_object_create(self->db, &error);
	check(error, "checkpoint");
	snprintf(path, sizeof(path), "%s/s%d", self->dir, slot);
	rocksdb_checkpoint_create(checkpoint, path, 0, &error);
	check(error, path);
	rocksdb_checkpoint_object_destroy(checkpoint);
}

static void slot_run(struct bench *self, int slot)
{
	int at = slot_plan_at(&self->plan, slot);
	int updates = at ? self->plan.updates : self->plan.filler;
	uint64_t random = (uint64_t)slot + 2;
	int64_t clock = clock_ns();
	double write, snapshot;

	for (int i = 0; i < updates; i++) {
		uint64_t n = random_next(&random) % (uint64_t)self->plan.files;

		record_write(self, n, &random);
	}
	batch_write(self);
	write = clock_lap(&clock);
	checkpoint_make(self, slot);
	snapshot = clock_lap(&clock);
	if (at)
		slot_print(slot, at, write, snapshot, 0);
}

static void database_open(struct bench *self)
{
	rocksdb_options_t *options = rocksdb_options_create();
	char *error = NULL, path[4096];

	if (mkdir(self->dir, 0755) && errno != EEXIST) {
		perror(self->dir);
		exit(1);
	}
	rocksdb_options_set_create_if_missing(options, 1);
	rocksdb_options_increase_parallelism(options, 2);
	snprintf(path, sizeof(path), "%s/db", self->dir);
	self->db = rocksdb_open(options, path, &error);
	check(error, path);
	rocksdb_options_destroy(options);
	self->unlogged = rocksdb_writeoptions_create();
	rocksdb_writeoptions_disable_WAL(self->unlogged, 1);
	self->batch = rocksdb_writebatch_create();
}

int main(int argc, char **argv)
{
	struct bench self = {0};
	uint64_t random = 1;

	if (argc < 2 || !slot_plan_parse(&self.plan, argc - 2, argv + 2)) {
		fprintf(stderr, "usage: rocksdb_slot DIR FILES UPDATES FILLER "
		                "ROUNDS AT...\n");
		return 2;
	}
	self.dir = argv[1];
	database_open(&self);
	for (int i = 0; i < self.plan.files; i++)
		record_write(&self, (uint64_t)i, &random);
	batch_write(&self);
	for (int slot = 1; slot <= slot_plan_last(&self.plan); slot++)
		slot_run(&self, slot);
	rocksdb_writebatch_destroy(self.batch);
	rocksdb_writeoptions_destroy(self.unlogged);
	rocksdb_close(self.db);
	return 0;
}
