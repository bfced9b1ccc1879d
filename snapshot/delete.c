/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Delete states.  The name is deleted at once.  Tasks for the background
 * thread, which frees the space, are added in the same hold of the lock: after
 * a crash either the state or the tasks exist.
 *
 * A fork that is deleted with its snapshots may have any number of them.  It
 * loses its name and its version, but its record stays, with STATE_DELETING:
 * that alone makes its snapshots unreachable, by number and by name.  The
 * background thread then deletes them one by one.
 */
#include "delete.h"
#include "forest.h"
#include "position.h"
#include "property_record.h"
#include "util.h"

#include <errno.h>

/* Drop the state's reference to its version.  gc_note() was called before. */
static void state_release_version(struct state *s, struct version *parent)
{
	struct version *v = s->version;

	state_point(s, NULL);
	v->refs--;
	if (parent) {
		parent->same--;
		version_mark(parent);
	}
	version_mark(v);
}

/* Remove the state from the cache; its memory is freed in a later hold. */
static void state_free_later(struct forest *forest, struct state *s)
{
	s->gone = true;
	cache_remove(&forest->states, &s->cached);
	s->cached.hash_next = forest->deleted ? &forest->deleted->cached : NULL;
	forest->deleted = s;
}

static void watch_deleted(struct forest *forest, const struct state *s)
{
	if (forest->watch.deleted)
		forest->watch.deleted(forest->watch.arg, s);
}

static int name_del(struct forest *forest, const struct state *s)
{
	uint8_t key[TABLE_KEY_MAX];

	return table_del(forest->store, TABLE_NAME, key,
	                 name_key(key, s->fork, s->name));
}

static int record_del(struct forest *forest, const struct state *s)
{
	uint8_t key[8];

	be64_put(key, s->number);
	return table_del(forest->store, TABLE_STATE, key, sizeof(key));
}

static int time_del(struct forest *forest, const struct state *s)
{
	uint8_t key[TIME_KEY_LEN];

	time_key(key, s->fork, s->created, s->number);
	return table_del(forest->store, TABLE_TIME, key, sizeof(key));
}

/*
 * Do the part of a deletion that can fail: add the task, and read the parent of
 * an unchanged head, whose count of such children will decrease.  *ret_parent
 * is NULL if the head was changed.
 */
static int state_prepare(struct state *s, struct version **ret_parent)
{
	struct version *v = s->version;
	struct version *parent = NULL;
	bool unchanged;
	int r;

	r = version_unchanged(v, &unchanged, &parent);
	if (!r)
		r = gc_note(v, v->refs - 1, v->children);
	if (!r)
		*ret_parent = unchanged ? parent : NULL;
	return r;
}

/* Delete a state that has no snapshots. */
static int state_erase(struct forest *forest, struct state *s)
{
	struct version *parent = NULL;
	int r;

	r = state_prepare(s, &parent);
	if (!r)
		r = join_records_forget(forest, s->number);
	if (!r)
		r = name_del(forest, s);
	if (!r && s->fork)
		r = time_del(forest, s);
	if (!r)
		r = record_del(forest, s);
	if (!r)
		r = properties_clear(forest->store, s->number);
	if (r < 0)
		return r;
	if (s->fork)
		positions_del(forest, s);
	else
		positions_forget(forest, s->number);
	state_release_version(s, parent);
	state_free_later(forest, s);
	meta_mark(forest);
	watch_deleted(forest, s);
	return 0;
}

/* Delete a fork with snapshots: its name and head now, the rest by a task. */
static int fork_delete(struct forest *forest, struct state *s)
{
	struct version *parent = NULL;
	int r;

	r = state_prepare(s, &parent);
	if (!r)
		r = join_records_forget(forest, s->number);
	if (!r)
		r = task_put(forest, TASK_CLEAR, s->number, NULL, 0);
	if (!r)
		r = name_del(forest, s);
	if (!r)
		r = properties_clear(forest->store, s->number);
	if (r < 0)
		return r;
	positions_forget(forest, s->number);
	state_release_version(s, parent);
	s->flags |= STATE_DELETING;
	s->gone = true;
	state_mark(s);
	forest->meta.states -= 1 + s->snapshots;
	forest->meta.deleting += s->snapshots;
	meta_mark(forest);
	watch_deleted(forest, s);
	return 0;
}

