/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Threads that share the handles of a store: readers beside a writer. */
#include <pthread.h>
#include <stdatomic.h>

#include "lib_fixture.h"

enum {
	READERS = 3,
	KEYS = 48, /* read at once: within one piece of coppice_get_many() */
	ROUNDS = 12,
	KEPT = 4,       /* snapshots that are not deleted */
	VALUE = 30000,  /* bytes */
	LONG = 2200000, /* bytes of a value that is read in pieces */
	TEXT = 32,
};

struct shared {
	struct coppice *store;
	struct coppice_state *main;
	atomic_int round; /* the last one that was committed */
	atomic_bool stop;
	atomic_int reads;
};

static void key_of(char key[TEXT], int n)
{
	snprintf(key, TEXT, "d%d/k%d", n % 5, n);
}

/* Fill a value with noise that begins with its round. */
static void value_make(char *value, size_t size, int round)
{
	uint32_t x = (uint32_t)round * 2654435761u + 1;

	for (size_t i = 0; i < size; i++) {
		x = x * 1664525 + 1013904223;
		value[i] = (char)(x >> 24);
	}
	memcpy(value, &round, sizeof(round));
}

static int value_round(const char *value)
{
	int round;

	memcpy(&round, value, sizeof(round));
	return round;
}

static void round_commit(struct shared *s, int round)
{
	char *value = malloc(LONG), key[TEXT], name[TEXT], to[TEXT];
	struct coppice_batch *batch;

	ok(coppice_batch_new(s->store, &batch));
	value_make(value, LONG, round);
	for (int i = 0; i < KEYS; i++) {
		key_of(key, i);
		ok(coppice_batch_put(batch, s->main, key, value, VALUE,
		                     COPPICE_PARENTS));
	}
	ok(coppice_batch_put(batch, s->main, "long", value, LONG, 0));
	ok(coppice_batch_put(batch, s->main, "moved/here/x", value, VALUE,
	                     COPPICE_PARENTS));
	/* A directory that readers may remember goes away. */
	snprintf(to, sizeof(to), "moved/%d", round);
	ok(coppice_batch_rename(batch, s->main, "moved/here", to, 0));
	snprintf(name, sizeof(name), "s%d", round);
	ok(coppice_batch_commit(batch, 0, round % 3 ? name : NULL));
	if (round % 3 == 0)
		ok(coppice_snapshot(s->store, "main", name));
	coppice_batch_discard(batch);
	free(value);
	atomic_store(&s->round, round);
}

/* Make and delete states, some of which are being read. */
static void states_change(struct shared *s, int round)
{
	char name[32], fork[TEXT];

	snprintf(fork, sizeof(fork), "f%d", round);
	snprintf(name, sizeof(name), "main~s%d", round);
	ok(coppice_fork(s->store, name, fork, 0, NULL));
	lib_put(s->store, fork, "d0/own", fork);
	lib_expect_in(s->store, fork, "d0/own", fork);
	if (round > KEPT) {
		snprintf(name, sizeof(name), "main~s%d", round - KEPT);
		ok(coppice_remove(s->store, name, 0));
		snprintf(fork, sizeof(fork), "f%d", round - KEPT);
		ok(coppice_remove(s->store, fork, 0));
	}
}

/* Read all keys of a state at once; return their round. */
static int keys_read(struct coppice_state *state)
{
	struct coppice_get gets[KEYS];
	char keys[KEYS][TEXT];
	char *values = malloc((size_t)KEYS * VALUE);
	int round;

	for (int i = 0; i < KEYS; i++) {
		key_of(keys[i], i);
		gets[i] = (struct coppice_get){
		        keys[i], 0, values + (size_t)i * VALUE, VALUE, -1};
	}
	ok(coppice_get_many(state, gets, KEYS));
	for (int i = 0; i < KEYS; i++) {
		assert_int_equal(gets[i].result, VALUE);
		assert_memory_equal(gets[i].buffer, values, VALUE);
	}
	round = value_round(values);
	free(values);
	return round;
}

