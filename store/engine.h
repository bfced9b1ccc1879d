/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * struct store: what all of the engine shares.  Inside store/ only.
 *
 * Order of locks: store->lock, then disk.pool_lock.  The committer holds
 * neither while it writes.
 */
#ifndef COPPICE_ENGINE_H
#define COPPICE_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "block.h"
#include "bulk.h"
#include "damage.h"
#include "disk.h"
#include "geometry.h"
#include "intent_log.h"
#include "repack.h"
#include "txg.h"
#include "util.h"

/* A number that no process may mark until the group is on disk. */
struct claim {
	uint64_t number, txg;
};

struct store {
	/* constant */
	char *path;
	struct geometry geometry; /* the lock guards its variable fields */
	struct store_options options;
	struct disk disk;
	int lock_fd;
	int marks_fd;       /* see mark.c; -1: none */
	size_t clean_limit; /* bytes of clean blocks to keep, at most */
	size_t txg_soft;    /* bytes at which a group is committed */
	size_t txg_hard;    /* bytes at which writers wait for the committer */
	uint64_t ops_most;  /* list entries that one commit handles */
	uint64_t ops_most_alone; /* the same while no other thread uses the
	                            store */

	bool (*_Atomic cancelled)(void); /* see store_on_yield() */
	void (*_Atomic stalls)(bool);    /* see store_on_stall() */
	atomic_uint lock_waiters;        /* threads that wait for the lock */
	/*
	 * Processor of the last hold that store_holds() counts; -1: none since
	 * the committer has rested on it.
	 */
	atomic_int holder_cpu;
	struct sharers *sharers; /* see lock.c; NULL: the lock is not shared */
	atomic_bool exclusive; /* the lock is held, or wanted, by one thread */
	pthread_mutex_t lock;  /* guards all below */
#ifndef NDEBUG
	store_hold_fn *hold_fn; /* see store_on_unlock() */
	void *hold_arg;
	int64_t hold_since;
	uint64_t work; /* look-ups of blocks and records */
	uint64_t work_before;
#endif
	uint64_t holds;  /* times that the lock was taken: store_holds() */
	uint64_t passed; /* removed records that walks stepped over */
	MDB_txn *reader; /* of the lock's holder; begun at its first read */
	size_t seen_txn; /* LMDB's number of the last one; see mark.c */
	void (*newer_fn)(void *arg);
	void *newer_arg;
	struct claim *claims; /* see mark.c; ascending by group */
	size_t claims_len, claims_room;

	uint64_t seq;
	uint64_t stamp; /* the last one that a tree got */
	uint64_t counters[COUNTER_COUNT];

	struct block **buckets;
	size_t buckets_len; /* a power of two */
	size_t blocks_len;
	struct block clean; /* ring: clean.newer is the oldest */
	size_t clean_bytes;

	struct txg *open_txg;
	struct txg *syncing_txg; /* being committed, or NULL */
	int64_t commit_began;    /* mono_ns of the last try */
	int64_t kib_ns; /* ns per KiB of the last large group; 0: none yet */
	uint64_t durable_txg;
	int commit_err;        /* of the last try */
	unsigned failures;     /* failed tries; 0: the last one succeeded */
	int64_t failing_since; /* mono_ns of the first failed try */
	int64_t failed_at;     /* mono_ns of the last failed try */
	int64_t retry_pause;   /* ns from the last failed try until the next */
	uint64_t mended_txg; /* group that ends the failing; 0: not known yet */
	bool commit_asked;
	unsigned txg_waiters; /* threads that wait for a group to be durable */
	bool throttled;       /* writers have waited since a group was closed */
	bool compresses;      /* committer only: the last chunks got shorter */
	bool stopping;
	int64_t stop_by; /* mono_ns after which commits are not retried */
	bool committer_runs;
	uint64_t commits;
	uint64_t tries; /* commits, failed ones included */
	/* about the file: see reservation.c */
	uint64_t limit;         /* bytes it may grow to */
	uint64_t used;          /* end of its last page as of the last commit */
	uint64_t granted;       /* end of its preallocated disk space */
	bool granted_once;      /* its space was preallocated from the start */
	bool cannot_grant;      /* its file system does not preallocate */
	bool granting;          /* a thread preallocates without the lock */
	uint64_t prepare_after; /* `tries` at which to preallocate again */
	uint64_t avail;         /* bytes that may be written */
	uint64_t coming;        /* further bytes, after another commit */
	bool free_known;        /* the two include free pages within the file */
	pthread_cond_t committer_wake;
	pthread_cond_t committed;
	pthread_t committer;
	size_t freed; /* committer only: bytes of groups since its last trim */

	void (*full_fn)(void *arg); /* lock; see store_on_full() */
	void *full_arg;
	void (*txg_close_fn)(void *arg);
	void *txg_close_arg;

	struct intent_log intent;

	struct table_undo *undo; /* of the lock's holder, or NULL */

	struct decoder *decoders; /* at rest; guarded by disk.pool_lock */

	struct bulk_state bulk;
	struct damage_log damage_log;
	struct sparse sparse;
};

/* store.c: read the record of the store itself.  Lock held. */
int store_load_geometry(struct store *store);

#endif
