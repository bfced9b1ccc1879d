/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing the intent log. */
#include "intent_log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>

#include "codec.h"
#include "commit.h"
#include "engine.h"
#include "intent_entry.h"
#include "lock.h"

enum {
	/* Entries left to the thread after several callers waited at once. */
	CROWD = 32,
};

void intent_log_init(struct intent_log *log)
{
	*log = (struct intent_log){.fd = -1, .entry_max = INTENT_ENTRY_MAX};
	pthread_cond_init(&log->wake, NULL);
}

void intent_log_release(struct intent_log *log)
{
	close_fd(&log->fd);
	free(log->next.bytes);
	free(log->last.bytes);
	pthread_cond_destroy(&log->wake);
}

/* Return true if changes may take several entries. */
static bool has_runs(const struct intent_log *log)
{
	return log->half > INTENT_HALF || log->entry_max < INTENT_ENTRY_MAX;
}

bool intent_log_has_runs(const struct store *store)
{
	return store->intent.active && has_runs(&store->intent);
}

void intent_log_remove(struct store *store)
{
	close_fd(&store->intent.fd);
	store->intent.fd = -1;
	store->intent.half = store->intent.room = 0;
	if (unlinkat(store->disk.dir, INTENT_FILE, 0) < 0 && errno != ENOENT)
		log_warning("cannot remove '%s/" INTENT_FILE "': %s",
		            store->path, strerror(errno));
}

static void *logger_main(void *arg);

/* ---- Beginning and ending the use of the log ---------------------------- */

/* Start the thread, unless it runs.  Lock held. */
static int logger_start(struct store *store)
{
	struct intent_log *log = &store->intent;
	int err = 0;

	if (!log->thread_runs)
		err = pthread_create(&log->thread, NULL, logger_main, store);
	log->thread_runs = err == 0;
	return -err;
}

void intent_log_stop_thread(struct store *store)
{
	struct intent_log *log = &store->intent;

	if (!log->thread_runs)
		return;
	store_lock(store);
	log->stopping = true;
	pthread_cond_signal(&log->wake);
	store_unlock(store);
	pthread_join(log->thread, NULL);
	log->thread_runs = false;
}

/* Return the bytes that a half of the file should have. */
static uint64_t half_wanted(const struct store *store)
{
	const struct intent_log *log = &store->intent;
	/* A group may get more changes after those that were waited for. */
	uint64_t need = log->need + log->need / 2;
	uint64_t most = MAX((uint64_t)store->txg_hard, log->need);
	uint64_t room = MIN(need, most) + INTENT_HALF - 1;
	uint64_t half = INTENT_HALF + room - room % INTENT_HALF;

	return MAX(MIN(half, (uint64_t)INTENT_HALF_MAX), log->half);
}

/*
 * Make the file, or extend it.  If the log is in use, its halves stay as they
 * are until log_outgrow().  Lock held, and released meanwhile.
 */
static int log_create(struct store *store, uint64_t half)
{
	struct intent_log *log = &store->intent;
	int fd = log->fd, r;

	store_unlock(store);
	r = fd < 0 ? intent_file_create(store->disk.dir, half, &fd)
	           : intent_file_grow(fd, log->room, half);
	store_lock(store);
	if (r == 0) {
		log->fd = fd;
		log->room = half;
		return 0;
	}
	/* A smaller file may be enough. */
	log->need = 0;
	log->stays |= half > INTENT_HALF;
	/* Space may become free; other errors last. */
	if (r != -ENOSPC && half == INTENT_HALF) {
		log->unusable = true;
		log_warning("cannot make '%s/" INTENT_FILE "': %s; fsync(2) "
		            "is slower without it",
		            store->path, strerror(-r));
	}
	return r;
}

/* Begin to use the file, under a new nonce. */
static int log_begin(struct store *store)
{
	struct intent_log *log = &store->intent;
	int r;

	if (getrandom(log->nonce, INTENT_NONCE, 0) != INTENT_NONCE)
		return -EIO;
	r = logger_start(store);
	if (r == 0 && has_runs(log))
		r = store_set_feature(store, STORE_FEATURE_LARGE_LOG, true);
	if (r == 0)
		r = store_set_feature(store, STORE_FEATURE_LOG, true);
	if (r < 0)
		return r;
	log->number = 1;
	log->active = true;
	return 0;
}

