/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The intent log: what makes changes durable without a commit, and what a
 * crash leaves of them.  A crash is a copy of the files of a store in use.
 * Power cuts in the middle of writes are in tests/crash/test_crash.c.
 */
#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "engine.h"
#include "store_fixture.h"

static char crashed[100]; /* the path of the copy */
static const char *const files[] = {"data.mdb", "log"};

struct answer {
	sem_t done;
	int err;
};

static void on_durable(void *arg, int err)
{
	struct answer *answer = arg;

	answer->err = err;
	sem_post(&answer->done);
}

static int sync_by_log(struct store *store)
{
	struct answer answer = {.err = -EINPROGRESS};

	sem_init(&answer.done, 0, 0);
	store_fsync(store, on_durable, &answer);
	while (sem_wait(&answer.done))
		;
	sem_destroy(&answer.done);
	return answer.err;
}

static void put(struct store *store, const char *key, uint8_t value)
{
	store_lock(store);
	assert_int_equal(
	        table_put(store, TABLE_NAME, key, strlen(key), &value, 1), 0);
	store_unlock(store);
}

/* Return the value, or -1. */
static int get(struct store *store, const char *key)
{
	struct record record;
	int r;

	store_lock(store);
	r = table_get(store, TABLE_NAME, key, strlen(key), &record);
	store_unlock(store);
	assert_true(r == 0 || r == -ENOENT);
	return r == 0 ? record.value[0] : -1;
}

static struct store_stats stats_of(struct store *store)
{
	struct store_stats stats;

	store_stats(store, &stats);
	return stats;
}

static void file_copy(const char *from, const char *to)
{
	char bytes[65536];
	int in = open(from, O_RDONLY | O_CLOEXEC),
	    out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n;

	assert_true(in >= 0 && out >= 0);
	while ((n = read(in, bytes, sizeof(bytes))) > 0)
		assert_int_equal(write(out, bytes, (size_t)n), n);
	close(in);
	close(out);
}

static void one_copy(const char *from, const char *to, const char *name)
{
	char in[200], out[200];

	snprintf(in, sizeof(in), "%s/%s", from, name);
	snprintf(out, sizeof(out), "%s/%s", to, name);
	file_copy(in, out);
}

/* Copy the files of the store as they are. */
static void crash(const struct scratch *scratch)
{
	snprintf(crashed, sizeof(crashed), "%s/crashed", scratch->dir);
	assert_true(!mkdir(crashed, 0700) || errno == EEXIST);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		one_copy(scratch->store, crashed, files[i]);
}

static bool exists(const char *path, const char *name)
{
	char file[200];

	snprintf(file, sizeof(file), "%s/%s", path, name);
	return !access(file, F_OK);
}

/* Change a byte of the copied log. */
static void log_damage(off_t at)
{
	char file[200];
	uint8_t byte;
	int fd;

	snprintf(file, sizeof(file), "%s/log", crashed);
	fd = open(file, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	close(fd);
}

/* A store that uses its log, and whose commits are those that are asked for. */
static struct store *logged_store(struct scratch *scratch)
{
	struct store_options options = {.commit_ms = 1000000};
	struct store *store;

	scratch_init(scratch);
	assert_int_equal(store_create(scratch->store, NULL), 0);
	assert_int_equal(store_open(scratch->store, &options, &store), 0);
	put(store, "first", 1);
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(stats_of(store).logged, 0);
	assert_int_equal(stats_of(store).commits, 1);
	return store;
}

static void end(struct store *store, struct scratch *scratch)
{
	assert_int_equal(store_close(store), 0);
	scratch_release(scratch);
}

/* An entry for each fsync that has something to be written, and no commit. */
static void test_entries(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch);

	for (uint8_t i = 1; i <= 5; i++) {
		put(store, "key", i);
		assert_int_equal(sync_by_log(store), 0);
		assert_int_equal(stats_of(store).logged, i);
	}
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(stats_of(store).logged, 5);
	assert_int_equal(stats_of(store).commits, 1);
	assert_int_equal(store_sync(store), 0);
	assert_int_equal(stats_of(store).commits, 2);
	end(store, &scratch);
}

