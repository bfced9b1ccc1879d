/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Processes that read snapshots while another one deletes them: what they have
 * open stays readable, and what they cannot open is not there.
 */
#include <stdio.h>

#include "lib_child.h"

enum { READERS = 2, OPEN = 4, ROUNDS = 50 };

/* No commit begins by itself. */
static const struct coppice_options patient = {
        .size = sizeof(patient),
        .commit_ms = 3600 * 1000,
};

/* ---- A deletion that is not committed ----------------------------------- */

static struct coppice *open_to_read(const char *path)
{
	struct coppice *store;

	must(coppice_open(path, COPPICE_READ_ONLY, NULL, &store) == 0);
	return store;
}

/* Begin to read when the snapshot's blocks are free, but for the commit. */
static void late_reader(const char *path, int from, int to)
{
	struct coppice_state *old, *kept;
	struct coppice *store;
	int r;

	step_wait(from);
	store = open_to_read(path);
	r = coppice_state_open(store, "main~s1", &old);
	must(r == 0 || r == -ENOENT);
	must(coppice_state_open(store, "main~s2", &kept) == 0);
	step_done(to);
	step_wait(from); /* the deletion is committed */
	must(r || keys_have(old, "one"));
	must(keys_have(kept, "two"));
	must(coppice_state_open(store, "main~s1", &old) == -ENOENT);
	step_done(to);
	step_wait(from);
}

/* Wait until all that was deleted is free in memory; commit nothing. */
static void reclaim_wait(struct coppice *store)
{
	struct coppice_stats stats = {.size = sizeof(stats)};
	uint64_t commits;

	ok(coppice_stats(store, &stats));
	commits = stats.commits;
	do {
		poll(NULL, 0, 1);
		ok(coppice_stats(store, &stats));
	} while (stats.reclaiming);
	assert_int_equal(stats.commits, commits);
}

static void test_a_reader_comes_before_the_commit(void **state)
{
	struct lib_fixture *w = *state;
	struct child child;

	ok(coppice_close(w->store));
	child = child_start(late_reader, w->scratch.store);
	ok(coppice_open(w->scratch.store, 0, &patient, &w->store));
	keys_put(w->store, "one", "s1");
	keys_put(w->store, "two", "s2");
	ok(coppice_remove(w->store, "main~s1", 0));
	reclaim_wait(w->store);
	child_step(&child);
	ok(coppice_sync(w->store));
	child_step(&child);
	child_end(&child, SIGKILL);
}

/* Have a snapshot open when it is deleted and the commit has not come. */
static void early_reader(const char *path, int from, int to)
{
	struct coppice_state *old;
	struct coppice *store;

	step_wait(from);
	store = open_to_read(path);
	must(coppice_state_open(store, "main~s1", &old) == 0);
	step_done(to);
	step_wait(from); /* it is deleted, and that committed */
	must(keys_have(old, "one"));
	coppice_state_close(old);
	must(coppice_close(store) == 0);
	step_done(to);
	step_wait(from);
}

static void test_a_reader_comes_before_the_deletion(void **state)
{
	struct lib_fixture *w = *state;
	struct coppice_stats stats = {.size = sizeof(stats)};
	struct child child;

	ok(coppice_close(w->store));
	child = child_start(early_reader, w->scratch.store);
	ok(coppice_open(w->scratch.store, 0, &patient, &w->store));
	keys_put(w->store, "one", "s1");
	keys_put(w->store, "two", NULL);
	child_step(&child);
	ok(coppice_remove(w->store, "main~s1", 0));
	/* Returns when nothing more can be freed. */
	ok(coppice_reclaim(w->store));
	ok(coppice_stats(w->store, &stats));
	assert_int_equal(stats.reclaiming, 1);
	child_step(&child);
	/* The reader has ended. */
	do
		ok(coppice_reclaim(w->store));
	while (!coppice_stats(w->store, &stats) && stats.reclaiming);
	child_end(&child, SIGKILL);
}

/* ---- Its neighbours are deleted ----------------------------------------- */

static int info_count(void *arg, const struct coppice_info *info)
{
	++*(int *)arg;
	return 0;
}

