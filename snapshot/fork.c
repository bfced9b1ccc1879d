/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fork, snapshot and rename states.  Each operation writes a few records,
 * whatever the size of the state and the number of states.
 */
#include "forest.h"
#include "number.h"
#include "position.h"
#include "util.h"

#include <errno.h>

/* The parts of a new state, allocated before anything is changed. */
struct fork_plan {
	struct state *state;        /* the new state */
	struct version *head;       /* its head, if it is a fork */
	struct version *successor;  /* the source's head after a freeze */
	struct version *fork_point; /* the frozen version that both share */
	uint64_t seq;               /* of the freeze */
};

static void fork_plan_release(struct fork_plan *plan)
{
	free(plan->state);
	free(plan->head);
	free(plan->successor);
}

int state_check_free(struct forest *forest, uint64_t fork, const char *name)
{
	struct symlink link;
	struct state *other;
	int r = state_find(forest, fork, name, &other);

	if (r == -ENOENT && !fork)
		r = symlink_find(forest, name, &link);
	return r == -ENOENT ? 0 : r ? r : -EEXIST;
}

/* Return true for a state that exists, or a snapshot in the trash. */
static bool state_forkable(const struct state *s)
{
	return !s->gone || (s->fork && s->flags & STATE_TRASHED);
}

/* Find the same state in another hold of the lock.  -ESTALE: it was deleted. */
static int state_again(struct forest *forest, uint64_t number, int64_t created,
                       struct state **ret_state)
{
	struct state *s;
	int r = state_get(forest, number, &s);

	if (r == -ESTALE)
		r = trash_get(forest, number, &s) ? -ESTALE : 0;
	if (r < 0)
		return r;
	/* Another state may have the number by now. */
	if (s->created != created || !state_forkable(s))
		return -ESTALE;
	*ret_state = s;
	return 0;
}

/*
 * Check that the name is free in `fork` (0: among the forks), draw a number and
 * allocate the state.  If that releases the lock, *source is looked up again.
 * source is NULL for a state with a new tree.
 */
static int fork_plan_begin(struct fork_plan *plan, struct forest *forest,
                           uint64_t fork, const char *name,
                           struct state **source)
{
	uint64_t origin = source ? (*source)->number : 0, number;
	int64_t created = source ? (*source)->created : 0;
	int r = state_check_free(forest, fork, name);

	if (r < 0)
		return r;
	r = number_draw(forest, &number);
	if (r > 0) {
		r = state_check_free(forest, fork, name);
		if (!r && source)
			r = state_again(forest, origin, created, source);
	}
	if (r < 0)
		return r;
	plan->state = state_alloc(forest, number);
	return plan->state ? 0 : -ENOMEM;
}

/*
 * Find the fork point, the frozen version with the source's present tree, and
 * allocate the new heads.  The fork point of a snapshot is its own version; of
 * a head that is unchanged since it was forked, the parent.  Any other head is
 * itself frozen, and the source gets a new one.
 */
static int fork_plan_init(struct fork_plan *plan, struct state *source,
                          bool snapshot)
{
	struct forest *forest = source->forest;
	struct version *v = source->version;
	struct version *parent = NULL;
	bool unchanged;
	int r;

	r = version_unchanged(v, &unchanged, &parent);
	if (r < 0)
		return r;
	plan->fork_point = unchanged ? parent : v;
	if (!plan->fork_point->freeze) {
		/* All numbers drawn from here on are above the freeze's. */
		plan->seq = store_next_seq(forest->store);
		r = version_new_head(forest, v, &plan->successor);
		if (!r)
			r = forest_undo_froze(forest, source);
	}
	if (!r && !snapshot)
		r = version_new_head(forest, v, &plan->head);
	return r;
}

static void fork_plan_describe(struct fork_plan *plan,
                               const struct state *source, const char *name)
{
	struct state *s = plan->state;

	snprintf(s->name, sizeof(s->name), "%s", name);
	s->origin = source->number;
	state_full_name(source->forest, source, s->origin_name);
	s->created = now_ns();
}

int state_name_put(struct forest *forest, const struct state *s)
{
	uint8_t key[TABLE_KEY_MAX], value[10];
	struct writer w = writer_init(value, sizeof(value));

	put_varint(&w, s->number);
	return table_put(forest->store, TABLE_NAME, key,
	                 name_key(key, s->fork, s->name), value,
	                 writer_len(&w));
}

/* Add the new state to the cache and mark it as to be written. */
static void state_add(struct forest *forest, struct state *s)
{
	cache_add(&forest->states, &s->cached);
	state_mark(s);
	forest->meta.states++;
	meta_mark(forest);
}

/* Link the new versions and the new state.  Cannot fail. */
static void fork_plan_apply(struct fork_plan *plan, struct state *source,
                            struct state **ret_state)
{
	struct forest *forest = source->forest;
	struct version *fork_point = plan->fork_point;
	struct version *head = plan->head;
	struct state *s = steal(&plan->state);

	if (plan->successor) {
		struct version *successor = steal(&plan->successor);

		version_freeze(fork_point, plan->seq);
		version_attach(successor, fork_point);
		state_point(source, successor);
		state_mark(source);
	}
	if (head) {
		version_attach(head, fork_point);
		plan->head = NULL;
	} else {
		fork_point->refs++;
		version_mark(fork_point);
	}
	state_point(s, head ? head : fork_point);
	state_add(forest, s);
	*ret_state = s;
}

