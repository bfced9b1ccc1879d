/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Power cuts.  Random work on a store is recorded write by write; then its
 * files are rebuilt as a power cut could have left it: with everything that was
 * written up to a moment, or with any of what was not synced by then lost or
 * torn.  Each such store must open, be found intact by the check, and hold what
 * the model held after one change: none before the last that was acknowledged
 * as durable, none after the last that was begun.  In every other run writes
 * and syncs fail now and then, and are tried again.
 *
 * COPPICE_POINTS=N tries N moments instead of some thousands; COPPICE_SEED=S
 * repeats a run.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/wait.h>

#include "cut.h"
#include "engine.h"
#include "scratch.h"
#include "shim.h"
#include "util.h"
#include "work.h"

enum {
	POINTS_DEFAULT = 2000,
	POINTS_A_RUN = 250,
	CHANGES_A_RUN = 250,
	/* Bytes of an entry of the log: space for a chunk of 64 KiB. */
	ENTRY_SMALL = 68 << 10,
};

/* A recorded run. */
struct run {
	uint64_t seed;
	struct recording recording;
	uint64_t digests[CHANGES_A_RUN + 1]; /* by changes made */
};

/* Counts for the closing line. */
static struct {
	uint64_t points, ordered, torn, reclaimed;
	uint64_t logged;      /* entries of the intent log, in all runs */
	uint64_t replays;     /* points at which some were replayed, */
	uint64_t replayed;    /* and how many */
	uint64_t interrupted; /* openings that were cut off, too */
	uint64_t commits;     /* different contents seen, in all runs */
	uint64_t writes, syncs, failed;
} tally;

/* ---- The work ----------------------------------------------------------- */

struct synced {
	sem_t done;
	int err;
};

static void on_synced(void *arg, int err)
{
	struct synced *synced = arg;

	synced->err = err;
	sem_post(&synced->done);
}

/*
 * In one of the ways to ask for it.  False: it failed, as it may when calls are
 * made to.
 */
enum way { BY_COMMIT, BY_FSYNC, BY_LOG };

static bool acknowledge(struct work *w, uint64_t done, enum way way)
{
	struct synced synced = {.err = -EINPROGRESS};
	uint64_t txg;

	if (way == BY_LOG) {
		store_lock(w->store);
		txg = store_txg(w->store);
		store_unlock(w->store);
		synced.err = store_log(w->store, txg);
	} else if (way == BY_FSYNC) {
		sem_init(&synced.done, 0, 0);
		fs_fsync(w->fs, NODE_ROOT, on_synced, &synced);
		sem_wait(&synced.done);
		sem_destroy(&synced.done);
	} else {
		synced.err = store_sync(w->store);
	}
	if (synced.err) {
		assert_int_equal(synced.err, -EIO);
		assert_true(tally.failed + shim_failed() > 0);
		return false;
	}
	shim_tell(done, done);
	return true;
}

/* Make one or several of the next calls fail. */
static void fail_some(uint64_t *random)
{
	struct failing failing = {
	        .meta_only = scratch_random(random) % 3 == 0,
	        .pass = scratch_random(random) % 6,
	        .count = 1 + scratch_random(random) % 3,
	        .error = EIO,
	        .how = scratch_random(random) % FAIL_HOWS,
	};

	tally.failed += shim_failed();
	shim_fail(&failing);
}

static void run_record(struct run *run, const char *path)
{
	uint64_t random = run->seed ^ 0x5eed, acked = 0;
	struct store_stats stats;
	struct work w;

	work_init(&w, path, run->seed, NULL);
	/* In some runs commits are those that are asked for. */
	if (run->seed / 2 % 2) {
		work_close(&w);
		w.options.commit_ms = 1000000;
		work_open(&w, path);
	}
	/* In some, changes of one sync take several entries of the log. */
	if (run->seed / 4 % 2)
		w.store->intent.entry_max = ENTRY_SMALL;
	assert_int_equal(store_sync(w.store), 0);
	run->digests[0] = model_digest(&w.model);
	shim_start(path);
	for (uint64_t i = 1; i <= CHANGES_A_RUN; i++) {
		shim_tell(i, acked);
		work_step(&w);
		run->digests[i] = model_digest(&w.model);
		switch (scratch_random(&random) % 16) {
		case 0:
			if (acknowledge(&w, i, scratch_random(&random) % 2))
				acked = i;
			break;
		case 1:
		case 2:
		case 3:
			if (acknowledge(&w, i, 1 + i / 8 % 2))
				acked = i;
			break;
		case 4:
		case 5:
			store_commit_start(w.store);
			usleep((useconds_t)(scratch_random(&random) % 500));
			break;
		case 6:
		case 7:
			if (run->seed % 2)
				fail_some(&random);
			break;
		}
	}
	shim_fail(&(struct failing){0});
	run->recording = shim_stop();
	store_stats(w.store, &stats);
	tally.logged += stats.logged;
	work_close(&w);
	work_release(&w);
}

