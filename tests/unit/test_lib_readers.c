/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Processes that read a store while another one writes to it. */
#include "lib_child.h"

/* ---- Seeing commits, and holding snapshots ------------------------------ */

static void reader(const char *path, int from, int to)
{
	struct coppice_info info = {.size = sizeof(info)};
	struct coppice_state *main, *old, *same;
	struct coppice *store;

	step_wait(from); /* the store is there */
	must(coppice_open(path, COPPICE_READ_ONLY, NULL, &store) == 0);
	must(coppice_state_open(store, "main", &main) == 0);
	must(coppice_state_open(store, "main~s1", &old) == 0);
	must(coppice_state_open(store, "main~1", &same) == 0);
	must(keys_have(main, "one"));
	must(keys_have(old, "one"));
	coppice_state_close(same);
	step_done(to);
	step_wait(from); /* main was written to, and s1 is deleted */
	must(keys_have(main, "two"));
	must(keys_have(old, "one"));
	must(coppice_state_open(store, "main~s1", &same) == -ENOENT);
	must(coppice_info(old, &info) == -ESTALE);
	must(coppice_snapshot(store, "main", "x") == -EROFS);
	step_done(to);
	step_wait(from); /* much was written meanwhile */
	must(keys_have(old, "one"));
	must(keys_have(main, "ten"));
	must(coppice_state_open(store, "main~@-1h", &same) == -ENOENT);
	must(coppice_state_open(store, "fork", &same) == 0);
	must(keys_have(same, "two"));
	step_done(to);
	/* The parent kills the process here. */
	step_wait(from);
}

/* How much is left to be freed. */
static uint64_t backlog(struct coppice *store)
{
	struct coppice_stats stats = {.size = sizeof(stats)};

	ok(coppice_reclaim(store));
	ok(coppice_stats(store, &stats));
	return stats.reclaiming;
}

static void test_snapshots_stay_until_the_reader_ends(void **state)
{
	struct lib_fixture *w = *state;
	struct child child;
	char text[16];

	ok(coppice_close(w->store));
	child = child_start(reader, w->scratch.store);
	ok(coppice_open(w->scratch.store, 0, NULL, &w->store));
	keys_put(w->store, "one", "s1");
	child_step(&child);
	keys_put(w->store, "two", NULL);
	ok(coppice_fork(w->store, "main", "fork", 0, NULL));
	ok(coppice_remove(w->store, "main~s1", 0));
	ok(coppice_sync(w->store));
	child_step(&child);
	assert_int_not_equal(backlog(w->store), 0);
	for (int i = 3; i <= 10; i++) {
		snprintf(text, sizeof(text), i < 10 ? "%d" : "ten", i);
		keys_put(w->store, text, NULL);
		backlog(w->store);
	}
	ok(coppice_sync(w->store));
	child_step(&child);
	assert_int_not_equal(backlog(w->store), 0);
	child_end(&child, SIGKILL);
	assert_int_equal(backlog(w->store), 0);
}

/* ---- Events ------------------------------------------------------------- */

/* Wait until the descriptor reports a change. */
static void event_wait(struct coppice *store)
{
	struct pollfd p = {.events = POLLIN};
	int r;

	p.fd = coppice_event_fd(store);
	must(p.fd >= 0);
	do {
		must(poll(&p, 1, 60000) == 1);
		r = coppice_event_clear(store);
	} while (r == 0);
	must(r == 1);
}

/*
 * Wait until the key is there.  The commit that has it may follow another one,
 * as a durable batch is in the log first.
 */
static void key_await(struct coppice *store, struct coppice_state *main,
                      const char *key)
{
	while (!keys_have(main, key))
		event_wait(store);
}

