/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The newest common versions of two states.
 *
 * A version contains its parent, and what was joined into its state between the
 * freeze of the parent and its own.  So the versions are a graph, whose edges
 * lead to smaller freezes.  It is walked from both states in the order of the
 * freezes, the newest first, and each version is marked with the sides that
 * contain it.  The first versions that both contain are the bases; what they
 * contain is stale.
 */
#include "join_base.h"
#include "array.h"
#include "forest.h"
#include "util.h"

#include <errno.h>

enum { SIDE_OURS = 1, SIDE_THEIRS = 2, SIDES = 3, STALE = 4, ORIGINS_MAX = 64 };

/* The joins into a state, and into those that it was forked from. */
struct lineage {
	uint64_t state; /* number of the state where it begins */
	struct joined {
		uint64_t seq, version, from;
	} * joins;
	size_t count, room;
};

/*
 * A version to be visited, and the states whose lineage it is in: several after
 * a fork has switched to the tree of another one.
 */
struct visit {
	struct version *version;
	unsigned marks;
	uint64_t *states;
	size_t state_count, state_room;
};

struct walk {
	struct forest *forest;
	struct lineage *lineages;
	size_t lineage_count, lineage_room;
	struct visit *visits;
	size_t visit_count, visit_room;
};

/* ---- Lineages ----------------------------------------------------------- */

/* Return the order of a version: a head is newer than all frozen ones. */
static uint64_t version_order(const struct version *v)
{
	return v->freeze ? v->freeze : UINT64_MAX;
}

/* Return the freeze of the newest common ancestor of two versions; 0: none. */
static uint64_t common_freeze(struct forest *forest, struct version *a,
                              struct version *b)
{
	while (a != b) {
		struct version **newer =
		        version_order(a) > version_order(b) ? &a : &b;

		if (!(*newer)->parent ||
		    version_load(forest, (*newer)->parent, newer) < 0)
			return 0;
	}
	return version_order(a);
}

static int joins_add(struct walk *w, struct lineage *lineage, uint64_t into,
                     uint64_t ceiling)
{
	struct join_record record = {0};
	int r;

	while (!(r = join_record_next(w->forest, into, record.from, &record))) {
		struct joined *joined;

		if (record.seq > ceiling)
			continue;
		joined = array_add(&lineage->joins, &lineage->count,
		                   &lineage->room);
		if (!joined)
			return -ENOMEM;
		*joined = (struct joined){record.seq, record.version,
		                          record.from};
	}
	return r == -ENOENT ? 0 : r;
}

/*
 * Replace *state by the state that it was made from, and lower *ceiling to the
 * freeze of their newest common version.  -ENOENT.
 */
static int origin_find(struct forest *forest, struct state **state,
                       uint64_t *ceiling)
{
	struct state *s = *state, *from;
	uint64_t number = s->fork ? s->fork : s->origin, freeze;
	int r = number ? state_load(forest, number, &from) : -ENOENT;

	if (r < 0)
		return r;
	/* Another state may have the number by now. */
	if (from->created > s->created || !from->version || !s->version)
		return -ENOENT;
	freeze = common_freeze(forest, s->version, from->version);
	*ceiling = MIN(*ceiling, freeze);
	*state = from;
	return freeze ? 0 : -ENOENT;
}

static int lineage_fill(struct walk *w, struct lineage *lineage)
{
	uint64_t ceiling = UINT64_MAX;
	struct state *s;
	int r = state_load(w->forest, lineage->state, &s);

	for (int i = 0; !r && i < ORIGINS_MAX; i++) {
		r = joins_add(w, lineage, s->number, ceiling);
		if (!r)
			r = origin_find(w->forest, &s, &ceiling);
	}
	return r == -ENOENT ? 0 : r;
}

static int lineage_get(struct walk *w, uint64_t state, size_t *ret_index)
{
	struct lineage *lineage;
	size_t i = 0;

	while (i < w->lineage_count && w->lineages[i].state != state)
		i++;
	*ret_index = i;
	if (i < w->lineage_count)
		return 0;
	lineage = array_add(&w->lineages, &w->lineage_count, &w->lineage_room);
	if (!lineage)
		return -ENOMEM;
	lineage->state = state;
	return lineage_fill(w, lineage);
}

/* ---- The walk ----------------------------------------------------------- */

