/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Group commit: the thread that writes groups, the times at which it does, and
 * the threads that wait for it.
 */
#include "commit.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "chunk_encoder.h"
#include "codec.h"
#include "engine.h"
#include "free.h"
#include "lock.h"
#include "reservation.h"
#include "write.h"

enum {
	CLEAN_SLICE = 32, /* blocks: 2 MiB of chunks may be freed */
	/* Pauses between tries of a commit that fails, at most. */
	RETRY_MOST_MS = 30000,
	RETRY_CLOSING_MS = 1000,
	TRIM_IDLE_MS = 10000, /* until freed memory is given back */
	/* Smaller groups are not measured, if memory allows larger ones. */
	DURATION_KIB = 4096,
};

/* ---- Closing a group ---------------------------------------------------- */

static bool txg_is_empty(const struct txg *txg)
{
	return !txg->since && !txg->job && !txg->waiters;
}

static int counters_put(struct store *store)
{
	uint8_t value[8 * (1 + COUNTER_COUNT)];
	struct writer w = writer_init(value, sizeof(value));

	put_u64(&w, store->seq);
	for (int i = 0; i < COUNTER_COUNT; i++)
		put_u64(&w, store->counters[i]);
	return table_put(store, TABLE_META, "counters", 8, value,
	                 writer_len(&w));
}

/* Return true if a chunk of the group may be stored as a splice. */
static bool wants_splices(const struct txg *txg)
{
	for (size_t i = 0; i < txg->chunks_len; i++) {
		const struct chunk *chunk = txg->chunks[i];

		if (chunk->replaces && chunk->len >= SHARE_MIN &&
		    !chunk_is_patch(chunk))
			return true;
	}
	return false;
}

/*
 * Set the feature of splices in the group that may store the first ones.  If
 * that fails, the group stores none.  Lock held.
 */
static void splices_allow(struct store *store)
{
	struct txg *txg = store->open_txg;

	txg->may_splice =
	        store_has_feature(store, STORE_FEATURE_SPLICES) ||
	        (wants_splices(txg) &&
	         !store_set_feature(store, STORE_FEATURE_SPLICES, true));
}

/* Set the feature of patches in the group that may store the first ones. */
static int patches_allow(struct store *store)
{
	const struct txg *txg = store->open_txg;

	if (store_has_feature(store, STORE_FEATURE_PATCHES))
		return 0;
	for (size_t i = 0; i < txg->chunks_len; i++)
		if (chunk_is_patch(txg->chunks[i]))
			return store_set_feature(store, STORE_FEATURE_PATCHES,
			                         true);
	return 0;
}

/* Make the open group the syncing one, and open a new one. Lock held. */
static int txg_close(struct store *store)
{
	struct txg *txg = store->open_txg, *next;
	int r;

	next = txg_create(txg->number + 1);
	if (!next)
		return -ENOMEM;
	if (store->txg_close_fn)
		store->txg_close_fn(store->txg_close_arg);
	splices_allow(store);
	r = patches_allow(store);
	if (r == 0)
		r = counters_put(store);
	if (r == 0)
		r = intent_log_close_txg(store, next);
	if (r < 0) {
		txg_destroy(next);
		return r;
	}
	for (size_t i = 0; i < txg->nodes_len; i++)
		txg->nodes[i]->block.state = BLOCK_SYNCING;
	for (size_t i = 0; i < txg->chunks_len; i++)
		txg->chunks[i]->block.state = BLOCK_SYNCING;
	/*
	 * After logged batches, the next one must wait for this group.
	 * Content that does not compress takes little time to encode.
	 */
	txg->waited =
	        txg->waiters || store->txg_waiters ||
	        (intent_log_has_runs(store) && txg->bytes > store->txg_soft) ||
	        (store->throttled && store->compresses);
	store->throttled = false;
	store->syncing_txg = txg;
	store->open_txg = next;
	store->commit_asked = false;
	return 0;
}

/*
 * Finish a group that is on disk.  Lock held, and released between slices, so
 * that others wait for one slice at most.
 */