static int default_check(struct forest *forest, const struct state *state)
{
	struct state *s;
	int r;

	if (forest->meta.default_state == state->number)
		return -EBUSY;
	if (state->fork)
		return 0;
	if (!forest->meta.default_state)
		return 0;
	/* The default state may be a snapshot of the fork. */
	r = state_load(forest, forest->meta.default_state, &s);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return s->fork == state->number ? -EBUSY : 0;
}

/* Return -EBUSY if a tag holds the state or one that is deleted with it. */
static int held_check(struct state *state, bool recursive)
{
	char tag[TAG_MAX + 1];
	struct state *held;
	int r = state_find_tag(state, recursive, &held, tag);

	return r == -ENOENT ? 0 : r ? r : -EBUSY;
}

int state_delete(struct forest *forest, struct state *state, bool recursive)
{
	struct state *fork = NULL;
	int r;

	if (forest->readonly)
		return -EROFS;
	if (state->gone)
		return -ESTALE;
	r = default_check(forest, state);
	if (!r)
		r = held_check(state, recursive);
	if (r < 0)
		return r;
	if (state->snapshots)
		return recursive ? fork_delete(forest, state) : -ENOTEMPTY;
	if (state->fork)
		r = state_load(forest, state->fork, &fork);
	if (!r)
		r = state_erase(forest, state);
	if (r < 0)
		return r;
	forest->meta.states--;
	if (fork) {
		fork->snapshots--;
		state_mark(fork);
	}
	return 0;
}

/*
 * Delete one snapshot of a fork that is being deleted: the one whose record in
 * TABLE_TIME is the first after *at; and set *at to that record.  If the
 * snapshot cannot be read, only the record in TABLE_TIME is deleted, and its
 * space stays in use until the store is repaired.  -ENOENT: none is left.
 */
static int clear_one(struct forest *forest, struct state *fork,
                     struct record *at)
{
	struct state *s;
	int r = table_next(forest->store, TABLE_TIME, at->key, at->key_len, at);

	if (!r)
		r = state_of_time(forest, fork->number, at, &s);
	if (r == -EUCLEAN)
		r = table_del(forest->store, TABLE_TIME, at->key, at->key_len);
	else if (!r)
		r = state_erase(forest, s);
	if (!r && fork->snapshots) {
		fork->snapshots--;
		forest->meta.deleting--;
		meta_mark(forest);
	}
	return r;
}

/* Return the record after which the deletion of the snapshots continues. */
static void clear_resume(struct gc *gc, uint64_t fork, struct record *ret_at)
{
	be64_put(ret_at->key, fork);
	ret_at->key_len = 8;
	if (gc->cleared_len < 8 || memcmp(gc->cleared, ret_at->key, 8))
		return;
	memcpy(ret_at->key, gc->cleared, gc->cleared_len);
	ret_at->key_len = gc->cleared_len;
}

static void clear_pause(struct gc *gc, const struct record *at)
{
	memcpy(gc->cleared, at->key, at->key_len);
	gc->cleared_len = at->key_len;
}

int fork_clear(struct forest *forest, uint64_t fork, uint32_t most)
{
	struct record at;
	struct state *f;
	int r = state_load(forest, fork, &f);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (!(f->flags & STATE_DELETING))
		return 0; /* another fork that has the number now */
	clear_resume(&forest->gc, fork, &at);
	state_mark(f);
	while (!r && most--) {
		r = clear_one(forest, f, &at);
		if (!r)
			clear_pause(&forest->gc, &at);
	}
	if (r != -ENOENT)
		return r ? r : -EAGAIN;
	r = record_del(forest, f);
	if (r < 0)
		return r;
	forest->gc.cleared_len = 0; /* another fork may have the number next */
	forest->meta.deleting -= f->snapshots;
	meta_mark(forest);
	state_free_later(forest, f);
	return 0;
}
