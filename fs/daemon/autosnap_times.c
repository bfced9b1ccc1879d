/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "autosnap_times.h"

#include <errno.h>

#include "time_name.h"
#include "util.h"

static struct autosnap_time *times_append(struct autosnap_times *times)
{
	if (times->len == times->capacity) {
		size_t capacity = times->capacity ? 2 * times->capacity : 64;
		struct autosnap_time *grown =
		        reallocarray(times->at, capacity, sizeof(*grown));

		if (!grown)
			return NULL;
		times->at = grown;
		times->capacity = capacity;
	}
	return &times->at[times->len++];
}

int autosnap_times_add(struct autosnap_times *times,
                       const struct state *snapshot)
{
	struct autosnap_time *t;

	if (!times->loaded)
		return 0;
	t = times_append(times);
	if (!t)
		return -ENOMEM;
	*t = (struct autosnap_time){snapshot->created, snapshot->number};
	return 0;
}

void autosnap_times_del(struct autosnap_times *times, uint64_t number)
{
	for (size_t i = 0; i < times->len; i++) {
		if (times->at[i].number != number)
			continue;
		times->len--;
		memmove(&times->at[i], &times->at[i + 1],
		        (times->len - i) * sizeof(*times->at));
		return;
	}
}

void autosnap_times_release(struct autosnap_times *times)
{
	free(times->at);
	*times = (struct autosnap_times){0};
}

/* ---- Reading ------------------------------------------------------------ */

static int oldest_first(const void *a, const void *b)
{
	const struct autosnap_time *x = a, *y = b;

	return x->created < y->created ? -1 : x->created > y->created;
}

/* Read a piece of the fork's snapshots.  Lock held.  Errors as state_walk(). */
static int load_piece(struct autosnap_times *times, struct forest *forest,
                      struct state_walk *walk)
{
	uint64_t numbers[STATE_WALK_PIECE];
	size_t count = 0;
	int r = state_walk(forest, walk, numbers, &count);

	if (r < 0 && r != -EAGAIN)
		return r;
	for (size_t i = 0; i < count; i++) {
		struct autosnap_time *t;
		struct state *s;

		if (state_get(forest, numbers[i], &s))
			continue;
		if (!time_name_is(s->name)) {
			times->others++;
			continue;
		}
		t = times_append(times);
		if (!t)
			return -ENOMEM;
		*t = (struct autosnap_time){s->created, s->number};
	}
	return r;
}

/* Return true if all snapshots of the fork are known.  Lock held. */
static bool times_known(const struct autosnap_times *times,
                        const struct state *fork)
{
	return times->loaded && fork->created == times->fork_created &&
	       fork->snapshots == times->len + times->others;
}

int autosnap_times_load(struct autosnap_times *times, struct forest *forest)
{
	struct store *store = forest_store(forest);
	struct state_walk walk = {.fork = times->fork};
	struct state *fork;
	bool known;
	int r;

	store_lock(store);
	r = state_get(forest, times->fork, &fork);
	known = !r && times_known(times, fork);
	if (!r && !known) {
		times->loaded = false;
		times->len = 0;
		times->others = 0;
		times->fork_created = fork->created;
		r = -EAGAIN;
	}
	while (r == -EAGAIN) {
		r = load_piece(times, forest, &walk);
		store_unlock(store);
		if (r == -EAGAIN && store_yield(store))
			r = -EINTR;
		store_lock(store);
	}
	store_unlock(store);
	if (r || known)
		return r == -ENOENT ? -ESTALE : r;
	if (times->len)
		qsort(times->at, times->len, sizeof(*times->at), oldest_first);
	times->loaded = true;
	return 0;
}

/* ---- The policy --------------------------------------------------------- */

int autosnap_times_expired(const struct autosnap_times *times,
                           const struct retention *policy, int64_t now,
                           size_t most, uint64_t **ret_numbers,
                           size_t *ret_count)
{
	size_t len = times->len, count = 0;
	_cleanup_free_ int64_t *created = calloc(len + 1, sizeof(*created));
	_cleanup_free_ uint32_t *reasons = calloc(len + 1, sizeof(*reasons));
	_cleanup_free_ uint64_t *numbers =
	        calloc(MIN(len, most) + 1, sizeof(*numbers));

	if (!created || !reasons || !numbers)
		return -ENOMEM;
	for (size_t i = 0; i < len; i++)
		created[i] = times->at[len - 1 - i].created;
	retention_apply(policy, now, created, len, reasons);
	for (size_t i = 0; i < len && count < most; i++)
		if (!reasons[len - 1 - i])
			numbers[count++] = times->at[i].number;
	*ret_numbers = steal(&numbers);
	*ret_count = count;
	return 0;
}
