/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The descriptor that becomes readable when states have changed.  If another
 * process may write, it is an inotify instance that watches the store's file:
 * each commit ends with a write to it.  Else it is an eventfd, to which each
 * function adds that changes the store.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "handle.h"
#include "util.h"

enum {
	SETTLE_TRIES = 100, /* for a commit that is about to be visible */
	SETTLE_NS = 100000,
};

static int watch_open(const char *path, int *ret_fd)
{
	_cleanup_free_ char *file = NULL;
	_cleanup_close_ int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (asprintf(&file, "%s/data.mdb", path) < 0)
		return file = NULL, -ENOMEM;
	if (inotify_add_watch(fd, file, IN_MODIFY) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

/*
 * Return the number of the last commit.  LMDB shows a commit to readers a
 * moment after its last write to the file; if the writer dies in between, the
 * next writer does.
 */
static uint64_t commit_seen(struct coppice *store)
{
	const struct timespec pause = {0, SETTLE_NS};
	uint64_t seen = 0;

	for (int i = 0; i < SETTLE_TRIES; i++) {
		bool newest;

		store_lock(store->store);
		newest = store_view(store->store, &seen);
		store_unlock(store->store);
		if (newest)
			break;
		nanosleep(&pause, NULL);
	}
	return seen;
}

int coppice_event_fd(struct coppice *store)
{
	int fd = -1, none = -1, err = store_check(store);

	if (err)
		return err;
	if (atomic_load(&store->event_fd) >= 0)
		return atomic_load(&store->event_fd);
	if (store->beside) {
		err = watch_open(store->path, &fd);
	} else {
		fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		err = fd < 0 ? -errno : 0;
	}
	if (err)
		return fail_text(err, "cannot watch the store '%s': %s",
		                 store->path, error_reason(err));
	if (store->beside)
		atomic_store(&store->event_commit, commit_seen(store));
	if (!atomic_compare_exchange_strong(&store->event_fd, &none, fd)) {
		close(fd);
		return none;
	}
	return fd;
}

int coppice_event_clear(struct coppice *store)
{
	char events[4096];
	uint64_t seen;
	bool some = false;
	int fd, err = store_check(store);

	if (err)
		return err;
	fd = atomic_load(&store->event_fd);
	if (fd < 0)
		return fail_text(-EINVAL,
		                 "the store '%s' has no descriptor of "
		                 "events yet",
		                 store->path);
	while (read(fd, events, sizeof(events)) > 0)
		some = true;
	if (!store->beside)
		return some;
	seen = commit_seen(store);
	return atomic_exchange(&store->event_commit, seen) != seen;
}

void event_post(struct coppice *store)
{
	int fd = atomic_load(&store->event_fd);

	if (fd >= 0 && !store->beside)
		eventfd_write(fd, 1);
}
