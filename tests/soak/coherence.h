/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A random test of several mounts of one state.  Worker processes change files
 * through all of them and compare the result through all of them; the parent
 * watches that every worker makes progress.
 */
#ifndef COPPICE_COHERENCE_H
#define COPPICE_COHERENCE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

enum {
	MOUNTS_MAX = 32,
	WORKERS_MAX = 64,
	STEPS_KEPT = 400,
	STEP_LEN = 120,
	FAILED = 1, /* exit codes */
	HUNG = 3,
};

/* The last steps of a worker, for the report of a failure. */
struct steps {
	atomic_ulong count; /* also the measure of progress */
	char text[STEPS_KEPT][STEP_LEN];
};

/* A file as the server has it while all workers pause. */
struct truth {
	uint64_t ino; /* 0: unused */
	uint64_t hash;
	struct stat st;
};

enum { TRUTHS = 64 };

/* Memory that all processes share. */
struct shared {
	atomic_bool stop;
	atomic_bool failed;
	atomic_uint connections[MOUNTS_MAX]; /* their numbers; 0: none */
	pthread_barrier_t barrier;
	atomic_bool pause; /* decided by worker 0, read by all at a barrier */
	struct truth truths[TRUTHS];
	struct steps steps[WORKERS_MAX];
};

struct options {
	uint64_t seed;
	double seconds;
	unsigned long max_steps; /* 0: no limit */
	double hang;
	const char *on_hang; /* a command, or NULL */
	const char *remount; /* called with "mount" or "umount" and a folder */
	unsigned workers;
	bool snapshots;
	unsigned mounts;
	char *dirs[MOUNTS_MAX];
};

/* The state of a worker process. */
struct worker {
	const struct options *options;
	struct shared *shared;
	unsigned number;
	uint64_t random;
	uint64_t end_ns;
};

uint64_t worker_random(struct worker *worker);
/* A number below n. */
unsigned worker_below(struct worker *worker, unsigned n);
/* True in one of n cases. */
bool worker_one_in(struct worker *worker, unsigned n);
/* Record the step that is about to be done. */
void worker_step(struct worker *worker, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
/* Return true once the time is over or another worker failed. */
bool worker_done(struct worker *worker);
/* Report a failure with the last steps, and exit. */
_Noreturn void worker_fail(struct worker *worker, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
/* Fail with errno unless good. */
void worker_need(struct worker *worker, bool good, const char *what);
/* Have a DIR mounted ("mount") or unmounted ("umount"); see coherence.c. */
void worker_remount(struct worker *worker, const char *what, unsigned mount);

uint64_t now_ns(void);
uint64_t hash_bytes(const void *data, size_t len);

/*
 * Call fn(arg) and return true if it went without SIGBUS; see also
 * coherence.c.
 */
bool without_sigbus(void (*fn)(void *arg), void *arg);

/* One function a mode; run by each worker process. */
void model_run(struct worker *worker);
void storm_run(struct worker *worker);
void partial_run(struct worker *worker);
void truncate_run(struct worker *worker);
void gaps_run(struct worker *worker);

#endif