/* The file and the feature are there as long as the store is in use. */
static void test_clean_close(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch);

	assert_true(exists(scratch.store, "log"));
	assert_true(store_has_feature(store, STORE_FEATURE_LOG));
	put(store, "key", 7);
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(store_close(store), 0);
	assert_false(exists(scratch.store, "log"));
	store = open_store(scratch.store);
	assert_false(store_has_feature(store, STORE_FEATURE_LOG));
	assert_int_equal(stats_of(store).replayed, 0);
	assert_int_equal(get(store, "key"), 7);
	end(store, &scratch);
}

/* The file does not stay when its use ended before the store is closed. */
static void test_close_unused(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch);

	store_lock(store);
	assert_int_equal(intent_log_pause(store), 0);
	intent_log_resume(store);
	store_unlock(store);
	assert_true(exists(scratch.store, "log"));
	assert_int_equal(store_close(store), 0);
	assert_false(exists(scratch.store, "log"));
	scratch_release(&scratch);
}

static void test_replay(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;

	put(store, "key", 1);
	put(store, "gone", 1);
	assert_int_equal(sync_by_log(store), 0);
	put(store, "key", 2);
	store_lock(store);
	assert_int_equal(table_del(store, TABLE_NAME, "gone", 4), 0);
	assert_int_equal(table_del(store, TABLE_NAME, "first", 5), 0);
	store_unlock(store);
	assert_int_equal(sync_by_log(store), 0);
	put(store, "key", 3); /* and is not synced */
	crash(&scratch);
	for (int i = 0; i < 2; i++) {
		again = open_store(crashed);
		assert_int_equal(stats_of(again).replayed, i ? 0 : 2);
		assert_false(exists(crashed, "log"));
		assert_int_equal(get(again, "key"), 2);
		assert_int_equal(get(again, "gone"), -1);
		assert_int_equal(get(again, "first"), -1);
		assert_int_equal(store_close(again), 0);
		/* Replayed entries are void. */
		one_copy(scratch.store, crashed, "log");
	}
	end(store, &scratch);
}

/* Chunks that were changed, lengthened and dropped between entries. */
static void test_chunks(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;
	struct tree tree = {.store = store, .list = 1, .owner = 1};
	uint64_t kept = chunk_make(&tree, "some bytes", 10),
	         dropped = chunk_make(&tree, "others", 6);
	struct chunk *chunk;

	assert_int_equal(sync_by_log(store), 0);
	store_lock(store);
	chunk = chunk_find(store, kept, NULL);
	assert_int_equal(chunk_resize(chunk, 20), 0);
	memcpy(chunk_data(chunk) + 5, "BYTES AND MORE.", 15);
	chunk_changed(chunk, 5, 20);
	chunk_unref(chunk);
	store_unlock(store);
	drop(&tree, dropped);
	assert_int_equal(sync_by_log(store), 0);
	crash(&scratch);
	again = open_store(crashed);
	assert_int_equal(stats_of(again).replayed, 2);
	chunk_expect(again, kept, "some BYTES AND MORE.", 20);
	assert_int_equal(chunk_load(again, dropped, &chunk), -ENOENT);
	assert_int_equal(store_close(again), 0);
	end(store, &scratch);
}

/* Replace a stored chunk by a patch with one other page. */
static uint64_t patch_make(struct tree *tree, uint64_t number, uint32_t len,
                           uint32_t at, const uint8_t *page)
{
	struct store *store = tree->store;
	struct chunk *patch;

	assert_int_equal(
	        chunk_patch(store, number, len, at, at + 4096, page, &patch),
	        0);
	store_lock(store);
	tree_drop(tree, number);
	number = chunk_add(tree, patch, number);
	store_unlock(store);
	chunk_unref(patch);
	return number;
}

