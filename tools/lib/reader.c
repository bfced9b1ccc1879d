/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Holds of a process that reads a store beside the one that writes to it.  The
 * version is marked first.  If a state of the last commit still names it after
 * that, no part of it is freed as long as it is marked: see store_mark.h.
 */
#include <errno.h>

#include "array.h"
#include "handle.h"

/* Mark a version, once for all holds of this process.  Lock held. */
static int version_mark_add(struct coppice *store, uint64_t version)
{
	size_t at =
	        array_lower_bound(store->marked, store->marked_len, version);
	struct marked *m;
	int err;

	if (at < store->marked_len && store->marked[at].version == version) {
		store->marked[at].holds++;
		return 0;
	}
	if (!array_add(&store->marked, &store->marked_len, &store->marked_room))
		return -ENOMEM;
	m = &store->marked[at];
	memmove(m + 1, m, (store->marked_len - 1 - at) * sizeof(*m));
	*m = (struct marked){version, 1};
	err = store_mark(store->store, version);
	if (err) {
		store->marked_len--;
		memmove(m, m + 1, (store->marked_len - at) * sizeof(*m));
	}
	return err;
}

static void version_mark_drop(struct coppice *store, uint64_t version)
{
	struct marked *m =
	        array_find(store->marked, store->marked_len, version);
	size_t at;

	if (!m || --m->holds)
		return;
	at = (size_t)(m - store->marked);
	store_unmark(store->store, version);
	store->marked_len--;
	memmove(m, m + 1, (store->marked_len - at) * sizeof(*m));
}

int snapshot_hold(struct coppice *store, struct state *snapshot,
                  struct state_hold *ret_hold)
{
	uint64_t number = snapshot->number;
	uint64_t version = state_version_id(snapshot);
	int err;

	if (!store->beside)
		return state_hold(snapshot, ret_hold);
	err = version_mark_add(store, version);
	if (err)
		return err == -EBUSY ? -ENOENT : err;
	/* With the next hold of the lock, the last commit is read. */
	store_unlock(store->store);
	store_lock(store->store);
	err = state_get(store->forest, number, &snapshot);
	if (!err && state_version_id(snapshot) != version)
		err = -ESTALE;
	if (!err)
		err = state_hold(snapshot, ret_hold);
	if (err)
		version_mark_drop(store, version);
	return err == -ESTALE ? -ENOENT : err;
}

void snapshot_release(struct coppice *store, struct state_hold *hold)
{
	uint64_t version = hold->version ? hold_version(hold) : 0;

	hold_release(store->forest, hold);
	if (version && store->beside)
		version_mark_drop(store, version);
}
