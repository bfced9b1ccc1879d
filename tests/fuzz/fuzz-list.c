/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The runs of a deadlist.  The input is records of the database: a byte with
 * the length of the key, one with that of the value (times 16), then both.  All
 * jobs are done on what that gives, in a transaction that comes to nothing.
 */
#include <unistd.h>

#include "engine.h"
#include "list.h"
#include "fuzz.h"
#include "scratch.h"

static struct scratch scratch;
static struct store *store;

static void at_end(void)
{
	store_close(store);
	scratch_release(&scratch);
}

static void begin(void)
{
	fuzz_quiet();
	scratch_init(&scratch);
	fuzz_assert(!store_create(scratch.store, NULL));
	fuzz_assert(!store_open(scratch.store, NULL, &store));
	atexit(at_end);
}

static void fill(MDB_txn *txn, const uint8_t *data, size_t len)
{
	while (len > 2) {
		size_t key_len = data[0] % 25, value_len = data[1] * 16;
		MDB_val key, value;

		data += 2;
		len -= 2;
		key_len = MIN(key_len, len);
		value_len = MIN(value_len, len - key_len);
		key = (MDB_val){key_len, (void *)data};
		value = (MDB_val){value_len, (void *)(data + key_len)};
		if (key_len)
			fuzz_assert(!mdb_put(txn, store->disk.lists, &key,
			                     &value, 0));
		data += key_len + value_len;
		len -= key_len + value_len;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const enum list_job_kind kinds[] = {LIST_FREE_ABOVE, LIST_MOVE,
	                                           LIST_DROP};
	MDB_txn *txn;

	if (!store)
		begin();
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct list_job job = {.kind = kinds[i],
		                       .list = 1,
		                       .other = 2,
		                       .budget = 1000};
		struct accounting accounting = {0};

		fuzz_assert(!disk_write_begin(&store->disk, &txn));
		fill(txn, data, len);
		if (!list_commit_job(store, txn, &job, &accounting))
			accounting_apply(store, txn, &accounting);
		accounting_release(&accounting);
		mdb_txn_abort(txn);
	}
	return 0;
}