static void txg_finish(struct store *store, struct txg *txg)
{
	size_t slice = 0;

	for (size_t i = 0; i < txg->nodes_len + txg->chunks_len; i++) {
		struct block *block =
		        i < txg->nodes_len
		                ? &txg->nodes[i]->block
		                : &txg->chunks[i - txg->nodes_len]->block;

		/*
		 * When the block is changed or dropped again, its stored bytes
		 * must be freed.
		 */
		if (block->kind == BLOCK_NODE)
			((struct node *)block)->stored = true;
		block_clean(store, block);
		if (++slice == CLEAN_SLICE) {
			slice = 0;
			block_trim(store, 2 * CLEAN_SLICE);
			store_unlock(store);
			store_lock(store);
		}
	}
}

void waiters_take(struct waiter **from, struct waiter **to)
{
	struct waiter **end = from;

	while (*end)
		end = &(*end)->next;
	*end = *to;
	*to = steal(from);
}

void waiters_call(struct waiter *waiter, int err)
{
	while (waiter) {
		struct waiter *next = waiter->next;

		waiter->fn(waiter->arg, err);
		free(waiter);
		waiter = next;
	}
}

/* Return memory to the system if over `bytes` were freed.  Lock NOT held. */
static void trim_after(struct store *store, size_t bytes)
{
	if (store->freed <= bytes)
		return;
	memory_trim();
	store->freed = 0;
}

/* ---- Failing ------------------------------------------------------------ */

static int64_t retry_least(const struct store *store)
{
	return (int64_t)store->options.retry_ms * 1000000;
}

/* Record a failed try; commit_due() schedules the next one.  Lock held. */
static void failure_note(struct store *store, int err)
{
	int64_t now = mono_ns(), most = (int64_t)RETRY_MOST_MS * 1000000;

	if (err != store->commit_err)
		log_error("cannot write to the store '%s': %s; its changes "
		          "are kept in memory, and this is tried again",
		          store->path, strerror(-err));
	if (!store->failures)
		store->failing_since = now;
	store->failures++;
	/*
	 * Pause for as long as commits have failed so far.  Retries that were
	 * asked for do not change that.
	 */
	store->retry_pause =
	        MAX(now - store->failing_since, retry_least(store));
	store->retry_pause = MIN(store->retry_pause, most);
	store->failed_at = now;
	store->mended_txg = 0;
	store->commit_err = err;
}

/*
 * Record a success after failures.  The failures are over when all groups that
 * were pending at the first success are durable.  Lock held.
 */
static void failure_end(struct store *store)
{
	if (!store->mended_txg) {
		store->mended_txg = store->durable_txg;
		if (!txg_is_empty(store->open_txg)) {
			store->mended_txg = store->open_txg->number;
			store->commit_asked = true;
		}
	}
	if (store->durable_txg < store->mended_txg)
		return;
	log_warning("the store '%s' can be written again: its changes are "
	            "saved (%u tries in %lld s had failed)",
	            store->path, store->failures,
	            (long long)(mono_ns() - store->failing_since) / 1000000000);
	store->failures = 0;
	store->mended_txg = 0;
}

/* Return true for an error that may pass by itself. */
static bool may_pass(int err)
{
	return err == -EIO || err == -ENOSPC || err == -ENOMEM ||
	       err == -EAGAIN || err == -EMFILE || err == -ENFILE;
}

/* Map an error of writing a group to the error to report. */
static int commit_error(const struct store *store, int err)
{
	/* LMDB returns EIO for a write that a full disk cut short. */
	if (err == -EDQUOT || (err == -EIO && reservation_disk_full(store)))
		return -ENOSPC;
	return err;
}

/* ---- One commit --------------------------------------------------------- */

/* Take the job from a group that could not be written. */
static void job_refuse(struct txg *txg)
{
	for (struct list_job *job = txg->job; job; job = job->next)
		job->refused = true;
	txg->job = NULL;
}

/*
 * Write a group.  If there is too little space, write it without its job: the
 * other changes have their space reserved.  Lock held on entry and return, but
 * not during the write.
 */