/* End the use of halves that are too small.  Return false if that must wait. */
static bool log_outgrow(struct store *store)
{
	struct intent_log *log = &store->intent;

	if (log->writing || store->open_txg->intent.entries)
		return false;
	intent_track_stop(store->open_txg);
	log->active = false;
	return intent_log_end(store) == 0;
}

void intent_log_prepare(struct store *store)
{
	struct intent_log *log = &store->intent;
	uint64_t half = half_wanted(store);

	if (log->paused || log->unusable ||
	    (log->active ? half <= log->half : !log->wanted))
		return;
	log->wanted = false;
	if (!log->next.bytes)
		log->next.bytes = malloc(INTENT_ENTRY_MAX);
	if (!log->next.bytes)
		return;
	if (half > log->room && log_create(store, half) < 0)
		return;
	if (log->paused || (log->active && !log_outgrow(store)))
		return;
	log->half = half;
	log_begin(store);
}

int intent_log_end(struct store *store)
{
	int r = table_del(store, TABLE_META, INTENT_RECORD,
	                  strlen(INTENT_RECORD));

	if (r == 0)
		r = store_set_feature(store, STORE_FEATURE_LARGE_LOG, false);
	return r < 0 ? r : store_set_feature(store, STORE_FEATURE_LOG, false);
}

int intent_log_pause(struct store *store)
{
	struct intent_log *log = &store->intent;
	int r = log->active ? intent_log_end(store) : 0;

	if (r < 0)
		return r;
	log->active = false;
	log->paused++;
	intent_track_stop(store->open_txg);
	return 0;
}

void intent_log_resume(struct store *store)
{
	store->intent.paused--;
}

/* ---- Entries ------------------------------------------------------------ */

static void entry_seal(const struct intent_log *log, const struct txg *txg,
                       uint32_t flags, size_t len, struct intent_entry *entry)
{
	struct intent_header h = {
	        .group = log->number,
	        .index = txg->intent.entries,
	        .flags = flags,
	        .len = (uint32_t)len,
	        .part = txg->intent.part,
	};

	memcpy(h.nonce, log->nonce, INTENT_NONCE);
	intent_header_seal(&h, entry->bytes);
	entry->len = intent_size(len);
	memset(entry->bytes + INTENT_HEADER + len, 0,
	       entry->len - INTENT_HEADER - len);
	entry->at = intent_start(log->number, log->half) + txg->intent.end;
}

/*
 * Make the next entry of the open group.  The entry is empty if there are no
 * changes.  *ret_more: the changes need more entries; with NULL, one must be
 * enough.  -EFBIG: the changes do not fit, or cannot be logged, so only a
 * commit makes the group durable.
 */
static int entry_make(struct store *store, uint32_t flags,
                      struct intent_entry *entry, bool *ret_more)
{
	struct intent_log *log = &store->intent;
	struct txg *txg = store->open_txg;
	struct writer w = writer_init(entry->bytes + INTENT_HEADER,
	                              log->entry_max - INTENT_HEADER);
	bool any;

	entry->len = 0;
	if (!txg->intent.on || !txg->records.track || txg->job ||
	    (txg->ops_len && !has_runs(log)))
		return -EFBIG;
	any = intent_encode(store, txg, &w, ret_more);
	if (w.bad)
		return -EFBIG;
	if (!any && !flags && !txg->intent.part)
		return 0;
	if (ret_more && *ret_more)
		flags |= INTENT_MORE;
	entry_seal(log, txg, flags, writer_len(&w), entry);
	if (txg->intent.end + entry->len > log->half) {
		intent_track_stop(txg);
		entry->len = 0;
		return -EFBIG;
	}
	txg->intent.end += entry->len;
	txg->intent.entries++;
	txg->intent.part = flags & INTENT_MORE ? txg->intent.part + 1 : 0;
	/* Commit in time, because the next group has the other half. */
	if (txg->intent.end > log->half / 2 && !store->syncing_txg &&
	    !txg->intent.part)
		commit_ask(store);
	return 0;
}