static int visit_add_state(struct visit *visit, uint64_t state)
{
	uint64_t *added;

	for (size_t i = 0; i < visit->state_count; i++) {
		if (visit->states[i] == state)
			return 0;
	}
	added = array_add(&visit->states, &visit->state_count,
	                  &visit->state_room);
	if (!added)
		return -ENOMEM;
	*added = state;
	return 0;
}

static int visit_add(struct walk *w, struct version *v, unsigned marks,
                     uint64_t state)
{
	struct visit *visit = NULL;

	for (size_t i = 0; !visit && i < w->visit_count; i++) {
		if (w->visits[i].version == v)
			visit = &w->visits[i];
	}
	if (!visit)
		visit = array_add(&w->visits, &w->visit_count, &w->visit_room);
	if (!visit)
		return -ENOMEM;
	visit->version = v;
	visit->marks |= marks;
	return visit_add_state(visit, state);
}

/* Take the newest version; return false if only stale ones are left. */
static bool visit_next(struct walk *w, struct visit *ret_visit)
{
	size_t newest = 0;
	bool any = false;

	for (size_t i = 0; i < w->visit_count; i++) {
		any |= !(w->visits[i].marks & STALE);
		if (w->visits[i].version->freeze >
		    w->visits[newest].version->freeze)
			newest = i;
	}
	if (!any)
		return false;
	*ret_visit = w->visits[newest];
	w->visits[newest] = w->visits[--w->visit_count];
	return true;
}

/* Add the versions that were joined into a state while it had this one. */
static int visit_spread_joins(struct walk *w, struct visit *visit,
                              uint64_t state)
{
	struct version *v = visit->version, *other;
	size_t lineage;
	int r = lineage_get(w, state, &lineage);

	for (size_t i = 0; !r && i < w->lineages[lineage].count; i++) {
		const struct joined joined = w->lineages[lineage].joins[i];

		/* The state has switched to this very version of the other. */
		if (joined.version == v->id)
			r = visit_add_state(visit, joined.from);
		if (r || joined.seq <= v->tree.base || joined.seq > v->freeze)
			continue;
		/* A release of Coppice without joins may have freed it. */
		r = version_find(w->forest, joined.version, &other);
		if (!r)
			r = visit_add(w, other, visit->marks, joined.from);
		else if (r == -ENOENT)
			r = 0;
	}
	return r;
}

/* Add the versions that a version contains. */
static int visit_spread(struct walk *w, struct visit *visit)
{
	struct version *parent;
	int r = 0;

	/* The loop may add states at the end. */
	for (size_t i = 0; !r && i < visit->state_count; i++)
		r = visit_spread_joins(w, visit, visit->states[i]);
	if (!r && visit->version->parent)
		r = version_load(w->forest, visit->version->parent, &parent);
	for (size_t i = 0;
	     !r && visit->version->parent && i < visit->state_count; i++)
		r = visit_add(w, parent, visit->marks, visit->states[i]);
	return r;
}

static int walk_run(struct walk *w, unsigned max, uint64_t *ret_versions)
{
	struct visit visit;
	unsigned count = 0;

	while (visit_next(w, &visit)) {
		int r;

		/* A hollow version has no whole tree: take an older one. */
		if (visit.marks == SIDES && !visit.version->hollow) {
			if (count == max) {
				free(visit.states);
				return -EMLINK;
			}
			ret_versions[count++] = visit.version->id;
			visit.marks |= STALE;
		}
		r = visit_spread(w, &visit);
		free(visit.states);
		if (r < 0)
			return r;
	}
	return (int)count;
}

int join_bases(struct state *ours, const struct state_hold *ours_hold,
               struct state *theirs, const struct state_hold *theirs_hold,
               unsigned max, uint64_t *ret_versions)
{
	struct walk w = {.forest = ours->forest};
	int r = visit_add(&w, ours_hold->version, SIDE_OURS, ours->number);

	if (!r)
		r = visit_add(&w, theirs_hold->version, SIDE_THEIRS,
		              theirs->number);
	if (!r)
		r = walk_run(&w, max, ret_versions);
	for (size_t i = 0; i < w.lineage_count; i++)
		free(w.lineages[i].joins);
	for (size_t i = 0; i < w.visit_count; i++)
		free(w.visits[i].states);
	free(w.lineages);
	free(w.visits);
	return r;
}