static int txg_write(struct store *store, struct txg *txg)
{
	int r;

	store_unlock(store);
	r = commit_error(store, commit_write(store, txg));
	store_lock(store);
	if (r != -ENOSPC || !txg->job)
		return r;
	job_refuse(txg);
	return txg_write(store, txg);
}

/*
 * Measure how long the group took, to slow writers down during the next one.
 * Skip small groups, which take the time of their syncs.  Lock held.
 */
static void duration_note(struct store *store, const struct txg *txg)
{
	int64_t kib = (int64_t)(txg->bytes >> 10);

	if (kib >= MIN((int64_t)DURATION_KIB, (int64_t)store->txg_soft >> 11))
		store->kib_ns = (mono_ns() - store->commit_began) / kib;
}

/*
 * Write the syncing group; if there is none, close the open one first.  A group
 * that could not be written stays the syncing one and is retried.  Lock held on
 * entry and return, but not during the write.
 */
static void commit_run(struct store *store)
{
	struct waiter *waiters = NULL;
	struct txg *txg;
	int r = 0;

	if (!store->syncing_txg) {
		intent_log_prepare(store);
		r = txg_close(store);
	}
	store->commit_asked = false;
	txg = store->syncing_txg;
	store->commit_began = mono_ns();
	if (r == 0)
		r = txg_write(store, txg);
	if (r < 0)
		failure_note(store, r);
	else
		store->commit_err = 0;
	if (txg) {
		waiters_take(&txg->waiters, &waiters);
		if (r < 0)
			job_refuse(txg);
	}
	/* The open group cannot be on disk before the one that failed. */
	if (r < 0)
		waiters_take(&store->open_txg->waiters, &waiters);
	if (r == 0) {
		txg_finish(store, txg);
		duration_note(store, txg);
		store->durable_txg = txg->number;
		store->syncing_txg = NULL;
		store->commits++;
		intent_log_committed(store);
		if (store->failures)
			failure_end(store);
	}
	store->tries++;
	reservation_measure(store);
	if (r == 0 && txg_is_empty(store->open_txg))
		reservation_relax(store);
	pthread_cond_broadcast(&store->committed);
	store_unlock(store);
	if (r == 0) {
		store->freed += txg->bytes;
		txg_destroy(txg);
	}
	waiters_call(waiters, r);
	store_lock(store);
	intent_log_serve(store);
	store_unlock(store);
	/* Trim rarely: the memory is soon needed again. */
	trim_after(store, store->options.memory);
	store_lock(store);
}

/* ---- The thread --------------------------------------------------------- */

/* Return the nanoseconds between a failed try and the next. */
static int64_t retry_pause(const struct store *store)
{
	/* Retry for threads that ask, but not more often than this. */
	if (store->commit_asked)
		return retry_least(store);
	if (store->stopping)
		return MIN(store->retry_pause,
		           (int64_t)RETRY_CLOSING_MS * 1000000);
	return store->retry_pause;
}

/*
 * Return the nanoseconds until a commit is due; 0: now; negative: there is
 * nothing to do.
 */
static int64_t commit_due(const struct store *store)
{
	int64_t age, limit = (int64_t)store->options.commit_ms * 1000000;

	if (store->commit_err)
		return MAX(0,
		           store->failed_at + retry_pause(store) - mono_ns());
	if (store->commit_asked)
		return 0;
	if (txg_is_empty(store->open_txg))
		return -1;
	if (store->stopping)
		return 0;
	age = mono_ns() - store->open_txg->since;
	return age >= limit ? 0 : limit - age;
}

static void committer_wait(struct store *store, int64_t ns)
{
	int64_t began = mono_ns();

	if (ns >= 0) {
		lock_wait_ns(store, &store->committer_wake, ns);
	} else if (store->freed <= store->txg_soft) {
		lock_wait(store, &store->committer_wake, NULL);
	} else {
		/* Work that comes at intervals needs the memory again. */
		lock_wait_ns(store, &store->committer_wake,
		             (int64_t)TRIM_IDLE_MS * 1000000);
		if (mono_ns() - began < (int64_t)TRIM_IDLE_MS * 1000000)
			return;
		store_unlock(store);
		trim_after(store, store->txg_soft);
		store_lock(store);
	}
}