/* Change a page of a patch, or of a chunk that was one. */
static void page_change(struct store *store, uint64_t number, uint32_t at,
                        const uint8_t *page)
{
	struct chunk *chunk;

	store_lock(store);
	chunk = chunk_find_patch(store, number);
	if (chunk) {
		assert_true(chunk_patch_fits(chunk, at, at + 4096));
		assert_int_equal(chunk_patch_write(chunk, at, at + 4096, page),
		                 0);
	} else {
		chunk = chunk_find(store, number, NULL);
		memcpy(chunk_data(chunk) + at, page, 4096);
		chunk_changed(chunk, at, at + 4096);
	}
	chunk_unref(chunk);
	store_unlock(store);
}

static void crash_expect(const struct scratch *scratch, uint64_t number,
                         const uint8_t *data, size_t len)
{
	struct store *again;

	crash(scratch);
	again = open_store(crashed);
	assert_true(stats_of(again).replayed > 0);
	chunk_expect(again, number, data, len);
	assert_int_equal(store_close(again), 0);
}

/* A patch is logged with its own pages, and with all once it is a chunk. */
static void test_patches(void **state)
{
	static uint8_t data[65536];
	const uint8_t page[4096] = "changed";
	struct scratch scratch;
	struct store *store = logged_store(&scratch);
	struct tree tree = {.store = store, .list = 1, .owner = 1};
	uint64_t number, seed = scratch_seed(), dropped;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)scratch_random(&seed);
	number = chunk_make(&tree, data, sizeof(data));
	dropped = chunk_make(&tree, data, sizeof(data));
	assert_int_equal(store_sync(store), 0);
	number = patch_make(&tree, number, sizeof(data), 8192, page);
	memcpy(data + 8192, page, sizeof(page));
	/* The first one comes with its feature, by a commit. */
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(stats_of(store).logged, 0);

	dropped = patch_make(&tree, dropped, sizeof(data), 4096, page);
	assert_int_equal(sync_by_log(store), 0);
	drop(&tree, dropped);
	number = patch_make(&tree, number, sizeof(data), 0, page);
	memcpy(data, page, sizeof(page));
	assert_int_equal(sync_by_log(store), 0);
	crash_expect(&scratch, number, data, sizeof(data));

	page_change(store, number, 12288, page);
	memcpy(data + 12288, page, sizeof(page));
	assert_int_equal(sync_by_log(store), 0);
	crash_expect(&scratch, number, data, sizeof(data));

	assert_int_equal(chunk_complete(store, number), 0);
	for (uint32_t at = 20480; at < 53248; at += 4096) {
		page_change(store, number, at, page);
		memcpy(data + at, page, sizeof(page));
		assert_int_equal(sync_by_log(store), 0);
	}
	assert_true(stats_of(store).logged > 10);
	crash_expect(&scratch, number, data, sizeof(data));
	end(store, &scratch);
}

/* A commit makes the entries before it void. */
static void test_commit(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;

	for (uint8_t i = 1; i <= 4; i++) {
		put(store, "key", i);
		assert_int_equal(sync_by_log(store), 0);
		put(store, "key", (uint8_t)(i + 10));
		assert_int_equal(store_sync(store), 0);
		crash(&scratch);
		again = open_store(crashed);
		assert_int_equal(stats_of(again).replayed, 0);
		assert_int_equal(get(again, "key"), i + 10);
		assert_int_equal(store_close(again), 0);
	}
	end(store, &scratch);
}

