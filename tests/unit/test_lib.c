/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The library as a program uses it: opening a store, reading, fork(). */
#include <sys/wait.h>

#include "lib_fixture.h"

/* ---- Reading ------------------------------------------------------------ */

static void test_scan(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_state *main = lib_state(w->store, "main");
	struct coppice_entry entry = {.size = sizeof(entry)};
	struct coppice_batch *b;
	struct coppice_scan *scan;
	char path[32], last[32] = "";
	int count = 0;

	ok(coppice_batch_new(w->store, &b));
	for (int i = 0; i < 1000; i++) {
		snprintf(path, sizeof(path), "d/%s%d", i % 2 ? "odd" : "even",
		         i);
		ok(coppice_batch_put(b, main, path, path, 3, COPPICE_PARENTS));
	}
	ok(coppice_batch_commit(b, 0, "s"));
	ok(coppice_scan_open(main, "d", NULL, 0, &scan));
	while (coppice_scan_next(scan, &entry) == 1)
		count++;
	assert_int_equal(count, 1000);
	coppice_scan_close(scan);
	ok(coppice_scan_open(main, "d", "odd", COPPICE_SORTED, &scan));
	for (count = 0; coppice_scan_next(scan, &entry) == 1; count++) {
		assert_true(strcmp(last, entry.name) < 0);
		strcpy(last, entry.name);
		assert_int_equal(entry.type, COPPICE_FILE);
	}
	assert_int_equal(count, 500);
	coppice_scan_close(scan);
	assert_int_equal(coppice_scan_open(main, "d/odd1", NULL, 0, &scan),
	                 -ENOTDIR);
	assert_int_equal(coppice_scan_open(main, "none", NULL, 0, &scan),
	                 -ENOENT);
	coppice_batch_discard(b);
	coppice_state_close(main);
}

static void test_get_many(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_state *main = lib_state(w->store, "main");
	struct coppice_batch *b;
	struct coppice_get gets[300];
	char paths[300][16], values[300][4];

	ok(coppice_batch_new(w->store, &b));
	for (int i = 0; i < 300; i++) {
		snprintf(paths[i], sizeof(paths[i]), "k%d", i);
		if (i != 17)
			ok(coppice_batch_put(b, main, paths[i], paths[i] + 1,
			                     strlen(paths[i]) - 1, 0));
		gets[i] = (struct coppice_get){paths[i], 0, values[i], 4, 0};
	}
	ok(coppice_batch_commit(b, 0, NULL));
	ok(coppice_get_many(main, gets, 300));
	for (int i = 0; i < 300; i++) {
		if (i == 17) {
			assert_int_equal(gets[i].result, -ENOENT);
			continue;
		}
		assert_int_equal(gets[i].result, strlen(paths[i]) - 1);
		assert_memory_equal(values[i], paths[i] + 1,
		                    (size_t)gets[i].result);
	}
	gets[0].offset = UINT64_MAX;
	ok(coppice_get_many(main, gets, 1));
	assert_int_equal(gets[0].result, -EINVAL);
	ok(coppice_get_many(main, gets, 300));
	assert_int_equal(gets[0].result, -EINVAL);
	assert_int_equal(gets[299].result, 3);
	coppice_batch_discard(b);
	coppice_state_close(main);
}

/* ---- The store ---------------------------------------------------------- */

static void test_open(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice *other;
	struct coppice_options options = {.size = sizeof(options),
	                                  .memory = 64 << 20};

	assert_int_equal(coppice_open("/nowhere", 0, NULL, &other), -ENOENT);
	assert_non_null(strstr(coppice_error(), "/nowhere"));
	assert_int_equal(coppice_open(w->scratch.dir, 0, NULL, &other),
	                 -ENOENT);
	assert_int_equal(coppice_open(w->scratch.store, 8, NULL, &other),
	                 -EINVAL);
	lib_put(w->store, "main", "k", "kept");
	ok(coppice_close(w->store));
	ok(coppice_open(w->scratch.store, COPPICE_READ_ONLY, &options, &other));
	lib_expect_in(other, "main", "k", "kept");
	assert_int_equal(coppice_snapshot(other, "main", "s"), -EROFS);
	ok(coppice_close(other));
	ok(coppice_open(w->scratch.store, COPPICE_CREATE, NULL, &w->store));
	lib_expect_in(w->store, "main", "k", "kept");
}