/* ---- Looking at one ----------------------------------------------------- */

/* A moment: what is tried, and what may be found. */
struct point {
	const struct run *run;
	size_t index; /* of the event it is after, or within */
	bool within;
	enum fate fate;
	uint64_t random;
	uint64_t least, most; /* changes that may be seen */
	char fault[400];      /* what was found wrong, or "" */
	uint64_t seen;        /* result: changes that were seen */
};

static int on_finding(void *arg, const struct finding *f)
{
	struct point *p = arg;

	snprintf(p->fault, sizeof(p->fault), "%s: %s:%s: %s", f->kind,
	         f->state ? f->state : "-", f->path ? f->path : "-", f->text);
	return -ECANCELED;
}

static void point_fault(struct point *p, const char *what, int err)
{
	snprintf(p->fault, sizeof(p->fault), "%s: %s", what, strerror(-err));
}

static bool point_check(struct point *p, struct store *store, bool data)
{
	struct check_options options = {
	        .data = data, .found = on_finding, .arg = p};
	int r = forest_check(store, &options);

	if (r && !*p->fault)
		point_fault(p, "the check failed", r);
	return !*p->fault;
}

static bool point_compare(struct point *p, struct fs *fs)
{
	uint64_t digest;
	int r = real_digest(fs, &digest);

	if (r) {
		point_fault(p, "the states cannot be read", r);
		return false;
	}
	for (p->seen = p->most;; p->seen--) {
		if (p->run->digests[p->seen] == digest)
			return true;
		if (p->seen == p->least)
			break;
	}
	snprintf(p->fault, sizeof(p->fault),
	         "the states are as after none of the changes %llu to %llu",
	         (unsigned long long)p->least, (unsigned long long)p->most);
	for (uint64_t i = 0; i <= CHANGES_A_RUN; i++)
		if (p->run->digests[i] == digest)
			snprintf(p->fault, sizeof(p->fault),
			         "the states are as after change %llu, not "
			         "%llu to %llu",
			         (unsigned long long)i,
			         (unsigned long long)p->least,
			         (unsigned long long)p->most);
	return false;
}

static void replay_count(struct store *store)
{
	struct store_stats stats;

	store_stats(store, &stats);
	tally.replays += stats.replayed > 0;
	tally.replayed += stats.replayed;
}

/* A process that only reads sees the same, and changes nothing. */
static void point_read(struct point *p, const char *path)
{
	struct store_options options = {.memory = 8 << 20, .readonly = true};
	struct fs_options fs_options = {0};
	struct store *store = NULL;
	struct forest *forest = NULL;
	struct fs *fs = NULL;
	int r = store_open(path, &options, &store);

	if (!r)
		r = forest_open(store, &forest);
	if (!r)
		r = fs_create(forest, &fs_options, &fs);
	if (r)
		point_fault(p, "it cannot be opened to be read", r);
	else if (point_compare(p, fs))
		p->least = p->most = p->seen;
	fs_destroy(fs);
	forest_close(forest);
	store_close(store);
}

/* The power fails again while the intent log is replayed. */
static void point_interrupt(struct point *p, const char *path)
{
	struct store_options options = {.close_ms = 1, .retry_ms = 1};
	struct failing failing = {
	        .pass = (p->random >> 16) % 8,
	        .count = UINT64_MAX,
	        .error = EIO,
	        .how = (p->random >> 20) % FAIL_HOWS,
	};
	struct recording recording;
	struct store *store;

	shim_start(path);
	shim_fail(&failing);
	if (store_open(path, &options, &store) == 0)
		store_close(store);
	tally.interrupted += shim_failed() > 0;
	recording = shim_stop();
	recording_release(&recording);
}