/* While a group is being committed, the log has all of it and of the next. */
static void test_chain(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;
	uint64_t txg;
	MDB_txn *txn;

	/* The commit waits for this transaction to end. */
	assert_int_equal(disk_write_begin(&store->disk, &txn), 0);
	put(store, "key", 1);
	assert_int_equal(sync_by_log(store), 0);
	put(store, "key", 2);
	put(store, "other", 2);
	store_lock(store);
	txg = store_txg(store);
	store_unlock(store);
	store_commit_start(store);
	for (bool closed = false; !closed;) {
		store_lock(store);
		closed = store->syncing_txg;
		store_unlock(store);
	}
	for (uint8_t i = 3; i < 6; i++) {
		put(store, "key", i);
		assert_int_equal(sync_by_log(store), 0);
	}
	assert_int_equal(stats_of(store).commits, 1);
	crash(&scratch);
	mdb_txn_abort(txn);
	assert_int_equal(store_wait(store, txg), 0);
	again = open_store(crashed);
	assert_int_equal(stats_of(again).replayed, 5);
	assert_int_equal(get(again, "key"), 5);
	assert_int_equal(get(again, "other"), 2);
	assert_int_equal(store_close(again), 0);
	/* The entries of the open group follow the commit. */
	crash(&scratch);
	again = open_store(crashed);
	assert_int_equal(stats_of(again).replayed, 3);
	assert_int_equal(get(again, "key"), 5);
	assert_int_equal(get(again, "other"), 2);
	assert_int_equal(store_close(again), 0);
	end(store, &scratch);
}

/* An entry that is not complete ends the log. */
static void test_torn(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;
	uint64_t at;

	put(store, "key", 1);
	assert_int_equal(sync_by_log(store), 0);
	at = intent_start(2, INTENT_HALF) + store->open_txg->intent.end;
	put(store, "key", 2);
	assert_int_equal(sync_by_log(store), 0);
	for (off_t i = 0; i < INTENT_HEADER + 5; i += 3) {
		crash(&scratch);
		log_damage((off_t)at + i);
		again = open_store(crashed);
		assert_int_equal(stats_of(again).replayed, 1);
		assert_int_equal(get(again, "key"), 1);
		assert_int_equal(store_close(again), 0);
	}
	/* It does not follow one that is missing either. */
	crash(&scratch);
	log_damage((off_t)intent_start(2, INTENT_HALF));
	again = open_store(crashed);
	assert_int_equal(stats_of(again).replayed, 0);
	assert_int_equal(get(again, "key"), -1);
	assert_int_equal(store_close(again), 0);
	end(store, &scratch);
}

/* A log of another use, be it of the same store, is not replayed. */
static void test_foreign(void **state)
{
	struct scratch scratch, other_scratch;
	struct store *store = logged_store(&scratch), *again;
	struct store *other = logged_store(&other_scratch);

	put(store, "key", 1);
	assert_int_equal(sync_by_log(store), 0);
	put(other, "key", 2);
	assert_int_equal(sync_by_log(other), 0);
	crash(&scratch);
	one_copy(other_scratch.store, crashed, "log");
	again = open_store(crashed);
	assert_int_equal(stats_of(again).replayed, 0);
	assert_int_equal(get(again, "key"), -1);
	assert_int_equal(store_close(again), 0);
	end(other, &other_scratch);
	end(store, &scratch);
}

/* Blocks in memory have the sizes that the store had when it was opened. */
static void test_other_sizes(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;

	for (int i = 0; i < 2; i++) {
		struct geometry g = store->geometry;
		uint8_t value[GEOMETRY_LEN_MAX];

		g.node_size += i ? 0 : 8;
		g.chunk_bits -= i ? 1 : 0;
		store_lock(store);
		assert_int_equal(
		        table_put(store, TABLE_META, "store", 5, value,
		                  geometry_encode(&g, value, sizeof(value))),
		        0);
		store_unlock(store);
		assert_int_equal(sync_by_log(store), 0);
		crash(&scratch);
		assert_int_equal(store_open(crashed, NULL, &again), -EUCLEAN);
		assert_true(exists(crashed, "log"));
	}
	end(store, &scratch);
}