static void fork_read(struct shared *s)
{
	char *value = malloc(LONG), *same = malloc(LONG);
	int before = atomic_load(&s->round), round = keys_read(s->main);

	assert_in_range(round, before, ROUNDS);
	/* A value that takes several reads is of one instant, too. */
	assert_int_equal(coppice_get(s->main, "long", 0, value, LONG), LONG);
	assert_in_range(value_round(value), round, ROUNDS);
	value_make(same, LONG, value_round(value));
	assert_memory_equal(value, same, LONG);
	/* The key was moved in the step that made it. */
	assert_int_equal(coppice_get(s->main, "moved/here/x", 0, value, VALUE),
	                 -ENOENT);
	free(value);
	free(same);
}

/* Read a snapshot that may be deleted meanwhile. */
static void snapshot_read(struct shared *s, unsigned *random)
{
	struct coppice_info info = {.size = sizeof(info)};
	struct coppice_stat stat = {.size = sizeof(stat)};
	struct coppice_state *state;
	char name[32], path[32];
	int last = atomic_load(&s->round);
	int round = last - rand_r(random) % (KEPT + 2), err;

	snprintf(name, sizeof(name), "main~s%d", round);
	err = coppice_state_open(s->store, name, &state);
	if (err) {
		assert_int_equal(err, -ENOENT);
		return;
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(keys_read(state), round);
	snprintf(path, sizeof(path), "moved/%d/x", round);
	ok(coppice_stat(state, path, &stat));
	assert_int_equal(stat.bytes, VALUE);
	err = coppice_info(state, &info);
	assert_true(err == 0 || err == -ESTALE);
	coppice_state_close(state);
}

static void scan_all(struct shared *s)
{
	struct coppice_entry entry = {.size = sizeof(entry)};
	struct coppice_scan *scan;
	int count = 0, r;

	ok(coppice_scan_open(s->main, "d0", NULL, COPPICE_SORTED, &scan));
	while ((r = coppice_scan_next(scan, &entry)) == 1)
		count++;
	ok(r);
	assert_int_equal(count, (KEYS + 4) / 5);
	coppice_scan_close(scan);
}

static void *reader_run(void *arg)
{
	struct shared *s = arg;
	unsigned random = (unsigned)(uintptr_t)&random;

	while (!atomic_load(&s->stop)) {
		fork_read(s);
		snapshot_read(s, &random);
		scan_all(s);
		atomic_fetch_add(&s->reads, 1);
	}
	return NULL;
}

static void run(struct lib_fixture *w, uint64_t memory)
{
	struct coppice_options options = {.size = sizeof(options),
	                                  .memory = memory};
	struct shared s = {0};
	pthread_t threads[READERS];

	ok(coppice_close(w->store));
	ok(coppice_open(w->scratch.store, 0, &options, &w->store));
	s.store = w->store;
	s.main = lib_state(s.store, "main");
	round_commit(&s, 1);
	for (int i = 0; i < READERS; i++)
		assert_int_equal(
		        pthread_create(&threads[i], NULL, reader_run, &s), 0);
	states_change(&s, 1);
	for (int round = 2; round <= ROUNDS; round++) {
		round_commit(&s, round);
		states_change(&s, round);
		if (round % 5 == 0)
			ok(coppice_sync(s.store));
	}
	/* The readers are not starved. */
	while (atomic_load(&s.reads) < 2 * READERS)
		sched_yield();
	atomic_store(&s.stop, true);
	for (int i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	coppice_state_close(s.main);
	ok(coppice_reclaim(s.store));
}

static void test_readers_beside_a_writer(void **state)
{
	run(*state, 0);
}

/* Blocks come and go while others read them. */
static void test_little_memory(void **state)
{
	run(*state, 4 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        lib_test(test_readers_beside_a_writer),
	        lib_test(test_little_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
