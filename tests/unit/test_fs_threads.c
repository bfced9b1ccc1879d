/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Several threads on one file system at once, while forks and snapshots of it
 * are made and deleted.
 */
#include "fs_fixture.h"

#include <linux/falloc.h>
#include <pthread.h>
#include <stdio.h>

#include "fs_struct.h"

enum {
	CHUNK = 4096,
	WRITERS = 3,
	SLOT = 700, /* so that slots of different writers share chunks */
	SLOTS = 90,
	PAIR = CHUNK / 8, /* numbers between the two halves of a pair */
};

static struct fixture w;
static node_t shared, pair, churn;
static uint64_t rounds;

static size_t read_some(node_t node, off_t off, void *to, size_t len)
{
	struct fs_data data;
	size_t at = 0;
	int err = fs_read(w.fs, node, off, len, &data);

	if (err == -ESTALE)
		return 0;
	must(!err);
	for (int i = 0; i < data.iov_count; i++) {
		memcpy((char *)to + at, data.iov[i].iov_base,
		       data.iov[i].iov_len);
		at += data.iov[i].iov_len;
	}
	fs_data_release(&data);
	return at;
}

/* Each writer has every WRITERS-th slot of the shared file for its own. */
static void *run_writer(void *arg)
{
	unsigned me = (unsigned)(uintptr_t)arg;
	uint8_t slot[SLOT], back[SLOT];
	uint64_t seed = me;
	uint8_t last[SLOTS] = {0};

	for (uint64_t i = 0; i < rounds; i++) {
		unsigned n = scratch_random(&seed) % (SLOTS / WRITERS);
		off_t off = (off_t)(n * WRITERS + me) * SLOT;

		if (last[n]) {
			memset(slot, last[n], SLOT);
			must(read_some(shared, off, back, SLOT) == SLOT);
			must(!memcmp(slot, back, SLOT));
		}
		last[n] = (uint8_t)(1 + i % 255);
		memset(slot, last[n], SLOT);
		must(!fs_write(w.fs, shared, off, slot, SLOT, 0));
	}
	return NULL;
}

/* Write over two chunks: no reader sees half of a write. */
static void *run_pairs(void *arg)
{
	static uint64_t numbers[PAIR + 1];

	for (uint64_t i = 1; i <= rounds; i++) {
		for (size_t n = 0; n <= PAIR; n++)
			numbers[n] = i;
		must(!fs_write(w.fs, pair, CHUNK - 8, numbers, sizeof(numbers),
		               0));
	}
	return NULL;
}

static void *run_churn(void *arg)
{
	static uint8_t data[40 * CHUNK];
	uint64_t seed = 99;
	struct stat st = {0};
	struct fs_entry e;

	memset(data, 7, sizeof(data));
	for (uint64_t i = 0; i < rounds; i++) {
		off_t off = (off_t)(scratch_random(&seed) % (30 * CHUNK));

		must(!fs_write(w.fs, churn, off, data, 10 * CHUNK, 0));
		st.st_size = off;
		must(!fs_setattr(w.fs, churn, FS_SET_SIZE, &st, &st));
		must(!fs_fallocate(w.fs, churn, FALLOC_FL_ZERO_RANGE, off / 2,
		                   off + 1));
		must(fs_copy_range(w.fs, shared, 0, churn, 0, sizeof(data)) >=
		     0);
		must(!fs_make(w.fs, w.main, "temp", S_IFREG | 0600, 0, NULL,
		              &fixture_cred, &e));
		must(!fs_open(w.fs, e.node, O_RDWR));
		must(fs_copy_range(w.fs, churn, 0, e.node, 0, sizeof(data)) >=
		     0);
		must(!fs_unlink(w.fs, w.main, "temp"));
		fs_release(w.fs, e.node);
	}
	return NULL;
}

static void *run_forks(void *arg)
{
	node_t snapdir = NODE(NODE_STATE(w.main), INO_SNAPDIR);
	static uint64_t numbers[PAIR + 1];
	struct fs_entry e, f;
	char name[32];

	for (uint64_t i = 0; i < rounds / 4; i++) {
		node_t parent = i % 2 ? snapdir : NODE_ROOT;

		snprintf(name, sizeof(name), "main@%u", (unsigned)i);
		must(!fs_make(w.fs, parent, name, S_IFDIR, 0, NULL,
		              &fixture_cred, &e));
		must(!fs_lookup(w.fs, e.node, "pair", SNAPDIR_HIDDEN, &f));
		if (read_some(f.node, CHUNK - 8, numbers, sizeof(numbers)))
			must(numbers[0] == numbers[PAIR]);
		if (i % 2 == 0)
			must(!fs_write(w.fs, f.node, 0, numbers,
			               sizeof(numbers), 0));
		if (i < 4)
			continue;
		snprintf(name, sizeof(name), "main@%u", (unsigned)i - 4);
		if (i % 2)
			must(!fs_rmdir(w.fs, parent, name));
		else if (fs_rmdir(w.fs, parent, name) == -ENOTEMPTY) {
			struct state *state;

			store_lock(w.store);
			must(!state_find(w.forest, 0, name, &state));
			must(!state_delete(w.forest, state, true));
			store_unlock(w.store);
		}
	}
	return NULL;
}