/* A reader sees what the log has, and leaves both files as they are. */
static void test_readonly(void **state)
{
	const struct store_options options = {.readonly = true};
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;

	put(store, "key", 4);
	assert_int_equal(sync_by_log(store), 0);
	crash(&scratch);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(store_open(crashed, &options, &again), 0);
		assert_int_equal(stats_of(again).replayed, 1);
		assert_int_equal(get(again, "key"), 4);
		assert_int_equal(store_close(again), 0);
		assert_true(exists(crashed, "log"));
	}
	/* For the check it is committed. */
	assert_int_equal(store_open_committed(crashed, &again), 0);
	assert_int_equal(get(again, "key"), 4);
	assert_int_equal(stats_of(again).replayed, 0);
	assert_int_equal(store_close(again), 0);
	assert_false(exists(crashed, "log"));
	end(store, &scratch);
}

/* A change too large for the log is committed, and the log goes on. */
static void test_large(void **state)
{
	static uint8_t bytes[1 << 16];
	struct scratch scratch;
	struct store *store = logged_store(&scratch);
	struct tree tree = {.store = store, .list = 1, .owner = 1};

	for (int i = 0; i < 20; i++) {
		bytes[0] = (uint8_t)i;
		chunk_make(&tree, bytes, sizeof(bytes));
	}
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(stats_of(store).logged, 0);
	assert_int_equal(stats_of(store).commits, 2);
	put(store, "key", 1);
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(stats_of(store).logged, 1);
	assert_int_equal(stats_of(store).commits, 2);
	end(store, &scratch);
}

static int log_now(struct store *store)
{
	uint64_t txg;

	store_lock(store);
	txg = store_txg(store);
	store_unlock(store);
	return store_log(store, txg);
}

/* More than one entry takes. */
enum { MANY_CHUNKS = 40, MANY_BYTES = 1 << 16 };

static void many_make(struct tree *tree, uint8_t first,
                      uint64_t ret_numbers[MANY_CHUNKS])
{
	static uint8_t bytes[MANY_BYTES];

	for (int i = 0; i < MANY_CHUNKS; i++) {
		bytes[0] = first;
		bytes[1] = (uint8_t)i;
		ret_numbers[i] = chunk_make(tree, bytes, sizeof(bytes));
	}
}

static void many_expect(struct store *store, uint8_t first,
                        const uint64_t numbers[MANY_CHUNKS])
{
	static uint8_t bytes[MANY_BYTES];

	for (int i = 0; i < MANY_CHUNKS; i++) {
		bytes[0] = first;
		bytes[1] = (uint8_t)i;
		chunk_expect(store, numbers[i], bytes, sizeof(bytes));
	}
}

/* Wait until the group of the last log_now() is closed; return its number. */
static uint64_t closed_group(struct store *store)
{
	uint64_t group;
	bool closed;

	do {
		sched_yield();
		store_lock(store);
		closed = store->syncing_txg;
		group = store->intent.number - 1;
		store_unlock(store);
	} while (!closed);
	return group;
}

