/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "autosnap.h"

#include <errno.h>
#include <pthread.h>

#include "autosnap_times.h"
#include "time_name.h"
#include "util.h"

enum {
	EXPIRE_MOST = 1024, /* deletions of a fork in one interval */
	DELETE_PIECE = 16,  /* deletions between two store_yield() */
	CACHED_FORKS = 1024,
	RETRY_NS = 200000000, /* while the daemon is ending */
};

/* A rule and the time at which it is due. */
struct job {
	struct autosnap_rule rule;
	int64_t due; /* mono_ns() */
	int logged;  /* the error that was logged last; 0: none */
	struct job *next;
};

struct autosnap {
	struct autosnap_options options;
	struct forest *forest;
	struct store *store;
	pthread_t thread;
	bool runs;
	pthread_mutex_t run;  /* held while the work of an interval is done */
	pthread_mutex_t lock; /* guards the fields below */
	pthread_cond_t wake;
	struct job *jobs;
	bool stop;
	/* Cache, indexed by fork number; guarded by `run`. */
	struct autosnap_times times[CACHED_FORKS];
};

/* ---- Snapshots ---------------------------------------------------------- */

/*
 * Return true if the fork differs from its newest snapshot or, without a
 * snapshot, has changed since the fork was made.  Lock held.
 */
static bool fork_is_new(struct autosnap *a, struct state *fork)
{
	char name[NAME_LEN_MAX + 8];
	uint64_t parent = state_parent_id(fork);
	bool unchanged, has_changed;
	struct state *newest;

	if (state_is_unchanged(fork, &unchanged) || !unchanged)
		return true;
	has_changed = state_version_created(fork) > fork->created;
	if (!fork->snapshots)
		return has_changed;
	snprintf(name, sizeof(name), "%s~1", fork->name);
	/* The lock may be released, and the fork gone. */
	if (state_at_position(a->forest, name, &newest))
		return has_changed;
	return state_version_id(newest) != parent;
}

/*
 * Snapshot the fork if it has changed.  1: done, `name` is the snapshot's; 0:
 * unchanged, gone, or not a fork.  Lock held; it may be released.
 */
static int fork_snapshot(struct autosnap *a, uint64_t number,
                         struct autosnap_times *times, char name[TIME_NAME_MAX])
{
	const struct fs_cred cred = {a->options.uid, 0, 0};
	struct state *fork, *snapshot;
	int r = state_get(a->forest, number, &fork);

	if (r < 0 || fork->fork)
		return r == -ESTALE ? 0 : r;
	if (!fork_is_new(a, fork))
		return 0;
	for (unsigned again = 0;; again++) {
		/* The lock may have been released. */
		r = state_get(a->forest, number, &fork);
		if (r < 0)
			return r == -ESTALE ? 0 : r;
		time_name_now(again, name);
		r = fs_state_snapshot(a->options.fs, fork, name, &cred,
		                      &snapshot);
		if (r != -EEXIST)
			break;
	}
	if (!r)
		r = autosnap_times_add(times, snapshot);
	return r < 0 ? r : 1;
}

/* ---- Expiry ------------------------------------------------------------- */

/* Delete one snapshot.  Lock held. */
static int delete_one(struct autosnap *a, struct autosnap_times *times,
                      uint64_t number, char name[NAME_LEN_MAX + 1])
{
	struct state *s;
	int r = state_get(a->forest, number, &s);

	if (!r && s->fork != times->fork)
		r = -ESTALE;
	if (!r) {
		memcpy(name, s->name, sizeof(s->name));
		r = fs_state_delete(a->options.fs, s, false);
	}
	if (!r || r == -ESTALE)
		autosnap_times_del(times, number);
	return r;
}

/* Delete the snapshots that the policy does not keep.  Lock NOT held. */
static int fork_expire(struct autosnap *a, struct autosnap_times *times,
                       const struct retention *policy)
{
	_cleanup_free_ uint64_t *numbers = NULL;
	char name[NAME_LEN_MAX + 1];
	size_t count = 0;
	bool deleted = false;
	int r = autosnap_times_load(times, a->forest), first = 0;

	if (!r)
		r = autosnap_times_expired(times, policy, now_ns(), EXPIRE_MOST,
		                           &numbers, &count);
	if (r < 0)
		return r == -ESTALE ? 0 : r;
	for (size_t i = 0; i < count; i++) {
		store_lock(a->store);
		r = delete_one(a, times, numbers[i], name);
		store_unlock(a->store);
		if (!r) {
			mounts_name_changed(a->options.mounts, times->fork,
			                    name, false);
			deleted = true;
		} else if (r != -ESTALE && !first) {
			first = r;
		}
		if (i % DELETE_PIECE == DELETE_PIECE - 1)
			store_yield(a->store);
	}
	if (deleted)
		mounts_states_gone(a->options.mounts);
	return first;
}

/* ---- An interval -------------------------------------------------------- */

/* Return the cached list of the fork's snapshots, which may be empty. */
static struct autosnap_times *times_of(struct autosnap *a, uint64_t fork)
{
	struct autosnap_times *times = &a->times[fork % CACHED_FORKS];

	if (times->fork != fork) {
		autosnap_times_release(times);
		times->fork = fork;
	}
	return times;
}