static void *run_reader(void *arg)
{
	static uint64_t numbers[PAIR + 1];
	static uint8_t bytes[SLOT * SLOTS];
	uint64_t before = 0;

	for (uint64_t i = 0; i < rounds; i++) {
		if (read_some(pair, CHUNK - 8, numbers, sizeof(numbers))) {
			must(numbers[0] == numbers[PAIR]);
			must(numbers[0] >= before);
			before = numbers[0];
		}
		read_some(shared, 0, bytes, sizeof(bytes));
		read_some(churn, 0, bytes, sizeof(bytes));
		if (i % 50 == 0)
			must(!store_sync(w.store));
	}
	return NULL;
}

/* ---- Reading what is being deleted -------------------------------------- */

enum { DOOMED_CHUNKS = 1024 };

struct deleting {
	node_t file;
	pthread_barrier_t start;
	unsigned reads; /* before the state was gone */
};

static void *run_deleting_reader(void *arg)
{
	struct deleting *d = arg;
	struct fs_data data;
	int err;

	pthread_barrier_wait(&d->start);
	for (;;) {
		err = fs_read(w.fs, d->file, 0, DOOMED_CHUNKS * CHUNK, &data);
		if (err)
			break;
		must(data.len == DOOMED_CHUNKS * CHUNK);
		for (int i = 0; i < data.iov_count; i++)
			must(*(uint8_t *)data.iov[i].iov_base);
		fs_data_release(&data);
		d->reads++;
	}
	/* The chunks went before the reader knew: no damage. */
	must(err == -ESTALE);
	return NULL;
}

/* A state with a file of its own, which is not in memory. */
static void make_deleting(struct deleting *d)
{
	static uint8_t bytes[DOOMED_CHUNKS * CHUNK];
	node_t root = make(&w, NODE_ROOT, "main@deleting", S_IFDIR);

	d->file = make(&w, root, "file", S_IFREG | 0644);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i % 255 + 1);
	for (size_t i = 0; i < sizeof(bytes); i += CHUNK)
		memcpy(bytes + i + 1, &i, sizeof(i));
	put(&w, d->file, 0, bytes, sizeof(bytes));
	fixture_reopen(&w);
}

static void test_state_is_deleted_under_its_readers(void **state)
{
	uint64_t times = scratch_ops(20);
	struct deleting d = {0};
	pthread_t reader;

	fixture_init(&w, 12);
	for (uint64_t i = 0; i < times; i++) {
		struct state *deleting;

		make_deleting(&d);
		pthread_barrier_init(&d.start, NULL, 2);
		assert_int_equal(
		        pthread_create(&reader, NULL, run_deleting_reader, &d),
		        0);
		pthread_barrier_wait(&d.start);
		store_lock(w.store);
		assert_int_equal(
		        state_find(w.forest, 0, "main@deleting", &deleting), 0);
		assert_int_equal(state_delete(w.forest, deleting, true), 0);
		store_unlock(w.store);
		assert_int_equal(forest_drain(w.forest), 0);
		pthread_join(reader, NULL);
		pthread_barrier_destroy(&d.start);
	}
	print_message("%u reads in %u states\n", d.reads, (unsigned)times);
	fixture_release(&w);
}

static void test_threads(void **state)
{
	void *(*const others[])(void *) = {run_pairs, run_churn, run_forks,
	                                   run_reader};
	pthread_t threads[WRITERS + ARRAY_SIZE(others)];

	rounds = scratch_ops(400);
	fixture_init(&w, 12);
	shared = make(&w, w.main, "shared", S_IFREG | 0644);
	pair = make(&w, w.main, "pair", S_IFREG | 0644);
	churn = make(&w, w.main, "churn", S_IFREG | 0644);
	for (size_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_writer,
		                                (void *)(uintptr_t)i),
		                 0);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_int_equal(pthread_create(&threads[WRITERS + i], NULL,
		                                others[i], NULL),
		                 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(forest_drain(w.forest), 0);
	fixture_check(&w);
	fixture_reopen(&w);
	fixture_release(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_threads),
	        cmocka_unit_test(test_state_is_deleted_under_its_readers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