static void watcher(const char *path, int from, int to)
{
	struct coppice_state *main;
	struct coppice *store;

	step_wait(from);
	must(coppice_open(path, COPPICE_READ_ONLY, NULL, &store) == 0);
	must(coppice_event_clear(store) == -EINVAL);
	must(coppice_event_fd(store) >= 0);
	must(coppice_event_clear(store) == 0);
	step_done(to);
	step_wait(from); /* a batch */
	event_wait(store);
	must(coppice_state_open(store, "main", &main) == 0);
	key_await(store, main, "one");
	step_done(to);
	for (int i = 0; i < 20; i++) {
		char text[16];

		step_wait(from);
		snprintf(text, sizeof(text), "%d", i);
		key_await(store, main, text);
		step_done(to);
	}
	step_wait(from); /* main is renamed */
	event_wait(store);
	must(coppice_state_open(store, "main", &main) == -ENOENT);
	step_done(to);
	step_wait(from);
}

static void test_events_of_another_process(void **state)
{
	struct lib_fixture *w = *state;
	struct child child;
	char text[16];

	ok(coppice_close(w->store));
	child = child_start(watcher, w->scratch.store);
	ok(coppice_open(w->scratch.store, 0, NULL, &w->store));
	child_step(&child);
	keys_put(w->store, "one", NULL);
	child_step(&child);
	for (int i = 0; i < 20; i++) {
		snprintf(text, sizeof(text), "%d", i);
		keys_put(w->store, text, NULL);
		child_step(&child);
	}
	ok(coppice_rename(w->store, "main", "other"));
	ok(coppice_sync(w->store));
	child_step(&child);
	child_end(&child, SIGKILL);
	ok(coppice_rename(w->store, "other", "main"));
}

/* A process that writes gets its own changes at once. */
static void test_events_of_this_process(void **state)
{
	struct lib_fixture *w = *state;
	struct pollfd p = {.fd = coppice_event_fd(w->store), .events = POLLIN};

	ok(p.fd);
	assert_int_equal(coppice_event_fd(w->store), p.fd);
	assert_int_equal(poll(&p, 1, 0), 0);
	lib_put(w->store, "main", "key", "value");
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(coppice_event_clear(w->store), 1);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(coppice_event_clear(w->store), 0);
	ok(coppice_snapshot(w->store, "main", "s"));
	assert_int_equal(coppice_event_clear(w->store), 1);
	ok(coppice_fork(w->store, "main~s", "f", 0, NULL));
	assert_int_equal(coppice_event_clear(w->store), 1);
	ok(coppice_remove(w->store, "f", 0));
	assert_int_equal(coppice_event_clear(w->store), 1);
	assert_int_equal(coppice_remove(w->store, "f", 0), -ENOENT);
	assert_int_equal(coppice_event_clear(w->store), 0);
	ok(coppice_rename(w->store, "main~s", "t"));
	assert_int_equal(coppice_event_clear(w->store), 1);
}

/* ---- A second writer ---------------------------------------------------- */

static void first_writer(const char *path, int from, int to)
{
	struct coppice_state *main;
	struct coppice_batch *b;
	struct coppice *store;

	step_wait(from);
	must(coppice_open(path, 0, NULL, &store) == 0);
	must(coppice_state_open(store, "main", &main) == 0);
	must(coppice_batch_new(store, &b) == 0);
	must(coppice_batch_put(b, main, "key", "1", 1, 0) == 0);
	must(coppice_batch_commit(b, COPPICE_DURABLE, NULL) == 0);
	/* The process is killed in the middle of a batch. */
	must(coppice_batch_put(b, main, "key", "2", 1, 0) == 0);
	step_done(to);
	step_wait(from);
}

/*
 * A second writer gets the process id of the first one, and the store when that
 * process has ended.
 */
