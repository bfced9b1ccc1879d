/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening and closing a store. */
#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon_client.h"
#include "error_message.h"
#include "handle.h"
#include "store_make.h"
#include "util.h"

enum { BUSY_TRIES = 50, BUSY_MS = 100 };

/*
 * Allocate a flag that is true here, and false in processes that are forked
 * from this one.
 */
static int own_create(const volatile bool **ret_own)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	bool *own = mmap(NULL, size, PROT_READ | PROT_WRITE,
	                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (own == MAP_FAILED)
		return -ENOMEM;
	if (madvise(own, size, MADV_WIPEONFORK) < 0) {
		int err = -errno;

		munmap(own, size);
		return err;
	}
	*own = true;
	*ret_own = own;
	return 0;
}

static void own_destroy(const volatile bool *own)
{
	if (own)
		munmap((void *)(uintptr_t)own, (size_t)sysconf(_SC_PAGESIZE));
}

static int store_release(struct coppice *store)
{
	int event_fd, err;

	fs_destroy(store->fs);
	forest_close(store->forest);
	err = store_close(store->store);
	place_release(&store->place);
	close_fd(&store->socket);
	event_fd = atomic_load(&store->event_fd);
	close_fd(&event_fd);
	pthread_mutex_destroy(&store->socket_lock);
	own_destroy(store->own);
	free(store->marked);
	free(store->path);
	free(store);
	return err;
}

static int engine_open(struct coppice *store, bool readonly, bool beside,
                       const struct coppice_options *options)
{
	struct store_options store_options = {
	        .readonly = readonly, .beside = beside, .shared = true};
	struct fs_options fs_options = {0};
	int err;

	if (options && HAS_FIELD(options, memory))
		store_options.memory = options->memory;
	if (options && HAS_FIELD(options, commit_ms))
		store_options.commit_ms = options->commit_ms;
	err = store_open(store->path, &store_options, &store->store);
	if (!err)
		err = forest_open(store->store, &store->forest);
	store->beside = beside;
	return err ? err : fs_create(store->forest, &fs_options, &store->fs);
}

/* Open the store to be read, beside another process or on a read-only disk. */
static int open_to_read(struct coppice *store,
                        const struct coppice_options *options)
{
	int err = engine_open(store, true, true, options);

	/* Readers are kept out while the store is compacted. */
	for (int tries = 0; err == -EBUSY && tries < BUSY_TRIES; tries++) {
		poll(NULL, 0, BUSY_MS);
		err = engine_open(store, true, true, options);
	}
	if (err == -EROFS)
		err = engine_open(store, true, false, options);
	return err;
}

/*
 * Open the store to be written, here or through the daemon that has it open.  A
 * daemon that is starting or ending does not answer for a moment.
 */
static int open_to_write(struct coppice *store,
                         const struct coppice_options *options)
{
	int err = engine_open(store, false, false, options);

	for (int tries = 0; err == -EBUSY && tries < BUSY_TRIES; tries++) {
		if (!daemon_client_connect(store->path, &store->socket)) {
			store->remote = true;
			return open_to_read(store, options);
		}
		store->socket = -1;
		poll(NULL, 0, BUSY_MS);
		err = engine_open(store, false, false, options);
	}
	return err;
}

/* Describe why the store is busy. */
static int fail_busy(const char *path, bool here, bool reads)
{
	char user[HOLDERS_TEXT] = "";

	if (here || reads)
		return fail_text(-EBUSY, "cannot open the store '%s': %s", path,
		                 here ? "this process has it open already"
		                      : "it is being compacted");
	return fail_text(
	        -EBUSY,
	        "cannot open the store '%s': %s%s writes to it; for "
	        "several to write, mount it first",
	        path, store_user(path, user) ? "process " : "another program",
	        user);
}

int coppice_open(const char *path, unsigned flags,
                 const struct coppice_options *options,
                 struct coppice **ret_store)
{
	_cleanup_free_ char *message = NULL;
	struct coppice *store;
	bool here;
	int err = flags_check(flags, COPPICE_READ_ONLY | COPPICE_CREATE);

	if (err)
		return err;
	/* A library does not write to its program's standard error. */
	log_level = LOG_LEVEL_NONE;
	store = calloc(1, sizeof(*store));
	if (!store)
		return fail_text(-ENOMEM, "out of memory");
	store->readonly = flags & COPPICE_READ_ONLY;
	store->socket = -1;
	atomic_init(&store->event_fd, -1);
	pthread_mutex_init(&store->socket_lock, NULL);
	store->path = strdup(path);
	err = store->path ? own_create(&store->own) : -ENOMEM;
	if (!err && flags & COPPICE_CREATE) {
		err = store_make(path, &(struct store_params){0}, 0755);
		err = err == -EEXIST ? 0 : err;
	}
	if (!err)
		err = place_take(&store->place, path);
	if (!err)
		err = store->readonly ? open_to_read(store, options)
		                      : open_to_write(store, options);
	if (!err) {
		*ret_store = store;
		return 0;
	}
	here = err == -EBUSY && !store->place.pid;
	store_release(store);
	if (err == -EBUSY)
		return fail_busy(path, here, flags & COPPICE_READ_ONLY);
	message = store_open_message("open", path, err);
	return fail_text(err, "%s", message ? message : "out of memory");
}

int coppice_close(struct coppice *store)
{
	int err = store ? store_check(store) : 0;

	if (err || !store)
		return err;
	err = store_release(store);
	return err ? fail_text(err, "cannot write to the store: %s",
	                       error_reason(err))
	           : 0;
}

int coppice_sync(struct coppice *store)
{
	int err = store_check(store);

	if (err || store->readonly)
		return err;
	if (store->remote)
		return request_run(store, request_new("sync", NULL), -1, NULL);
	err = store_sync(store->store);
	return err ? fail_text(err, "cannot write to the store '%s': %s",
	                       store->path, error_reason(err))
	           : 0;
}

int coppice_stats(struct coppice *store, struct coppice_stats *ret_stats)
{
	struct coppice_stats stats = {0};
	struct store_stats s;
	int err = store_check(store);

	if (err)
		return err;
	store_stats(store->store, &s);
	stats.used_bytes = s.file_bytes - MIN(s.file_bytes, s.free_bytes);
	stats.free_bytes = s.free_bytes;
	stats.avail_bytes = s.avail_bytes;
	stats.pending_bytes = s.pending_bytes;
	stats.commits = s.commits;
	store_lock(store->store);
	stats.reclaiming = forest_backlog(store->forest);
	stats.states = forest_count(store->forest);
	store_unlock(store->store);
	return STRUCT_RETURN(ret_stats, stats);
}

int coppice_reclaim(struct coppice *store)
{
	int err = store_check_writable(store);

	if (!err && store->remote)
		return request_change(
		        store, request_flag(request_new("gc", NULL), "drain"));
	if (!err)
		err = forest_drain(store->forest);
	return err < 0 && err != -ECHILD && err != -EROFS
	               ? fail_text(err,
	                           "cannot free the space of deleted states: "
	                           "%s",
	                           error_reason(err))
	               : err;
}
