/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Holds on the tree of a state.
 *
 * Only two tasks end a version's tree: REAP and MERGE of that version.  The
 * background thread skips them while the version is held (task.c).  Their
 * records stay, so that nothing is lost if the process dies.  Other versions'
 * tasks free only blocks that the held tree does not reach:
 *
 * - Reaping or merging a child frees blocks above the held version's freeze.
 * - Merging the parent into the held version frees blocks that the held one has
 *   dropped, and changes its base, deadlist and parent, not its tree.
 */
#include "state_hold.h"
#include "forest.h"
#include "util.h"

#include <errno.h>

void version_hold(struct version *v, struct state_hold *hold)
{
	v->pins++;
	v->held++;
	*hold = (struct state_hold){.version = v};
}

/*
 * Freeze the state's head and give the state a new one.  The frozen version has
 * no refs and one child: a task to merge them is added in the same hold of the
 * lock.
 */
static int head_freeze(struct state *state)
{
	struct version *v = state->version, *successor = NULL;
	struct forest *forest = state->forest;
	uint64_t seq = store_next_seq(forest->store);
	int r = version_new_head(forest, v, &successor);

	if (!r)
		r = gc_note(v, 0, 1);
	if (!r)
		r = forest_undo_froze(forest, state);
	if (r < 0) {
		free(successor);
		return r;
	}
	version_freeze(v, seq);
	version_attach(successor, v);
	state_point(state, successor);
	state_mark(state);
	return 0;
}

int state_hold(struct state *state, struct state_hold *ret_hold)
{
	struct forest *forest = state->forest;
	struct version *v = state->version, *parent = NULL;
	bool unchanged;
	int r;

	if (state->gone)
		return -ESTALE;
	if (v->freeze || forest->readonly) {
		version_hold(v, ret_hold);
		return 0;
	}
	r = version_unchanged(v, &unchanged, &parent);
	if (!r && !unchanged)
		r = head_freeze(state);
	if (r < 0)
		return r;
	version_hold(unchanged ? parent : v, ret_hold);
	return 0;
}

int version_hold_id(struct forest *forest, uint64_t version,
                    struct state_hold *ret_hold)
{
	struct version *v;
	int r = version_find(forest, version, &v);

	if (!r)
		version_hold(v, ret_hold);
	return r;
}

bool state_is_at(struct state *state, uint64_t version)
{
	struct version *parent = NULL;
	bool unchanged;

	if (state->version->id == version)
		return true;
	return !version_unchanged(state->version, &unchanged, &parent) &&
	       unchanged && parent->id == version;
}

bool version_is_held(struct forest *forest, uint64_t id)
{
	/* Held versions stay in memory. */
	struct cached *found = cache_find(&forest->versions, id);

	if (found && container_of(found, struct version, cached)->held)
		return true;
	return version_is_joined(forest, id);
}

void hold_release(struct forest *forest, struct state_hold *hold)
{
	struct version *v = hold->version;

	if (!v)
		return;
	*hold = (struct state_hold){0};
	v->pins--;
	v->held--;
	if (!forest->readonly && !version_is_held(forest, v->id))
		gc_resume(forest, v->id);
}

void hold_copy(const struct state_hold *from, struct state_hold *ret_to)
{
	version_hold(from->version, ret_to);
}

void hold_move(struct forest *forest, struct state_hold *from,
               struct state_hold *ret_to)
{
	struct version *v = from->version;

	*ret_to = (struct state_hold){0};
	if (!v)
		return;
	version_hold(v, ret_to);
	hold_release(forest, from);
}

struct tree *hold_tree(const struct state_hold *hold)
{
	return &hold->version->tree;
}

uint64_t hold_version(const struct state_hold *hold)
{
	return hold->version->id;
}

uint64_t hold_freeze(const struct state_hold *hold)
{
	return hold->version->freeze;
}
