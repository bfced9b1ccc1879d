/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing the intent log. */
#include "intent_log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/statvfs.h>

#include "codec.h"
#include "commit.h"
#include "engine.h"
#include "intent_entry.h"
#include "lock.h"

enum {
	FILE_BYTES = 2 * INTENT_HALF,
	ZEROES = 256 << 10,
	/* The log must not take more than one in so many free bytes. */
	SPACE_SHARE = 16,
	/* Entries that the thread writes after several were waited for. */
	CROWD = 32,
};

void intent_log_init(struct intent_log *log)
{
	*log = (struct intent_log){.fd = -1};
	pthread_cond_init(&log->wake, NULL);
}

void intent_log_release(struct intent_log *log)
{
	close_fd(&log->fd);
	free(log->next.bytes);
	free(log->last.bytes);
	pthread_cond_destroy(&log->wake);
}

/* ---- The file ----------------------------------------------------------- */

/*
 * Write zeroes to all of the file, so that later writes change neither its
 * length nor the map of its blocks.
 */
static int file_fill(int fd)
{
	_cleanup_free_ uint8_t *zeroes = calloc(1, ZEROES);

	if (!zeroes)
		return -ENOMEM;
	if (fallocate(fd, 0, 0, FILE_BYTES) < 0 && errno != EOPNOTSUPP)
		return -errno;
	for (off_t at = 0; at < FILE_BYTES; at += ZEROES) {
		ssize_t n = pwrite(fd, zeroes, ZEROES, at);

		if (n != ZEROES)
			return n < 0 ? -errno : -ENOSPC;
	}
	return fdatasync(fd) < 0 ? -errno : 0;
}