/* A full store refuses a batch as a whole, and deleting gives space back. */
static void test_full_store(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_state *main;
	struct coppice_batch *b;
	uint64_t random = 1;
	uint8_t value[20000];
	char key[32];
	int rounds = 0, err;

	ok(coppice_close(w->store));
	lib_command(w, "resize 12M -s");
	ok(coppice_open(w->scratch.store, 0, NULL, &w->store));
	main = lib_state(w->store, "main");
	ok(coppice_batch_new(w->store, &b));
	do {
		snprintf(key, sizeof(key), "r%d", rounds);
		ok(coppice_batch_put(b, main, "round", key, strlen(key), 0));
		for (int i = 0; i < 40; i++) {
			for (size_t j = 0; j < sizeof(value); j += 8) {
				uint64_t word = scratch_random(&random);

				memcpy(value + j, &word, 8);
			}
			snprintf(key, sizeof(key), "k%d", i);
			ok(coppice_batch_put(b, main, key, value, sizeof(value),
			                     0));
		}
		snprintf(key, sizeof(key), "s%d", rounds);
		err = coppice_batch_commit(b, COPPICE_DURABLE, key);
	} while (!err && ++rounds < 100);
	assert_int_equal(err, -ENOSPC);
	assert_true(rounds > 2);
	snprintf(key, sizeof(key), "r%d", rounds - 1);
	lib_expect(main, "round", key);
	ok(coppice_expire(w->store, "main", INT64_MAX, 0, NULL));
	ok(coppice_reclaim(w->store));
	ok(coppice_batch_commit(b, COPPICE_DURABLE, NULL));
	snprintf(key, sizeof(key), "r%d", rounds);
	lib_expect(main, "round", key);
	coppice_batch_discard(b);
	coppice_state_close(main);
}

/* A handle is the process's that opened it. */
static bool is_refused(struct lib_fixture *w, struct coppice_state *main,
                       struct coppice_batch *b, struct coppice_scan *scan)
{
	struct coppice_stats stats = {.size = sizeof(stats)};
	struct coppice_stat stat = {.size = sizeof(stat)};
	struct coppice_info info = {.size = sizeof(info)};
	struct coppice_entry entry = {.size = sizeof(entry)};
	struct coppice_get get = {.path = "k"};
	struct coppice_state *state;
	struct coppice_batch *batch;
	struct coppice_scan *other;
	char byte;

	return coppice_get(main, "k", 0, &byte, 1) == -ECHILD &&
	       coppice_get_many(main, &get, 1) == -ECHILD &&
	       coppice_stat(main, "k", &stat) == -ECHILD &&
	       coppice_info(main, &info) == -ECHILD &&
	       coppice_diff(main, main, NULL, NULL) == -ECHILD &&
	       coppice_scan_next(scan, &entry) == -ECHILD &&
	       coppice_scan_open(main, "", NULL, 0, &other) == -ECHILD &&
	       coppice_batch_attributes(b, 0, 0, 0, 0) == -ECHILD &&
	       coppice_batch_put(b, main, "..", "3", 1, 0) == -ECHILD &&
	       coppice_batch_rename(b, main, "k", "..", 0) == -ECHILD &&
	       coppice_batch_commit(b, 0, NULL) == -ECHILD &&
	       coppice_batch_new(w->store, &batch) == -ECHILD &&
	       coppice_state_open(w->store, "main", &state) == -ECHILD &&
	       coppice_list(w->store, NULL, NULL, NULL) == -ECHILD &&
	       coppice_snapshot(w->store, "main", "s") == -ECHILD &&
	       coppice_remove(w->store, "main", 0) == -ECHILD &&
	       coppice_property(w->store, "main", "k", &byte, 1) == -ECHILD &&
	       coppice_join(w->store, "main", "x", 0, NULL) == -ECHILD &&
	       coppice_stats(w->store, &stats) == -ECHILD &&
	       coppice_event_fd(w->store) == -ECHILD &&
	       coppice_reclaim(w->store) == -ECHILD &&
	       coppice_sync(w->store) == -ECHILD;
}

static void test_fork(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_entry entry = {.size = sizeof(entry)};
	struct coppice_state *main;
	struct coppice_batch *b;
	struct coppice_scan *scan;
	int status;
	pid_t pid;

	lib_put(w->store, "main", "k", "1");
	main = lib_state(w->store, "main");
	ok(coppice_batch_new(w->store, &b));
	ok(coppice_batch_put(b, main, "k", "2", 1, 0));
	ok(coppice_scan_open(main, "", NULL, 0, &scan));
	pid = fork();
	if (!pid) {
		bool right = is_refused(w, main, b, scan);

		/* Nothing is released that is the parent's. */
		coppice_scan_close(scan);
		coppice_batch_discard(b);
		coppice_state_close(main);
		right = right && coppice_close(w->store) == -ECHILD;
		_exit(right ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	ok(coppice_batch_commit(b, 0, NULL));
	lib_expect(main, "k", "2");
	assert_int_equal(coppice_scan_next(scan, &entry), 1);
	coppice_scan_close(scan);
	coppice_batch_discard(b);
	coppice_state_close(main);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        lib_test(test_scan), lib_test(test_get_many),
	        lib_test(test_open), lib_test(test_full_store),
	        lib_test(test_fork),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