/* The log grows for groups that are waited for, which take several entries. */
static void test_runs(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;
	struct tree tree = {.store = store, .list = 1, .owner = 1};
	uint64_t numbers[3][MANY_CHUNKS], entries, half, group;
	struct chunk *chunk;
	MDB_txn *txn;

	many_make(&tree, 0, numbers[0]);
	assert_int_equal(log_now(store), 0);
	assert_int_equal(stats_of(store).logged, 0);
	half = store->intent.half;
	assert_true(half > INTENT_HALF);
	assert_true(store_has_feature(store, STORE_FEATURE_LARGE_LOG));

	/* The commit waits for this transaction to end. */
	assert_int_equal(store_sync(store), 0);
	assert_int_equal(disk_write_begin(&store->disk, &txn), 0);
	many_make(&tree, 1, numbers[1]);
	put(store, "key", 1);
	assert_int_equal(log_now(store), 0);
	entries = stats_of(store).logged;
	assert_true(entries > 2);
	crash(&scratch);
	again = open_store(crashed);
	assert_int_equal(stats_of(again).replayed, entries);
	assert_false(store_has_feature(again, STORE_FEATURE_LARGE_LOG));
	many_expect(again, 0, numbers[0]);
	many_expect(again, 1, numbers[1]);
	assert_int_equal(get(again, "key"), 1);
	assert_int_equal(store_close(again), 0);

	/* All of a run is there, or nothing. */
	group = closed_group(store);
	for (uint64_t i = 0; i < entries; i++) {
		crash(&scratch);
		log_damage((off_t)(intent_start(group, half) +
		                   i * INTENT_ENTRY_MAX));
		again = open_store(crashed);
		assert_int_equal(stats_of(again).replayed, 0);
		many_expect(again, 0, numbers[0]);
		assert_int_equal(chunk_load(again, numbers[1][0], &chunk),
		                 -ENOENT);
		assert_int_equal(get(again, "key"), -1);
		assert_int_equal(store_close(again), 0);
	}

	/* The next group while that one is being committed. */
	many_make(&tree, 2, numbers[2]);
	put(store, "key", 2);
	assert_int_equal(log_now(store), 0);
	crash(&scratch);
	mdb_txn_abort(txn);
	for (int i = 0; i < 2; i++) {
		again = open_store(crashed);
		assert_int_equal(stats_of(again).replayed > entries, !i);
		for (uint8_t j = 0; j < 3; j++)
			many_expect(again, j, numbers[j]);
		assert_int_equal(get(again, "key"), 2);
		assert_int_equal(store_close(again), 0);
	}
	assert_int_equal(store_sync(store), 0);
	end(store, &scratch);
}

/* A log that cannot grow goes on as it is: its file is not lost meanwhile. */
static void test_growth_fails(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;
	struct tree tree = {.store = store, .list = 1, .owner = 1};
	uint64_t numbers[MANY_CHUNKS];
	/* The halves that it has, and enough for LMDB. */
	struct rlimit all, some;

	put(store, "key", 1);
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(stats_of(store).logged, 1);
	assert_int_equal(store_sync(store), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &all), 0);
	some = all;
	some.rlim_cur = 3 * INTENT_HALF;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &some), 0);
	many_make(&tree, 0, numbers);
	assert_int_equal(log_now(store), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
	assert_int_equal(stats_of(store).logged, 1);
	assert_int_equal(store->intent.half, INTENT_HALF);
	put(store, "key", 2);
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(stats_of(store).logged, 2);
	crash(&scratch);
	again = open_store(crashed);
	assert_int_equal(stats_of(again).replayed, 1);
	many_expect(again, 0, numbers);
	assert_int_equal(get(again, "key"), 2);
	assert_int_equal(store_close(again), 0);
	end(store, &scratch);
}

/* A log grows in place: the entries of the group before stay until then. */
static void test_growth_keeps_entries(void **state)
{
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *again;
	struct tree tree = {.store = store, .list = 1, .owner = 1};
	uint64_t numbers[2][MANY_CHUNKS];

	put(store, "key", 1);
	assert_int_equal(sync_by_log(store), 0);
	many_make(&tree, 0, numbers[0]);
	/* The group has an entry, so the larger halves must wait. */
	assert_int_equal(log_now(store), 0);
	assert_int_equal(stats_of(store).logged, 1);
	assert_int_equal(store->intent.half, INTENT_HALF);
	assert_true(store->intent.room > INTENT_HALF);
	put(store, "key", 2);
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(stats_of(store).logged, 2);
	crash(&scratch);
	again = open_store(crashed);
	assert_int_equal(stats_of(again).replayed, 1);
	many_expect(again, 0, numbers[0]);
	assert_int_equal(get(again, "key"), 2);
	assert_int_equal(store_close(again), 0);
	assert_int_equal(store_sync(store), 0);
	/* The next group without entries has them. */
	many_make(&tree, 1, numbers[1]);
	assert_int_equal(log_now(store), 0);
	assert_int_equal(store->intent.half, store->intent.room);
	many_make(&tree, 2, numbers[1]);
	assert_int_equal(log_now(store), 0);
	assert_true(stats_of(store).logged > 3);
	end(store, &scratch);
}