/* Make the names in the directory durable, which was opened with O_PATH. */
static int name_sync(int dir)
{
	_cleanup_close_ int fd =
	        openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int file_create(struct store *store, int *ret_fd)
{
	int dir = store->disk.dir;
	_cleanup_close_ int fd = -1;
	struct statvfs vfs;
	int r;

	if (fstatvfs(dir, &vfs) < 0)
		return -errno;
	if ((uint64_t)vfs.f_bavail * vfs.f_frsize / SPACE_SHARE < FILE_BYTES)
		return -ENOSPC;
	fd = openat(dir, INTENT_FILE, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
	            0600);
	if (fd < 0)
		return -errno;
	r = file_fill(fd);
	if (r == 0)
		r = name_sync(dir);
	if (r < 0) {
		unlinkat(dir, INTENT_FILE, 0);
		return r;
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

void intent_log_remove(struct store *store)
{
	close_fd(&store->intent.fd);
	store->intent.fd = -1;
	if (unlinkat(store->disk.dir, INTENT_FILE, 0) < 0 && errno != ENOENT)
		log_warning("cannot remove '%s/" INTENT_FILE "': %s",
		            store->path, strerror(errno));
}

static void *logger_main(void *arg);

/* ---- Beginning and ending its use --------------------------------------- */

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

void intent_log_prepare(struct store *store)
{
	struct intent_log *log = &store->intent;
	int fd = log->fd, r = 0;

	if (!log->wanted || log->active || log->paused || log->unusable)
		return;
	log->wanted = false;
	if (!log->next.bytes)
		log->next.bytes = malloc(INTENT_ENTRY_MAX);
	if (!log->next.bytes)
		return;
	if (fd < 0) {
		store_unlock(store);
		r = file_create(store, &fd);
		store_lock(store);
		log->fd = fd;
	}
	/* Space may come; anything else is not going to pass. */
	if (r < 0 && r != -ENOSPC) {
		log->unusable = true;
		log_warning("cannot make '%s/" INTENT_FILE "': %s; fsync(2) "
		            "is slower without it",
		            store->path, strerror(-r));
	}
	if (r < 0 || log->paused || logger_start(store) < 0 ||
	    getrandom(log->nonce, INTENT_NONCE, 0) != INTENT_NONCE)
		return;
	if (store_set_feature(store, STORE_FEATURE_LOG, true) < 0)
		return;
	log->number = 1;
	log->active = true;
}

int intent_log_end(struct store *store)
{
	int r = table_del(store, TABLE_META, INTENT_RECORD,
	                  strlen(INTENT_RECORD));

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
	};

	memcpy(h.nonce, log->nonce, INTENT_NONCE);
	intent_header_seal(&h, entry->bytes);
	entry->len = intent_size(len);
	memset(entry->bytes + INTENT_HEADER + len, 0,
	       entry->len - INTENT_HEADER - len);
	entry->at = intent_half(log->number) + txg->intent.end;
}

/*
 * Make the next entry of the open group.  The entry is empty if there is
 * nothing to be written.  -EFBIG: it does not fit, or cannot be told, and only
 * a commit makes the group durable.
 */
static int entry_make(struct store *store, uint32_t flags,
                      struct intent_entry *entry)
{
	struct intent_log *log = &store->intent;
	struct txg *txg = store->open_txg;
	struct writer w = writer_init(entry->bytes + INTENT_HEADER,
	                              INTENT_ENTRY_MAX - INTENT_HEADER);
	bool any;

	entry->len = 0;
	if (!txg->intent.on || !txg->records.track || txg->ops_len || txg->job)
		return -EFBIG;
	any = intent_encode(store, txg, &w);
	if (w.bad)
		return -EFBIG;
	if (!any && !flags)
		return 0;
	entry_seal(log, txg, flags, writer_len(&w), entry);
	if (txg->intent.end + entry->len > INTENT_HALF) {
		intent_track_stop(txg);
		entry->len = 0;
		return -EFBIG;
	}
	txg->intent.end += entry->len;
	txg->intent.entries++;
	/* The next group has the other half: go on there in time. */
	if (txg->intent.end > INTENT_HALF / 2 && !store->syncing_txg)
		commit_ask(store);
	return 0;
}

static int record_put(struct store *store)
{
	uint8_t value[INTENT_RECORD_LEN];
	struct writer w = writer_init(value, sizeof(value));

	put_bytes(&w, store->intent.nonce, INTENT_NONCE);
	put_u64(&w, store->intent.number);
	return table_put(store, TABLE_META, INTENT_RECORD,
	                 strlen(INTENT_RECORD), value, sizeof(value));
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
		entry_make(store, INTENT_LAST, &log->last);
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

static int entry_write(int fd, const struct intent_entry *entry)
{
	size_t done = 0;

	while (done < entry->len) {
		ssize_t n = pwrite(fd, entry->bytes + done, entry->len - done,
		                   (off_t)(entry->at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

/* Write the entries and sync the file. */
static int log_write(int fd, const struct intent_entry *last,
                     const struct intent_entry *next)
{
	int r = entry_write(fd, last);

	if (r == 0)
		r = entry_write(fd, next);
	if (r == 0 && fdatasync(fd) < 0)
		r = -errno;
	return r;
}

/* Have the waiters wait for the commit of the group `number`. */
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
 * The entries of the group `number`, or the last one of the group before it,
 * could not be written: nothing can be added to them.
 */
static void log_failed(struct store *store, uint64_t number)
{
	struct intent_log *log = &store->intent;

	if (store->open_txg->number == number)
		intent_track_stop(store->open_txg);
	else if (store->syncing_txg && store->syncing_txg->number == number)
		log->last.len = 0;
}

/* The entries of the group `number`, and the one before them, are durable. */
static void log_written(struct store *store, uint64_t number,
                        const struct intent_entry *last)
{
	struct intent_log *log = &store->intent;

	log->logged += (last->len > 0) + (log->next.len > 0);
	if (last->len && store->open_txg->number == number)
		log->chained = store->syncing_txg;
}

/* Give the buffer back that last_take() has taken. */
static void last_return(struct intent_log *log, struct intent_entry *last)
{
	if (log->last.bytes)
		free(last->bytes);
	else
		log->last.bytes = last->bytes;
	last->bytes = NULL;
}

/*
 * Write an entry for those who wait, and call them.  Lock held, and released
 * meanwhile.
 */
static void serve_once(struct store *store)
{
	struct intent_log *log = &store->intent;
	struct waiter *waiters = steal(&log->waiters);
	uint64_t number = store->open_txg->number;
	struct intent_entry last;
	int r;

	log->writing = true;
	if (store->txg_close_fn)
		store->txg_close_fn(store->txg_close_arg);
	r = entry_make(store, 0, &log->next);
	/* The next group may be closed, and need the buffer, during the write.
	 */
	last = log->last;
	log->last = (struct intent_entry){0};
	if (waiters->next || (r == 0 && !log->next.len))
		log->crowd = CROWD;
	else if (log->crowd)
		log->crowd--;
	if (r == 0 && (last.len || log->next.len)) {
		store_unlock(store);
		r = log_write(log->fd, &last, &log->next);
		store_lock(store);
		if (r == 0)
			log_written(store, number, &last);
		else
			log_failed(store, number);
	}
	last_return(log, &last);
	log->writing = false;
	if (r < 0)
		r = leave_to_commit(store, number, &waiters);
	store_unlock(store);
	waiters_call(waiters, r);
	store_lock(store);
}

/*
 * Return true if an entry can be written for those who wait.  If only a commit
 * makes the open group durable, they are left to that.  Lock held.
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
	/* If the log lacks the syncing group, its commit is waited for. */
	return !store->syncing_txg || log->chained || log->last.len;
}

void intent_log_serve(struct store *store)
{
	if (can_serve(store))
		pthread_cond_signal(&store->intent.wake);
}

/* The thread that writes entries for several at a time. */
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
	/* The thread keeps the caller free to take the requests of others. */
	if (!log->crowd && can_serve(store))
		serve_once(store);
	intent_log_serve(store);
	store_unlock(store);
}