static void neighbour_reader(const char *path, int from, int to)
{
	struct coppice_info info = {.size = sizeof(info)};
	struct coppice_state *kept;
	struct coppice *store;
	int count = 0;

	step_wait(from);
	store = open_to_read(path);
	must(coppice_state_open(store, "main~s2", &kept) == 0);
	step_done(to);
	step_wait(from); /* the snapshots before and after it have gone */
	must(coppice_info(kept, &info) == 0);
	must(coppice_list(store, "main", info_count, &count) == 0);
	must(count == 1);
	must(keys_have(kept, "two"));
	step_done(to);
	step_wait(from);
}

static void test_neighbours_are_deleted(void **state)
{
	struct lib_fixture *w = *state;
	struct child child;

	ok(coppice_close(w->store));
	child = child_start(neighbour_reader, w->scratch.store);
	ok(coppice_open(w->scratch.store, 0, NULL, &w->store));
	keys_put(w->store, "one", "s1");
	keys_put(w->store, "two", "s2");
	keys_put(w->store, "three", "s3");
	child_step(&child);
	ok(coppice_remove(w->store, "main~s1", 0));
	ok(coppice_remove(w->store, "main~s3", 0));
	ok(coppice_reclaim(w->store));
	child_step(&child);
	child_end(&child, SIGKILL);
}

/* ---- Many at once ------------------------------------------------------- */

/* The snapshots that a reader has open, and the texts of their keys. */
struct reading {
	struct coppice *store;
	struct coppice_state *states[OPEN];
	char texts[OPEN][16];
	uint64_t random;
};

/* Open the snapshot, if it is there yet. */
static int snapshot_take(void *arg, const struct coppice_info *info)
{
	struct reading *r = arg;
	size_t at = scratch_random(&r->random) % OPEN;
	int err;

	if (scratch_random(&r->random) % 3)
		return 0;
	coppice_state_close(r->states[at]);
	err = coppice_state_open(r->store, info->name, &r->states[at]);
	must(err == 0 || err == -ENOENT);
	if (err)
		r->states[at] = NULL;
	else
		snprintf(r->texts[at], sizeof(r->texts[at]), "%.15s",
		         strchr(info->name, '~') + 2);
	return 0;
}

static void reading_end(struct reading *r)
{
	for (int i = 0; i < OPEN; i++) {
		coppice_state_close(r->states[i]);
		r->states[i] = NULL;
	}
	must(coppice_close(r->store) == 0);
}

static void busy_reader(const char *path, int from, int to)
{
	struct reading r = {.random = (uint64_t)getpid()};
	struct pollfd stop = {.fd = from, .events = POLLIN};

	step_wait(from);
	step_done(to);
	do {
		r.store = open_to_read(path);
		do {
			must(coppice_list(r.store, "main", snapshot_take, &r) ==
			     0);
			for (int i = 0; i < OPEN; i++)
				must(!r.states[i] ||
				     keys_have(r.states[i], r.texts[i]));
		} while (scratch_random(&r.random) % 8);
		reading_end(&r);
	} while (!poll(&stop, 1, 0));
	step_wait(from);
	step_done(to);
}

static void test_many_read_while_snapshots_are_deleted(void **state)
{
	struct lib_fixture *w = *state;
	struct child children[READERS];
	uint64_t random = scratch_seed();
	char text[16], name[17];

	ok(coppice_close(w->store));
	for (int i = 0; i < READERS; i++)
		children[i] = child_start(busy_reader, w->scratch.store);
	ok(coppice_open(w->scratch.store, 0, &patient, &w->store));
	keys_put(w->store, "0", "s0");
	for (int i = 0; i < READERS; i++)
		child_step(&children[i]);
	for (uint64_t n = 1, last = scratch_ops(ROUNDS); n <= last; n++) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
		snprintf(name, sizeof(name), "s%s", text);
		keys_commit(w->store, text,
		            scratch_random(&random) % 4 ? 0 : COPPICE_DURABLE,
		            name);
		ok(coppice_expire(w->store, "main", INT64_MAX,
		                  scratch_random(&random) % 5, NULL));
		if (!(scratch_random(&random) % 3))
			ok(coppice_reclaim(w->store));
	}
	for (int i = 0; i < READERS; i++) {
		child_step(&children[i]);
		child_end(&children[i], 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        lib_test(test_a_reader_comes_before_the_commit),
	        lib_test(test_a_reader_comes_before_the_deletion),
	        lib_test(test_neighbours_are_deleted),
	        lib_test(test_many_read_while_snapshots_are_deleted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