/* Open it as after the power came back, with all that runs then. */
static void point_use(struct point *p, const char *path, bool drain)
{
	struct store_options options = {.memory = 8 << 20, .level = -5};
	struct fs_options fs_options = {0};
	struct store *store = NULL;
	struct forest *forest = NULL;
	struct fs *fs = NULL;
	int r = store_open(path, &options, &store);

	if (!r)
		replay_count(store);
	if (!r && !point_check(p, store, p->random % 4 == 0))
		goto out;
	if (!r)
		r = forest_open(store, &forest);
	if (!r)
		r = fs_create(forest, &fs_options, &fs);
	if (r) {
		point_fault(p, "it cannot be opened", r);
		goto out;
	}
	if (!point_compare(p, fs) || !drain)
		goto out;
	/* Freeing of space goes on, and harms nothing. */
	r = forest_drain(forest);
	if (r)
		point_fault(p, "space cannot be given back", r);
	else if (point_check(p, store, true))
		point_compare(p, fs);
out:
	fs_destroy(fs);
	forest_close(forest);
	store_close(store);
}

static void point_run(struct point *p, const struct disk_state *d,
                      const char *path)
{
	const struct event *e = &p->run->recording.events[p->index];
	bool drain = p->random % 5 == 0;
	uint64_t random = p->random;

	for (int i = 0; i < RECORDED_FILES; i++) {
		struct disk_state cut =
		        disk_cut(&d[i], p->within ? e : NULL, p->fate, &random);

		disk_write(&cut, path);
		disk_release(&cut);
	}
	if ((p->random >> 12) % 4 == 0)
		point_read(p, path);
	if ((p->random >> 14) % 4 == 0)
		point_interrupt(p, path);
	if (!*p->fault)
		point_use(p, path, drain);
	tally.points++;
	tally.ordered += p->fate == FATE_ORDERED;
	tally.torn += p->fate == FATE_SOME;
	tally.reclaimed += drain;
}

/* ---- All of a run ------------------------------------------------------- */

static int compare_size(const void *a, const void *b)
{
	size_t x = *(const size_t *)a, y = *(const size_t *)b;

	return x < y ? -1 : x > y;
}

/* Moments in order; more of them where a commit becomes valid. */
static void points_choose(const struct recording *r, size_t *at, size_t count,
                          uint64_t *random)
{
	for (size_t i = 0; i < count; i++) {
		at[i] = scratch_random(random) % r->len;
		for (int j = 0; i % 2 && j < 200; j++) {
			if (r->events[at[i]].kind == EVENT_SYNC ||
			    r->events[at[i]].synced)
				break;
			at[i] = (at[i] + 1) % r->len;
		}
	}
	qsort(at, count, sizeof(*at), compare_size);
}

/* The moment's bounds: see struct event. */
static void point_bounds(struct point *p)
{
	const struct recording *r = &p->run->recording;
	const struct event *e = &r->events[p->index];

	p->most = e->issued;
	p->least = e->acked;
	/* Changes acknowledged before the next call began must be there, too.
	 */
	if (!p->within && p->index + 1 < r->len)
		p->least = r->events[p->index + 1].acked;
}

static void disks_advance(struct disk_state *d, const struct event *e,
                          bool no_sync)
{
	for (int i = 0; i < RECORDED_FILES; i++)
		disk_advance(&d[i], e, no_sync);
}

