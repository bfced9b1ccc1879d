/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making and deleting states. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "array.h"
#include "handle.h"
#include "util.h"

enum {
	TRIES_COUNTED = 16, /* suffixes -2, -3 ... before random ones */
	TRIES = 64,
	PIECE = 64, /* snapshots deleted in one hold of the lock */
};

static struct fs_cred own_cred(void)
{
	return (struct fs_cred){geteuid(), getegid(), 022};
}

static int fork_ask(struct coppice *store, const char *source, const char *name)
{
	return request_change(store, request_new("fork", "source", source,
	                                         "name", name, NULL));
}

static int fork_try(struct coppice *store, const char *source, const char *name)
{
	const struct fs_cred cred = own_cred();
	struct state *from = NULL, *fork;
	int err = store_throttle(store->store, true);

	if (err)
		return err;
	store_lock(store->store);
	if (source)
		err = state_resolve(store->forest, source, &from);
	if (!err)
		err = fs_state_fork(store->fs, from, name, 0755, &cred, &fork);
	store_unlock(store->store);
	if (!err)
		event_post(store);
	return err;
}

/* Write the name with a suffix for the n-th try.  -ENAMETOOLONG. */
static int name_vary(const char *name, unsigned n, char ret[NAME_LEN_MAX + 1])
{
	uint32_t number = n + 1;
	int len;

	if (n >= TRIES_COUNTED &&
	    getrandom(&number, sizeof(number), 0) != sizeof(number))
		return -EIO;
	len = n == 0              ? snprintf(ret, NAME_LEN_MAX + 1, "%s", name)
	      : n < TRIES_COUNTED ? snprintf(ret, NAME_LEN_MAX + 1,
	                                     "%s-%" PRIu32, name, number)
	                          : snprintf(ret, NAME_LEN_MAX + 1,
	                                     "%s-%08" PRIx32, name, number);
	return len > NAME_LEN_MAX ? -ENAMETOOLONG : 0;
}

int coppice_fork(struct coppice *store, const char *source, const char *name,
                 unsigned flags, char *ret_name)
{
	unsigned tries = flags & COPPICE_UNIQUE ? TRIES : 1;
	char text[NAME_LEN_MAX + 1];
	int err = store_check_writable(store);

	if (!err)
		err = flags_check(flags, COPPICE_UNIQUE);
	/* A name with '@' would choose a source: see state_source(). */
	if (!err && !source && strchr(name, '@'))
		return fail_name(-EINVAL, "make", name);
	if (err)
		return err;
	for (unsigned n = 0; !err && n < tries; n++) {
		err = name_vary(name, n, text);
		if (!err && store->remote)
			err = fork_ask(store, source, text);
		else if (!err)
			err = fork_try(store, source, text);
		if (!err) {
			if (ret_name)
				strcpy(ret_name, text);
			return 0;
		}
		if (n + 1 < tries && err == -EEXIST)
			err = 0;
	}
	if (store->remote)
		return err;
	return err == -ENOENT && source ? fail_name(err, "fork", source)
	                                : fail_name(err, "make", name);
}

int coppice_snapshot(struct coppice *store, const char *fork, const char *name)
{
	const struct fs_cred cred = own_cred();
	struct state *found, *snapshot;
	int err = store_check_writable(store);

	if (err)
		return err;
	if (store->remote)
		return request_change(store, request_new("snap", "fork", fork,
		                                         "name", name, NULL));
	err = store_throttle(store->store, true);
	if (!err) {
		store_lock(store->store);
		err = state_resolve(store->forest, fork, &found);
		if (!err)
			err = fs_state_snapshot(store->fs, found, name, &cred,
			                        &snapshot);
		store_unlock(store->store);
	}
	if (!err)
		event_post(store);
	return !err             ? 0
	       : err == -ENOENT ? fail_name(err, "snapshot", fork)
	       : err == -EROFS  ? fail_text(err,
	                                    "cannot snapshot '%s': it is a "
	                                     "snapshot",
	                                    fork)
	                        : fail_name(err, "make snapshot", name);
}

int coppice_remove(struct coppice *store, const char *name, unsigned flags)
{
	struct state *state;
	int err = store_check_writable(store);

	if (!err)
		err = flags_check(flags, COPPICE_SNAPSHOTS);
	if (err)
		return err;
	if (store->remote) {
		json_t *request = request_new("rm", "name", name, NULL);

		return request_change(
		        store, flags & COPPICE_SNAPSHOTS
		                       ? request_flag(request, "recursive")
		                       : request);
	}
	store_lock(store->store);
	err = state_named(store->forest, name, &state);
	if (!err)
		err = fs_state_delete(store->fs, state,
		                      flags & COPPICE_SNAPSHOTS);
	store_unlock(store->store);
	if (!err)
		event_post(store);
	return err == -ENOTEMPTY ? fail_text(err,
	                                     "cannot delete '%s': it has "
	                                     "snapshots",
	                                     name)
	       : err == -EBUSY   ? fail_text(err,
	                                     "cannot delete '%s': it is held, or "
	                                       "the default state",
	                                     name)
	       : err             ? fail_name(err, "delete", name)
	                         : 0;
}

/* Through the daemon, the snapshot is a separate step. */
static int reset_ask(struct coppice *store, const char *fork,
                     const char *source, const char *undo)
{
	int err = undo ? request_run(store,
	                             request_new("snap", "fork", fork, "name",
	                                         undo, NULL),
	                             -1, NULL)
	               : 0;

	return err ? err
	           : request_change(
	                     store,
	                     request_flag(request_new("restore", "source",
	                                              source, "into", fork,
	                                              NULL),
	                                  "no_undo"));
}

