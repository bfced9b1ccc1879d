/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "history.h"
#include "forest.h"

#include <errno.h>

enum { ORIGINS_MAX = 4096 }; /* forks without snapshots in a row */

/*
 * Find the origin of a fork.  -ENOENT: it was deleted; another state may have
 * its number.
 */
static int origin_find(struct forest *forest, const struct state *fork,
                       struct state **ret_state)
{
	struct state *s;
	int r;

	if (!fork->origin)
		return -ENOENT;
	r = state_get(forest, fork->origin, &s);
	if (!r && s->created > fork->created)
		r = -ENOENT;
	if (!r)
		*ret_state = s;
	return r == -ESTALE ? -ENOENT : r;
}

int state_before(struct forest *forest, const struct state *state,
                 struct state **ret_state)
{
	int64_t at = state->fork ? state->created - 1 : INT64_MAX;
	uint64_t number = state->fork ? state->fork : state->number;

	for (int i = 0; i < ORIGINS_MAX; i++) {
		struct state *fork, *origin = NULL;
		int r = state_newest(forest, number, at, ret_state);

		if (r != -ENOENT)
			return r;
		r = state_get(forest, number, &fork);
		if (!r)
			r = origin_find(forest, fork, &origin);
		if (r < 0)
			return r == -ESTALE ? -ENOENT : r;
		if (origin->fork) {
			*ret_state = origin;
			return 0;
		}
		number = origin->number;
		at = fork->created;
	}
	return -ENOENT;
}
