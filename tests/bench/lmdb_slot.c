/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The slot workload in plain LMDB, which has no snapshots: what one transaction
 * and one read cost below everything that Coppice adds.
 *
 *   lmdb_slot DIR FILES UPDATES FILLER ROUNDS AT...
 *
 * Prints a line of JSON a measured slot, and one for the reads.  See bench.h.
 */
#include <lmdb.h>
#include <sys/stat.h>

#include "bench.h"

enum { READS = 200000 };

struct bench {
	struct slot_plan plan;
	MDB_env *env;
	MDB_dbi dbi;
};

static void check(int r, const char *what)
{
	if (!r)
		return;
	fprintf(stderr, "lmdb_slot: %s: %s\n", what, mdb_strerror(r));
	exit(1);
}

static void slot_run(struct bench *self, int slot, int updates, int at)
{
	uint64_t random = (uint64_t)slot + 2;
	char record[SLOT_RECORD];
	double write;
	int64_t clock = clock_ns();
	MDB_txn *txn;

	check(mdb_txn_begin(self->env, NULL, 0, &txn), "begin");
	for (int i = 0; i < updates; i++) {
		uint64_t n =
		        slot ? random_next(&random) % (uint64_t)self->plan.files
		             : (uint64_t)i;
		MDB_val key = {sizeof(n), &n}, value = {SLOT_RECORD, record};

		random_fill(record, sizeof(record), &random);
		check(mdb_put(txn, self->dbi, &key, &value, 0), "put");
	}
	write = clock_lap(&clock);
	check(mdb_txn_commit(txn), "commit");
	if (at)
		slot_print(slot, at, write, 0, clock_lap(&clock));
}

static void reads_run(struct bench *self)
{
	uint64_t random = 7;
	char record[SLOT_RECORD];
	int64_t clock = clock_ns();
	MDB_txn *txn;

	check(mdb_txn_begin(self->env, NULL, MDB_RDONLY, &txn), "begin");
	for (int i = 0; i < READS; i++) {
		uint64_t n = random_next(&random) % (uint64_t)self->plan.files;
		MDB_val key = {sizeof(n), &n}, value;

		check(mdb_get(txn, self->dbi, &key, &value), "get");
		memcpy(record, value.mv_data, sizeof(record));
		mdb_txn_reset(txn);
		check(mdb_txn_renew(txn), "renew");
	}
	mdb_txn_abort(txn);
	printf("{\"reads\": \"newest\", \"per_s\": %.0f}\n",
	       READS / clock_lap(&clock) * 1e3);
}

int main(int argc, char **argv)
{
	struct bench self = {0};
	MDB_txn *txn;

	if (argc < 2 || !slot_plan_parse(&self.plan, argc - 2, argv + 2)) {
		fprintf(stderr, "usage: lmdb_slot DIR FILES UPDATES FILLER "
		                "ROUNDS AT...\n");
		return 2;
	}
	if (mkdir(argv[1], 0755) && errno != EEXIST) {
		perror(argv[1]);
		return 1;
	}
	check(mdb_env_create(&self.env), "create");
	check(mdb_env_set_mapsize(self.env, (size_t)1 << 36), "map");
	check(mdb_env_open(self.env, argv[1], 0, 0644), "open");
	check(mdb_txn_begin(self.env, NULL, 0, &txn), "begin");
	check(mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &self.dbi), "table");
	check(mdb_txn_commit(txn), "commit");
	slot_run(&self, 0, self.plan.files, 0);
	for (int slot = 1; slot <= slot_plan_last(&self.plan); slot++) {
		int at = slot_plan_at(&self.plan, slot);

		slot_run(&self, slot, at ? self.plan.updates : self.plan.filler,
		         at);
	}
	reads_run(&self);
	mdb_env_close(self.env);
	return 0;
}