int coppice_reset(struct coppice *store, const char *fork, const char *source,
                  const char *undo)
{
	struct fs_restore what = {
	        .path = "/", .into = "/", .undo = undo, .uid = geteuid()};
	struct fs_restored restored;
	struct state *found;
	int err = store_check_writable(store);

	if (err)
		return err;
	if (store->remote)
		return reset_ask(store, fork, source, undo);
	store_lock(store->store);
	err = state_resolve(store->forest, source, &found);
	if (!err)
		what.source = found->number;
	else
		fail_name(err, "reset to", source);
	if (!err) {
		err = state_resolve(store->forest, fork, &found);
		if (!err)
			what.fork = found->number;
		else
			fail_name(err, "reset", fork);
	}
	store_unlock(store->store);
	if (err)
		return err;
	err = fs_restore(store->fs, &what, &restored);
	if (err)
		return err == -EEXIST && undo
		               ? fail_name(err, "make snapshot", undo)
		               : fail_text(err, "cannot reset '%s': %s", fork,
		                           error_reason(err));
	fs_restored_release(store->fs, &restored);
	event_post(store);
	return 0;
}

/* ---- Expiry ------------------------------------------------------------- */

/* A snapshot; after its deletion another state may get its number. */
struct aged {
	int64_t created;
	uint64_t number;
};

/* Delete snapshots of the list through the daemon. */
static int snapshots_ask(struct coppice *store, const struct aged *list,
                         size_t count, uint64_t *deleted)
{
	char name[NAME_LEN_MAX * 2 + 2];
	int err = 0;

	for (size_t i = 0; !err && i < count; i++) {
		struct state *state;

		store_lock(store->store);
		err = state_get(store->forest, list[i].number, &state);
		if (!err && state->created != list[i].created)
			err = -ESTALE;
		if (!err)
			state_full_name(store->forest, state, name);
		store_unlock(store->store);
		if (err == -ESTALE) {
			err = 0;
			continue;
		}
		if (err)
			break;
		err = request_run(store, request_new("rm", "name", name, NULL),
		                  -1, NULL);
		*deleted += !err;
		err = err == -EBUSY || err == -ENOENT ? 0 : err;
	}
	return err;
}

/* Collect the snapshots of a fork that expire, the oldest first. */
static int snapshots_collect(struct coppice *store, const char *fork,
                             struct state_age_walk *walk,
                             struct aged **ret_list, size_t *ret_count)
{
	uint64_t numbers[STATE_WALK_PIECE];
	struct aged *list = NULL;
	size_t len = 0, room = 0, count;
	struct state *state;
	int err, more = -EAGAIN;

	store_lock(store->store);
	err = state_resolve(store->forest, fork, &state);
	if (!err && state->fork)
		err = -EINVAL;
	if (!err)
		walk->fork = state->number;
	while (!err && more == -EAGAIN) {
		more = state_walk_oldest(store->forest, walk, numbers, &count);
		if (more && more != -EAGAIN)
			err = more;
		for (size_t i = 0; !err && i < count; i++) {
			struct aged *one;

			if (state_get(store->forest, numbers[i], &state))
				continue;
			one = array_add(&list, &len, &room);
			if (one)
				*one = (struct aged){state->created,
				                     numbers[i]};
			else
				err = -ENOMEM;
		}
		/* Beside a daemon, each commit makes the walk begin again. */
		if (store->remote)
			continue;
		store_unlock(store->store);
		store_yield(store->store);
		store_lock(store->store);
	}
	store_unlock(store->store);
	*ret_list = list;
	*ret_count = len;
	return err;
}

/* Delete the next snapshots of the list.  Held snapshots are kept. */
static int snapshots_delete(struct coppice *store, const struct aged *list,
                            size_t count, uint64_t *deleted)
{
	struct state *state;
	int err = store_throttle(store->store, false);

	if (err)
		return err;
	store_lock(store->store);
	for (size_t i = 0; !err && i < count; i++) {
		if (state_get(store->forest, list[i].number, &state) ||
		    state->created != list[i].created)
			continue;
		err = fs_state_delete(store->fs, state, false);
		*deleted += !err;
		err = err == -EBUSY ? 0 : err;
	}
	store_unlock(store->store);
	return err ? err : store_yield(store->store);
}

int coppice_expire(struct coppice *store, const char *fork, int64_t before,
                   uint64_t keep, uint64_t *ret_count)
{
	struct state_age_walk walk = {
	        .after = INT64_MIN, .before = before, .keep = keep};
	_cleanup_free_ struct aged *list = NULL;
	uint64_t deleted = 0;
	size_t count = 0;
	int err = store_check_writable(store);

	if (err)
		return err;
	err = snapshots_collect(store, fork, &walk, &list, &count);
	for (size_t i = 0; !err && !store->remote && i < count; i += PIECE)
		err = snapshots_delete(store, list + i, MIN(count - i, PIECE),
		                       &deleted);
	if (!err && store->remote)
		err = snapshots_ask(store, list, count, &deleted);
	if (ret_count)
		*ret_count = deleted;
	if (deleted)
		event_post(store);
	if (store->remote)
		return err ? err
		           : request_change(store, request_new("sync", NULL));
	return err ? fail_name(err, "delete snapshots of", fork) : 0;
}