static int fork_run(struct autosnap *a, uint64_t fork,
                    const struct retention *policy)
{
	struct autosnap_times *times = times_of(a, fork);
	char name[TIME_NAME_MAX];
	int err = store_throttle(a->store, true), r = 0;

	if (!err) {
		store_lock(a->store);
		err = fork_snapshot(a, fork, times, name);
		store_unlock(a->store);
	}
	if (err > 0)
		mounts_name_changed(a->options.mounts, fork, name, true);
	/* Even after an error: deletions make room in a full store. */
	if (!retention_is_empty(policy) && err)
		r = fork_expire(a, times, policy);
	return err < 0 ? err : r;
}

static int forks_run(struct autosnap *a, const struct retention *policy)
{
	struct state_walk walk = {0};
	uint64_t numbers[STATE_WALK_PIECE];
	size_t count = 0;
	int r, first = 0;

	do {
		store_lock(a->store);
		r = state_walk(a->forest, &walk, numbers, &count);
		store_unlock(a->store);
		for (size_t i = 0; (!r || r == -EAGAIN) && i < count; i++) {
			int err = fork_run(a, numbers[i], policy);

			first = first ? first : err;
		}
		if (r == -EAGAIN && store_yield(a->store))
			r = -EINTR;
	} while (r == -EAGAIN);
	return r ? r : first;
}

int autosnap_run(struct autosnap *a, const struct autosnap_rule *rule)
{
	int r;

	pthread_mutex_lock(&a->run);
	r = rule->state ? fork_run(a, rule->state, &rule->keep)
	                : forks_run(a, &rule->keep);
	pthread_mutex_unlock(&a->run);
	return r;
}

/* ---- The thread --------------------------------------------------------- */

static int is_session(void *arg, struct session *session)
{
	return session->id == *(const uint64_t *)arg;
}

/* Log an error unless it is the one that was logged last. */
static void job_log(struct job *job, int err)
{
	if (err && err != job->logged)
		log_warning("autosnap: %s; it is tried again at the end of "
		            "each interval",
		            err == -EBUSY
		                    ? "a snapshot that should expire is held, "
		                      "or the default state"
		                    : strerror(-err));
	job->logged = err;
}

/* Do the work of a job that is due.  Return false if its mount has ended. */
static bool job_run(struct autosnap *a, struct job *job)
{
	int64_t now;

	if (a->options.begin(a->options.arg) < 0) {
		job->due = mono_ns() + RETRY_NS;
		return true;
	}
	if (!mounts_each(a->options.mounts, is_session, &job->rule.session)) {
		a->options.end(a->options.arg);
		return false;
	}
	job_log(job, autosnap_run(a, &job->rule));
	a->options.end(a->options.arg);
	/* Skip the intervals that have passed meanwhile. */
	now = mono_ns();
	job->due += job->rule.interval;
	if (job->due < now)
		job->due = now;
	return true;
}

/* Return the link to the job that is due first, or to NULL.  Lock held. */
static struct job **job_first(struct autosnap *a)
{
	struct job **first = &a->jobs;

	for (struct job **at = &a->jobs; *at; at = &(*at)->next)
		if ((*at)->due < (*first)->due)
			first = at;
	return first;
}

/* Wait until a time of mono_ns().  Lock held. */
static void wait_until(struct autosnap *a, int64_t due)
{
	struct timespec ts = {.tv_sec = due / 1000000000,
	                      .tv_nsec = due % 1000000000};

	pthread_cond_timedwait(&a->wake, &a->lock, &ts);
}

static void *autosnap_main(void *arg)
{
	struct autosnap *a = arg;

	pthread_setname_np(pthread_self(), "autosnap");
	pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		struct job **first = job_first(a), *job = *first;

		if (!job) {
			pthread_cond_wait(&a->wake, &a->lock);
			continue;
		}
		if (job->due > mono_ns()) {
			wait_until(a, job->due);
			continue;
		}
		/* Only this thread removes jobs; new ones are put first. */
		pthread_mutex_unlock(&a->lock);
		if (job_run(a, job))
			job = NULL;
		pthread_mutex_lock(&a->lock);
		if (!job)
			continue;
		for (first = &a->jobs; *first != job;)
			first = &(*first)->next;
		*first = job->next;
		free(job);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

int autosnap_create(const struct autosnap_options *options,
                    struct autosnap **ret_autosnap)
{
	struct autosnap *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	a->options = *options;
	a->forest = fs_forest(options->fs);
	a->store = forest_store(a->forest);
	pthread_mutex_init(&a->run, NULL);
	pthread_mutex_init(&a->lock, NULL);
	cond_init_monotonic(&a->wake);
	r = pthread_create(&a->thread, NULL, autosnap_main, a);
	a->runs = !r;
	if (r) {
		autosnap_destroy(a);
		return -r;
	}
	*ret_autosnap = a;
	return 0;
}

int autosnap_add(struct autosnap *a, const struct autosnap_rule *rule)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return -ENOMEM;
	job->rule = *rule;
	job->due = mono_ns() + rule->interval;
	pthread_mutex_lock(&a->lock);
	job->next = a->jobs;
	a->jobs = job;
	pthread_cond_signal(&a->wake);
	pthread_mutex_unlock(&a->lock);
	return 0;
}

void autosnap_destroy(struct autosnap *a)
{
	struct job *job;

	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	pthread_cond_signal(&a->wake);
	pthread_mutex_unlock(&a->lock);
	if (a->runs)
		pthread_join(a->thread, NULL);
	while ((job = a->jobs)) {
		a->jobs = job->next;
		free(job);
	}
	for (size_t i = 0; i < CACHED_FORKS; i++)
		autosnap_times_release(&a->times[i]);
	pthread_cond_destroy(&a->wake);
	pthread_mutex_destroy(&a->lock);
	pthread_mutex_destroy(&a->run);
	free(a);
}