static void test_a_second_writer(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice *second;
	struct child child;
	char who[32];

	ok(coppice_close(w->store));
	child = child_start(first_writer, w->scratch.store);
	child_step(&child);
	assert_int_equal(coppice_open(w->scratch.store, 0, NULL, &second),
	                 -EBUSY);
	snprintf(who, sizeof(who), "process %d (", (int)child.pid);
	assert_non_null(strstr(coppice_error(), who));
	assert_non_null(strstr(coppice_error(), "mount it first"));
	/* Reading needs nobody. */
	ok(coppice_open(w->scratch.store, COPPICE_READ_ONLY, NULL, &second));
	lib_expect_in(second, "main", "key", "1");
	assert_int_equal(coppice_open(w->scratch.store, 0, NULL, &w->store),
	                 -EBUSY);
	assert_non_null(strstr(coppice_error(), "this process"));
	ok(coppice_close(second));
	child_end(&child, SIGKILL);
	ok(coppice_open(w->scratch.store, 0, NULL, &w->store));
	lib_expect_in(w->store, "main", "key", "1");
}

/* ---- A writer that is killed -------------------------------------------- */

static void writer(const char *path, int from, int to)
{
	struct coppice_state *main;
	struct coppice_batch *b;
	struct coppice *store;
	char key[32], value[32];

	step_wait(from);
	must(coppice_open(path, 0, NULL, &store) == 0);
	must(coppice_state_open(store, "main", &main) == 0);
	must(coppice_batch_new(store, &b) == 0);
	for (int round = 1;; round++) {
		snprintf(value, sizeof(value), "%d", round);
		for (int i = 0; i < KEYS; i++) {
			snprintf(key, sizeof(key), "k%d", i);
			must(coppice_batch_put(b, main, key, value,
			                       strlen(value), 0) == 0);
		}
		snprintf(key, sizeof(key), "s%d", round);
		must(coppice_batch_commit(b, round % 2 ? COPPICE_DURABLE : 0,
		                          round % 3 ? NULL : key) == 0);
		if (round == 5)
			step_done(to);
	}
}

/* Return the value that all keys have, or -1 if they differ. */
static int value_of_all(struct coppice_state *state)
{
	struct coppice_get gets[KEYS];
	char keys[KEYS][8], values[KEYS][16];

	for (int i = 0; i < KEYS; i++) {
		snprintf(keys[i], sizeof(keys[i]), "k%d", i);
		gets[i] = (struct coppice_get){keys[i], 0, values[i], 15, 0};
	}
	ok(coppice_get_many(state, gets, KEYS));
	for (int i = 0; i < KEYS; i++) {
		ok(gets[i].result);
		values[i][gets[i].result] = 0;
		if (strcmp(values[i], values[0]))
			return -1;
	}
	return atoi(values[0]);
}

static void test_a_writer_is_killed(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_state *main, *snapshot;
	struct coppice *reader;
	struct child child;
	int last = 0, value;

	ok(coppice_close(w->store));
	child = child_start(writer, w->scratch.store);
	child_step(&child);
	ok(coppice_open(w->scratch.store, COPPICE_READ_ONLY, NULL, &reader));
	assert_int_equal(coppice_open(w->scratch.store, 0, NULL, &w->store),
	                 -EBUSY);
	for (int i = 0; i < 20; i++) {
		/* The newest snapshot, all of one round. */
		ok(coppice_state_open(reader, "main~1", &snapshot));
		value = value_of_all(snapshot);
		assert_true(value >= last && value % 3 == 0);
		last = value;
		coppice_state_close(snapshot);
	}
	child_end(&child, SIGKILL);
	/* The reader goes on. */
	ok(coppice_state_open(reader, "main~1", &snapshot));
	assert_true(value_of_all(snapshot) >= last);
	coppice_state_close(snapshot);
	ok(coppice_close(reader));
	ok(coppice_open(w->scratch.store, 0, NULL, &w->store));
	main = lib_state(w->store, "main");
	assert_true(value_of_all(main) >= last);
	coppice_state_close(main);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        lib_test(test_snapshots_stay_until_the_reader_ends),
	        lib_test(test_events_of_another_process),
	        lib_test(test_events_of_this_process),
	        lib_test(test_a_second_writer),
	        lib_test(test_a_writer_is_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