static void *committer_main(void *arg)
{
	struct store *store = arg;

	pthread_setname_np(pthread_self(), "committer");
	/* On Linux the nice value is the thread's; its encoders inherit it. */
	setpriority(PRIO_PROCESS, 0,
	            getpriority(PRIO_PROCESS, 0) + store->options.nice);
	/* Rests are short; the encoders inherit this, too. */
	prctl(PR_SET_TIMERSLACK, 1);
	store_background();
	store_lock(store);
	for (;;) {
		int64_t due = commit_due(store);

		if (due == 0) {
			commit_run(store);
			continue;
		}
		if (store->stopping &&
		    (due < 0 || !may_pass(store->commit_err) ||
		     mono_ns() >= store->stop_by))
			break;
		committer_wait(store, due);
	}
	store_unlock(store);
	return NULL;
}

int commit_start_thread(struct store *store)
{
	int r = pthread_create(&store->committer, NULL, committer_main, store);

	store->committer_runs = r == 0;
	return -r;
}

int commit_stop_thread(struct store *store)
{
	if (!store->committer_runs)
		return 0;
	store_lock(store);
	store->stopping = true;
	store->stop_by = mono_ns() + (int64_t)store->options.close_ms * 1000000;
	pthread_cond_signal(&store->committer_wake);
	store_unlock(store);
	pthread_join(store->committer, NULL);
	store->committer_runs = false;
	return store->commit_err;
}

/* ---- Asking and waiting ------------------------------------------------- */

uint64_t store_txg(struct store *store)
{
	return store->open_txg->number;
}

void commit_ask(struct store *store)
{
	store->commit_asked = true;
	pthread_cond_signal(&store->committer_wake);
}

void store_commit_start(struct store *store)
{
	store_lock(store);
	if (!txg_is_empty(store->open_txg))
		commit_ask(store);
	store_unlock(store);
}

/*
 * Wait until the group is durable; return the error if another try to commit it
 * fails.  Lock held, and released meanwhile.
 */
static int txg_wait(struct store *store, uint64_t txg)
{
	uint64_t tries = store->tries;
	int r = 0;

	store->txg_waiters++;
	while (r == 0 && store->durable_txg < txg) {
		/*
		 * The open group is only committed on request: ask again once
		 * the syncing one is done.
		 */
		if (!store->commit_asked &&
		    (txg >= store->open_txg->number || store->commit_err))
			commit_ask(store);
		lock_wait(store, &store->committed, NULL);
		if (store->durable_txg < txg && store->commit_err &&
		    store->tries != tries)
			r = store->commit_err;
	}
	store->txg_waiters--;
	return r;
}

int commit_wait_all(struct store *store)
{
	return txg_wait(store, store->open_txg->number -
	                               txg_is_empty(store->open_txg));
}

int store_wait(struct store *store, uint64_t txg)
{
	int r;

	store_lock(store);
	r = txg_wait(store, txg);
	store_unlock(store);
	return r;
}

int store_sync(struct store *store)
{
	int r;

	store_lock(store);
	r = commit_wait_all(store);
	store_unlock(store);
	return r;
}

int store_settle(struct store *store)
{
	int r;

	store_lock(store);
	r = commit_wait_all(store);
	if (r == 0 && !store->syncing_txg)
		reservation_give_back(store);
	store_unlock(store);
	return r;
}

int list_job_run(struct store *store, struct list_job *job)
{
	uint64_t txg;
	int r = 0;

	store_lock(store);
	while (store->open_txg->job) {
		r = txg_wait(store, store->open_txg->number);
		if (r < 0)
			break;
	}
	if (r == 0) {
		store->open_txg->job = job;
		txg = store->open_txg->number;
		r = txg_wait(store, txg);
		if (r < 0 && store->open_txg->job == job)
			store->open_txg->job = NULL;
		if (r == 0 && job->refused)
			r = -ENOSPC;
	}
	store_unlock(store);
	return r;
}
