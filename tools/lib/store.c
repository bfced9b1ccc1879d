/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening and closing a store. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "error_message.h"
#include "handle.h"
#include "store_make.h"
#include "util.h"

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
		munmap(own, size);
		return -errno;
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
	int err;

	fs_destroy(store->fs);
	forest_close(store->forest);
	err = store_close(store->store);
	own_destroy(store->own);
	free(store->path);
	free(store);
	return err;
}

static int engine_open(struct coppice *store,
                       const struct coppice_options *options)
{
	struct store_options store_options = {.readonly = store->readonly};
	struct fs_options fs_options = {0};
	int err;

	if (options && HAS_FIELD(options, memory))
		store_options.memory = options->memory;
	if (options && HAS_FIELD(options, commit_ms))
		store_options.commit_ms = options->commit_ms;
	err = store_open(store->path, &store_options, &store->store);
	if (!err)
		err = forest_open(store->store, &store->forest);
	return err ? err : fs_create(store->forest, &fs_options, &store->fs);
}

int coppice_open(const char *path, unsigned flags,
                 const struct coppice_options *options,
                 struct coppice **ret_store)
{
	_cleanup_free_ char *message = NULL;
	struct coppice *store;
	int err = flags_check(flags, COPPICE_READ_ONLY | COPPICE_CREATE);

	if (err)
		return err;
	/* A library does not write to its program's standard error. */
	log_level = LOG_LEVEL_NONE;
	store = calloc(1, sizeof(*store));
	if (!store)
		return fail_text(-ENOMEM, "out of memory");
	store->readonly = flags & COPPICE_READ_ONLY;
	store->path = strdup(path);
	err = store->path ? own_create(&store->own) : -ENOMEM;
	if (!err && flags & COPPICE_CREATE) {
		err = store_make(path, &(struct store_params){0}, 0755);
		err = err == -EEXIST ? 0 : err;
	}
	if (!err)
		err = engine_open(store, options);
	if (!err) {
		*ret_store = store;
		return 0;
	}
	store_release(store);
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

	if (!err)
		err = forest_drain(store->forest);
	return err < 0 && err != -ECHILD && err != -EROFS
	               ? fail_text(err,
	                           "cannot free the space of deleted states: "
	                           "%s",
	                           error_reason(err))
	               : err;
}