static int record_put(struct store *store)
{
	const struct intent_log *log = &store->intent;
	uint8_t value[INTENT_RECORD_LEN];
	struct writer w = writer_init(value, sizeof(value));

	put_bytes(&w, log->nonce, INTENT_NONCE);
	put_u64(&w, log->number);
	if (log->half != INTENT_HALF)
		put_u64(&w, log->half);
	return table_put(store, TABLE_META, INTENT_RECORD,
	                 strlen(INTENT_RECORD), value, writer_len(&w));
}

int intent_log_close_txg(struct store *store, struct txg *next)
{
	struct intent_log *log = &store->intent;
	int r;

	if (!log->active)
		return 0;
	r = record_put(store);
	if (r < 0)
		return r;
	if (!log->last.bytes)
		log->last.bytes = malloc(INTENT_ENTRY_MAX);
	if (log->last.bytes && store->open_txg->intent.entries)
		entry_make(store, INTENT_LAST, &log->last, NULL);
	log->number++;
	next->intent.on = true;
	next->records.track = true;
	return 0;
}

void intent_log_committed(struct store *store)
{
	store->intent.last.len = 0;
	store->intent.chained = false;
}

/* ---- Waiting ------------------------------------------------------------ */

/* Let the waiters wait for the commit of the group `number`. */
static int leave_to_commit(struct store *store, uint64_t number,
                           struct waiter **waiters)
{
	struct txg *txg = store->open_txg;

	if (store->durable_txg >= number)
		return 0;
	if (txg->number != number)
		txg = store->syncing_txg;
	else
		commit_ask(store);
	waiters_take(waiters, &txg->waiters);
	return 0;
}

/*
 * Stop logging the group `number`: its entries, or the last one of the group
 * before it, could not be written.
 */
static void log_failed(struct store *store, uint64_t number)
{
	struct intent_log *log = &store->intent;

	if (store->open_txg->number == number)
		intent_track_stop(store->open_txg);
	else if (store->syncing_txg && store->syncing_txg->number == number)
		log->last.len = 0;
}

/* Return the buffer of the last entry; free it if there is another by now. */
static void last_return(struct intent_log *log, struct intent_entry *last)
{
	if (log->last.bytes)
		free(last->bytes);
	else
		log->last.bytes = last->bytes;
	last->bytes = NULL;
}

/*
 * Write `last`, and then a run of entries with all unlogged changes of the open
 * group, and sync the file.  -EFBIG: only a commit makes the changes durable.
 * Lock held, and released meanwhile.
 */
static int run_write(struct store *store, const struct intent_entry *last)
{
	struct intent_log *log = &store->intent;
	uint64_t number = store->open_txg->number, logged = 0;
	bool runs = has_runs(log), more = false;
	int r = 0, fd = log->fd;

	do {
		if (store->open_txg->number != number)
			return -EFBIG;
		if (store->txg_close_fn)
			store->txg_close_fn(store->txg_close_arg);
		r = entry_make(store, 0, &log->next, runs ? &more : NULL);
		if (r < 0 || (!logged && !last->len && !log->next.len))
			return r;
		store_unlock(store);
		if (!logged)
			r = intent_file_write(fd, last);
		if (r == 0)
			r = intent_file_write(fd, &log->next);
		/* Let the disk begin while the next entry is made. */
		if (r == 0 && more)
			intent_file_begin_sync(fd, &log->next);
		else if (r == 0 && fdatasync(fd) < 0)
			r = -errno;
		store_lock(store);
		logged += (!logged && last->len) + (log->next.len > 0);
	} while (r == 0 && more);
	if (r < 0) {
		log_failed(store, number);
		return r;
	}
	log->logged += logged;
	if (last->len && store->open_txg->number == number)
		log->chained = store->syncing_txg;
	return 0;
}

/*
 * Write the log for the waiters, and call them.  Lock held, and released
 * meanwhile.
 */