/* The entries go on in the other half before one is full. */
static void test_halves(void **state)
{
	static uint8_t bytes[1 << 16];
	struct scratch scratch;
	struct store *store = logged_store(&scratch);
	struct tree tree = {.store = store, .list = 1, .owner = 1};

	for (int i = 0; i < 300; i++) {
		bytes[0] = (uint8_t)i;
		chunk_make(&tree, bytes, sizeof(bytes));
		put(store, "key", (uint8_t)i);
		assert_int_equal(sync_by_log(store), 0);
	}
	assert_true(stats_of(store).logged > 290);
	assert_true(stats_of(store).commits > 3);
	end(store, &scratch);
}

/* Without the log each fsync is a commit. */
static void test_off(void **state)
{
	const struct store_options options = {.no_log = true};
	struct scratch scratch;
	struct store *store;

	scratch_init(&scratch);
	assert_int_equal(store_create(scratch.store, NULL), 0);
	assert_int_equal(store_open(scratch.store, &options, &store), 0);
	for (uint8_t i = 1; i <= 3; i++) {
		put(store, "key", i);
		assert_int_equal(sync_by_log(store), 0);
		assert_int_equal(stats_of(store).commits, i);
	}
	assert_int_equal(stats_of(store).logged, 0);
	assert_false(exists(scratch.store, "log"));
	end(store, &scratch);
}

/* The log does not go with a copy of the store, which does without. */
static int no_progress(void *arg, uint64_t done, uint64_t all)
{
	return 0;
}

static void test_copy(void **state)
{
	const struct copy_options options = {.progress = no_progress};
	struct scratch scratch;
	struct store *store = logged_store(&scratch), *copy;
	char path[100], file[120];
	uint64_t bytes;
	int fd;

	put(store, "key", 9);
	assert_int_equal(sync_by_log(store), 0);
	snprintf(path, sizeof(path), "%s/copy", scratch.dir);
	snprintf(file, sizeof(file), "%s/data.mdb", path);
	assert_int_equal(mkdir(path, 0700), 0);
	fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(store_copy(store, fd, &options, &bytes), 0);
	close(fd);
	copy = open_store(path);
	assert_false(store_has_feature(copy, STORE_FEATURE_LOG));
	assert_int_equal(get(copy, "key"), 9);
	assert_int_equal(store_close(copy), 0);
	/* The store itself begins to use it again. */
	put(store, "key", 10);
	assert_int_equal(sync_by_log(store), 0);
	put(store, "key", 11);
	assert_int_equal(sync_by_log(store), 0);
	assert_int_equal(stats_of(store).logged, 2);
	crash(&scratch);
	copy = open_store(crashed);
	assert_int_equal(get(copy, "key"), 11);
	assert_int_equal(store_close(copy), 0);
	end(store, &scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_entries),
	        cmocka_unit_test(test_clean_close),
	        cmocka_unit_test(test_close_unused),
	        cmocka_unit_test(test_replay),
	        cmocka_unit_test(test_chunks),
	        cmocka_unit_test(test_patches),
	        cmocka_unit_test(test_commit),
	        cmocka_unit_test(test_chain),
	        cmocka_unit_test(test_torn),
	        cmocka_unit_test(test_foreign),
	        cmocka_unit_test(test_other_sizes),
	        cmocka_unit_test(test_readonly),
	        cmocka_unit_test(test_large),
	        cmocka_unit_test(test_runs),
	        cmocka_unit_test(test_growth_fails),
	        cmocka_unit_test(test_growth_keeps_entries),
	        cmocka_unit_test(test_halves),
	        cmocka_unit_test(test_off),
	        cmocka_unit_test(test_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
