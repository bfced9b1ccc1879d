/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The states that several sessions reach, or that any session uses.  Policy is
 * held, except for mounted_states_in_use().
 */
#include "mounted_states.h"

#include <errno.h>
#include <stdlib.h>

#include "array.h"
#include "util.h"

static unsigned reach(const struct mounts *mounts, uint64_t state)
{
	unsigned count = mounts->whole;

	for (struct session *s = mounts->first; state && s; s = s->next)
		count += s->state == state;
	return count;
}

/* List the mounted writable states that another session reaches, too. */
static void recount(struct mounts *mounts)
{
	size_t count = 0;

	for (struct session *s = mounts->first; s; s = s->next) {
		if (s->state && !s->state_readonly &&
		    reach(mounts, s->state) > 1)
			mounts->mounted[count++] = s->state;
	}
	array_sort(mounts->mounted, count, number_compare);
	mounts->mounted_count = count;
}

int mounted_states_join(struct mounts *mounts, struct session *session)
{
	int err = array_grow(&mounts->mounted, mounts->count,
	                     &mounts->mounted_capacity);

	if (err < 0)
		return err;
	store_lock(forest_store(fs_forest(mounts->fs)));
	session->next = mounts->first;
	mounts->first = session;
	store_unlock(forest_store(fs_forest(mounts->fs)));
	mounts->count++;
	mounts->whole += session->state == 0;
	recount(mounts);
	return 0;
}

void mounted_states_leave(struct mounts *mounts, struct session *session)
{
	struct session **at = &mounts->first;

	while (*at != session)
		at = &(*at)->next;
	store_lock(forest_store(fs_forest(mounts->fs)));
	*at = session->next;
	store_unlock(forest_store(fs_forest(mounts->fs)));
	mounts->count--;
	mounts->whole -= session->state == 0;
	recount(mounts);
}

bool mounted_states_in_use(void *arg, uint64_t number)
{
	struct mounts *mounts = arg;
	_Atomic uint64_t *cached =
	        &mounts->states[number % SESSION_STATES_CACHED];

	for (struct session *s = mounts->first; s; s = s->next) {
		/*
		 * The session's own state has a lookup as long as the session
		 * exists.
		 */
		if (lookups_any(s->lookups, number) ||
		    lookups_has(s->lookups, NODE(0, NODE_LINK_FIRST + number)))
			return true;
	}
	/* The cache is changed only with the store's lock held. */
	if (atomic_load(cached) >> 1 == number)
		atomic_store(cached, 0);
	return false;
}

/*
 * Return true if the state is read-only.  The answer, which never changes for a
 * state, is cached by number.
 */
static bool state_readonly(struct mounts *mounts, uint64_t number)
{
	_Atomic uint64_t *cached =
	        &mounts->states[number % SESSION_STATES_CACHED];
	uint64_t word = atomic_load_explicit(cached, memory_order_relaxed);
	struct forest *forest = fs_forest(mounts->fs);
	struct state *state;
	bool readonly = false;

	if (word >> 1 == number)
		return word & 1;
	store_lock(forest_store(forest));
	if (state_get(forest, number, &state) == 0) {
		readonly = state->flags & STATE_READONLY;
		atomic_store_explicit(cached, number << 1 | readonly,
		                      memory_order_relaxed);
	}
	store_unlock(forest_store(forest));
	return readonly;
}

bool session_shares(struct session *session, uint64_t state)
{
	struct mounts *mounts = session->mounts;

	if (mounts->count == 1)
		return false;
	if (mounts->whole < 2 || session->state) {
		/* Other states in a mount of one state are snapshots. */
		if (session->state && session->state != state)
			return false;
		return array_find(mounts->mounted, mounts->mounted_count,
		                  state);
	}
	return state == 0 || !state_readonly(mounts, state);
}