static void serve_once(struct store *store)
{
	struct intent_log *log = &store->intent;
	struct waiter *waiters = steal(&log->waiters);
	uint64_t number = store->open_txg->number;
	bool several = waiters->next;
	struct intent_entry last;
	int r;

	log->writing = true;
	/* During the write, the next group may be closed and need a buffer. */
	last = log->last;
	log->last = (struct intent_entry){0};
	r = run_write(store, &last);
	if (several || (r == 0 && !log->next.len))
		log->crowd = CROWD;
	else if (log->crowd)
		log->crowd--;
	last_return(log, &last);
	log->writing = false;
	if (r < 0)
		r = leave_to_commit(store, number, &waiters);
	store_unlock(store);
	waiters_call(waiters, r);
	store_lock(store);
}

/*
 * Return true if an entry can be written for the waiters.  If only a commit
 * makes the open group durable, let them wait for it.  Lock held.
 */
static bool can_serve(struct store *store)
{
	struct intent_log *log = &store->intent;

	if (!log->waiters || log->writing)
		return false;
	if (!log->active || store->commit_err || !store->open_txg->intent.on) {
		leave_to_commit(store, store->open_txg->number, &log->waiters);
		return false;
	}
	/* If the log lacks the syncing group, wait for its commit. */
	return !store->syncing_txg || log->chained || log->last.len;
}

void intent_log_serve(struct store *store)
{
	if (can_serve(store))
		pthread_cond_signal(&store->intent.wake);
}

/* Run the thread that writes entries for several callers at a time. */
static void *logger_main(void *arg)
{
	struct store *store = arg;
	struct intent_log *log = &store->intent;

	pthread_setname_np(pthread_self(), "logger");
	store_background();
	store_lock(store);
	while (!log->stopping) {
		if (can_serve(store))
			serve_once(store);
		else
			lock_wait(store, &log->wake, NULL);
	}
	store_unlock(store);
	return NULL;
}

void store_fsync(struct store *store, void (*fn)(void *arg, int err), void *arg)
{
	struct intent_log *log = &store->intent;
	struct waiter *waiter = malloc(sizeof(*waiter));

	if (!waiter)
		txg_out_of_memory();
	store_lock(store);
	*waiter = (struct waiter){log->waiters, fn, arg};
	log->waiters = waiter;
	log->wanted = !log->active && !store->options.no_log;
	/* If the thread writes, the caller can take further requests. */
	if (!log->crowd && can_serve(store))
		serve_once(store);
	intent_log_serve(store);
	store_unlock(store);
}

/* ---- Batches ------------------------------------------------------------ */

/* A thread that waits in store_log(). */
struct answer {
	struct store *store;
	bool done;
	int err;
};

static void answer_set(void *arg, int err)
{
	struct answer *answer = arg;
	struct store *store = answer->store;

	store_lock(store);
	answer->err = err;
	answer->done = true;
	pthread_cond_broadcast(&store->committed);
	store_unlock(store);
}

/*
 * Return true if the log can make the group durable.  If the log should be used
 * or be larger, set that for the next commit.  Lock held.
 */
static bool log_takes(struct store *store, uint64_t txg)
{
	struct intent_log *log = &store->intent;
	uint64_t bytes = store->open_txg->bytes;
	uint64_t room = has_runs(log) ? log->half : INTENT_ENTRY_MAX;

	if (store->open_txg->number != txg || store->options.no_log)
		return false;
	/* A program that calls once needs no file. */
	if (!log->active)
		log->wanted = log->calls++ > 0;
	if ((log->active || log->wanted) && bytes > room && !log->stays)
		log->need = MAX(log->need, bytes);
	/* The log grows only with a group that has no entries. */
	return log->active && half_wanted(store) <= log->half;
}

int store_log(struct store *store, uint64_t txg)
{
	struct answer answer = {.store = store};
	bool logs;

	store_lock(store);
	logs = log_takes(store, txg);
	store_unlock(store);
	if (!logs)
		return store_wait(store, txg);
	store_fsync(store, answer_set, &answer);
	store_lock(store);
	while (!answer.done)
		lock_wait(store, &store->committed, NULL);
	if (store->durable_txg < txg)
		commit_ask(store);
	store_unlock(store);
	return answer.err;
}