/* Returns the number of points at which something was wrong. */
static uint64_t run_replay(const struct run *run, const char *path,
                           size_t count, bool no_sync, bool print)
{
	const struct recording *r = &run->recording;
	struct disk_state d[RECORDED_FILES];
	size_t *at = calloc(count, sizeof(*at)), next = 0;
	uint64_t random = run->seed ^ 0xc0ffee, faults = 0, seen = 0;

	assert_non_null(at);
	for (int i = 0; i < RECORDED_FILES; i++)
		d[i] = disk_begin(r, i);
	points_choose(r, at, count, &random);
	for (size_t i = 0; i < count; i++) {
		struct point p = {.run = run, .index = at[i]};

		p.random = scratch_random(&random);
		p.within = p.random >> 8 & 1;
		p.fate = p.random >> 9 & 3 ? FATE_SOME : FATE_ORDERED;
		while (next < at[i])
			disks_advance(d, &r->events[next++], no_sync);
		/* The next may begin again what was begun within. */
		if (!p.within && next == at[i])
			disks_advance(d, &r->events[next++], no_sync);
		else if (next > at[i])
			p.within = false;
		point_bounds(&p);
		point_run(&p, d, path);
		tally.commits += i && p.seen != seen;
		seen = p.seen;
		if (!*p.fault)
			continue;
		faults++;
		if (print)
			print_message(
			        "# seed %llu, %s write %zu of %zu%s: "
			        "%s\n",
			        (unsigned long long)run->seed,
			        p.within ? "within" : "after", p.index, r->len,
			        p.fate == FATE_SOME ? ", torn" : "", p.fault);
	}
	free(at);
	for (int i = 0; i < RECORDED_FILES; i++)
		disk_release(&d[i]);
	return faults;
}

static void run_release(struct run *run)
{
	recording_release(&run->recording);
	free(run);
}

static struct run *run_make(uint64_t seed, struct scratch *scratch)
{
	struct run *run = calloc(1, sizeof(*run));
	char again[100];

	assert_non_null(run);
	run->seed = seed;
	scratch_init(scratch);
	run_record(run, scratch->store);
	for (size_t i = 0; i < run->recording.len; i++) {
		tally.writes += run->recording.events[i].kind < EVENT_SYNC;
		tally.syncs += run->recording.events[i].kind >= EVENT_SYNC;
	}
	/* The next one is put where this one was. */
	snprintf(again, sizeof(again), "%s/lock.mdb", scratch->store);
	unlink(again);
	return run;
}

static uint64_t points_wanted(void)
{
	const char *given = getenv("COPPICE_POINTS");
	const char *slower = getenv("COPPICE_TEST_SLOWER");

	if (given)
		return strtoull(given, NULL, 0);
	return POINTS_DEFAULT / (slower ? strtoull(slower, NULL, 0) : 1);
}

static void test_power_cuts(void **state)
{
	uint64_t seed = scratch_seed(), left = points_wanted(), faults = 0;

	for (; left && !faults; seed++) {
		size_t count = MIN(left, (uint64_t)POINTS_A_RUN);
		struct scratch scratch;
		struct run *run = run_make(seed, &scratch);

		faults += run_replay(run, scratch.store, count, false, true);
		run_release(run);
		scratch_release(&scratch);
		left -= count;
	}
	print_message("# %llu power cuts (%llu in order, %llu with writes lost "
	              "or torn; after %llu the reclaiming went on): %llu "
	              "faults; %llu writes and %llu syncs recorded, %llu "
	              "of them made to fail, %llu commits seen; %llu entries "
	              "logged, %llu replayed at %llu points; %llu openings cut "
	              "off\n",
	              (unsigned long long)tally.points,
	              (unsigned long long)tally.ordered,
	              (unsigned long long)tally.torn,
	              (unsigned long long)tally.reclaimed,
	              (unsigned long long)faults,
	              (unsigned long long)tally.writes,
	              (unsigned long long)tally.syncs,
	              (unsigned long long)tally.failed,
	              (unsigned long long)tally.commits,
	              (unsigned long long)tally.logged,
	              (unsigned long long)tally.replayed,
	              (unsigned long long)tally.replays,
	              (unsigned long long)tally.interrupted);
	assert_int_equal(faults, 0);
}

/*
 * The same work, but as if no sync did anything: if the test did not find fault
 * with that, it could find none at all.  What LMDB makes of such files may well
 * be a crash, so this is done in another process.
 */
static void test_sync_matters(void **state)
{
	uint64_t seed = scratch_seed();
	struct scratch scratch;
	struct run *run = run_make(seed, &scratch);
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		signal(SIGABRT, SIG_DFL);
		signal(SIGBUS, SIG_DFL);
		quiet();
		_exit(run_replay(run, scratch.store, 40, true, false) ? 3 : 0);
	}
	assert_true(waitpid(pid, &status, 0) == pid);
	assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	run_release(run);
	scratch_release(&scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_power_cuts),
	        cmocka_unit_test(test_sync_matters),
	};

	/* Reserving a smaller map is quicker. */
	setenv("COPPICE_MAP_SIZE", "0x20000000", 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