int state_fork(struct forest *forest, struct state *source, const char *name,
               struct state **ret_state)
{
	_cleanup_(fork_plan_release) struct fork_plan plan = {0};
	int r;

	if (forest->readonly)
		return -EROFS;
	if (!state_forkable(source))
		return -ESTALE;
	r = name_check_fork(name);
	if (!r)
		r = fork_plan_begin(&plan, forest, 0, name, &source);
	if (!r)
		r = fork_plan_init(&plan, source, false);
	if (r < 0)
		return r;
	fork_plan_describe(&plan, source, name);
	r = state_name_put(forest, plan.state);
	if (r < 0)
		return r;
	fork_plan_apply(&plan, source, ret_state);
	return 0;
}

int state_create(struct forest *forest, const char *name,
                 const struct inode *root, struct state **ret_state)
{
	_cleanup_(fork_plan_release) struct fork_plan plan = {0};
	uint8_t key[TABLE_KEY_MAX];
	struct state *s;
	int r;

	if (forest->readonly)
		return -EROFS;
	r = name_check_fork(name);
	if (!r)
		r = fork_plan_begin(&plan, forest, 0, name, NULL);
	if (r < 0)
		return r;
	s = plan.state;
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->created = now_ns();
	r = state_name_put(forest, s);
	if (!r)
		r = version_new_root(forest, root, &plan.head);
	if (r < 0) {
		table_del(forest->store, TABLE_NAME, key,
		          name_key(key, 0, name));
		return r;
	}
	cache_add(&forest->versions, &plan.head->cached);
	version_mark(plan.head);
	state_point(s, steal(&plan.head));
	state_add(forest, steal(&plan.state));
	*ret_state = s;
	return 0;
}

/* Raise the state's time above that of every other snapshot of the fork. */
static int snapshot_date(struct forest *forest, struct state *s)
{
	int64_t newest;
	int r = position_bound(forest, s->fork, &newest);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (s->created <= newest)
		s->created = newest + 1;
	return 0;
}

int state_snapshot(struct forest *forest, struct state *fork, const char *name,
                   struct state **ret_state)
{
	_cleanup_(fork_plan_release) struct fork_plan plan = {0};
	uint8_t key[TIME_KEY_LEN];
	struct state *s;
	int r;

	if (forest->readonly || fork->flags & STATE_READONLY)
		return -EROFS;
	if (fork->gone)
		return -ESTALE;
	r = name_check_snapshot(name);
	if (!r)
		r = fork_plan_begin(&plan, forest, fork->number, name, &fork);
	if (!r)
		r = fork_plan_init(&plan, fork, true);
	if (r < 0)
		return r;
	s = plan.state;
	s->fork = fork->number;
	s->flags = STATE_READONLY;
	fork_plan_describe(&plan, fork, name);
	r = snapshot_date(forest, s);
	if (r < 0)
		return r;
	time_key(key, s->fork, s->created, s->number);
	r = table_put(forest->store, TABLE_TIME, key, sizeof(key), NULL, 0);
	if (r < 0)
		return r;
	r = state_name_put(forest, s);
	if (r < 0) {
		table_del(forest->store, TABLE_TIME, key, sizeof(key));
		return r;
	}
	fork_plan_apply(&plan, fork, ret_state);
	positions_add(forest, *ret_state);
	fork->snapshots++;
	state_mark(fork);
	return 0;
}

int state_rename(struct forest *forest, struct state *state, const char *name)
{
	char old_name[NAME_LEN_MAX + 1];
	uint8_t key[TABLE_KEY_MAX];
	int r;

	if (forest->readonly)
		return -EROFS;
	if (state->gone)
		return -ESTALE;
	r = state->fork ? name_check_snapshot(name) : name_check_fork(name);
	if (r < 0 || !strcmp(state->name, name))
		return r;
	r = state_check_free(forest, state->fork, name);
	if (r < 0)
		return r;
	memcpy(old_name, state->name, sizeof(old_name));
	snprintf(state->name, sizeof(state->name), "%s", name);
	r = state_name_put(forest, state);
	if (!r)
		r = table_del(forest->store, TABLE_NAME, key,
		              name_key(key, state->fork, old_name));
	if (r < 0) {
		table_del(forest->store, TABLE_NAME, key,
		          name_key(key, state->fork, name));
		memcpy(state->name, old_name, sizeof(old_name));
		return r;
	}
	state_mark(state);
	if (forest->watch.renamed)
		forest->watch.renamed(forest->watch.arg, state, old_name);
	return 0;
}

int state_edit(struct state *state, struct tree **ret_tree)
{
	struct version *v = state->version;
	bool unchanged;
	int r;

	if (state->gone)
		return -ESTALE;
	if (state->flags & STATE_READONLY || state->forest->readonly)
		return -EROFS;
	/* Load the parent into the cache, for version_on_root(). */
	r = version_unchanged(v, &unchanged, NULL);
	if (r < 0)
		return r;
	version_mark(v);
	*ret_tree = &v->tree;
	return 0;
}
