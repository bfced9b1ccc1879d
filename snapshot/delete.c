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
 *
 * A state that goes to the trash (trash.h) loses its name alone, and no task is
 * added.  When its time has passed, the functions that delete other states do
 * the rest; they remove its records of the trash instead of its name.
 */
#include "delete.h"
#include "forest.h"
#include "position.h"
#include "property_record.h"
#include "util.h"

#include <errno.h>

enum { PURGE_PIECE = 16 }; /* states in one hold of the lock */

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

void state_free_later(struct forest *forest, struct state *s)
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
	/* In the trash an unchanged head is not counted. */
	if (!r)
		*ret_parent = unchanged && !(s->flags & STATE_TRASHED) ? parent
		                                                       : NULL;
	return r;
}

/* Remove the records by which the state is found. */
static int state_unlist(struct forest *forest, const struct state *s)
{
	int r;

	if (s->flags & STATE_TRASHED)
		return trash_records_del(forest->store, s);
	r = name_del(forest, s);
	return r || !s->fork ? r : time_del(forest, s);
}

/* Update what is cached of positions when the state is no longer listed. */
static void state_unplace(struct forest *forest, const struct state *s)
{
	if (!s->fork)
		positions_forget(forest, s->number);
	else if (!(s->flags & STATE_TRASHED))
		positions_del(forest, s);
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
		r = state_unlist(forest, s);
	if (!r)
		r = record_del(forest, s);
	if (!r)
		r = properties_clear(forest->store, s->number);
	if (r < 0)
		return r;
	state_unplace(forest, s);
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
		r = state_unlist(forest, s);
	if (!r)
		r = properties_clear(forest->store, s->number);
	if (r < 0)
		return r;
	state_unplace(forest, s);
	state_release_version(s, parent);
	s->flags = STATE_DELETING;
	s->gone = true;
	state_mark(s);
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

/*
 * Check that the state can be deleted.  *ret_fork is the fork of a snapshot,
 * and NULL for a fork.
 */
static int delete_check(struct forest *forest, struct state *state,
                        bool recursive, struct state **ret_fork)
{
	int r;

	*ret_fork = NULL;
	if (forest->readonly)
		return -EROFS;
	if (state->gone)
		return -ESTALE;
	r = default_check(forest, state);
	if (!r)
		r = held_check(state, recursive);
	if (!r && state->snapshots && !recursive)
		r = -ENOTEMPTY;
	if (!r && state->fork)
		r = state_load(forest, state->fork, ret_fork);
	return r;
}

/* Count a state, and the snapshots it has, as deleted. */
static void delete_count(struct forest *forest, uint64_t snapshots,
                         struct state *fork)
{
	forest->meta.states -= 1 + snapshots;
	meta_mark(forest);
	if (fork) {
		fork->snapshots--;
		state_mark(fork);
	}
}

/* Return true if there are snapshots that have to be deleted with the fork. */
static bool has_snapshots(struct forest *forest, const struct state *s)
{
	return s->snapshots || (!s->fork && forest->meta.trashed &&
	                        trash_has_snapshots(forest, s->number));
}

int state_delete(struct forest *forest, struct state *state, bool recursive)
{
	uint64_t snapshots = state->snapshots;
	struct state *fork;
	int r = delete_check(forest, state, recursive, &fork);

	if (!r)
		r = has_snapshots(forest, state) ? fork_delete(forest, state)
		                                 : state_erase(forest, state);
	if (!r)
		delete_count(forest, snapshots, fork);
	return r;
}

/* ---- The trash ---------------------------------------------------------- */

/*
 * Set the times, and change the records by which the state is found: all of
 * them, or none.
 */
static int trash_records(struct forest *forest, struct state *s)
{
	bool begun;
	int r = records_begin(forest, &begun);

	if (r < 0)
		return r;
	s->deleted = now_ns();
	s->due = s->deleted + forest->trash_time;
	r = trash_records_put(forest->store, s);
	if (!r)
		r = state_unlist(forest, s);
	if (r < 0)
		s->deleted = s->due = 0;
	records_end(forest, begun, r);
	return r;
}

int state_trash(struct forest *forest, struct state *s, bool recursive)
{
	struct version *parent = NULL;
	struct state *fork;
	bool unchanged;
	int r = delete_check(forest, s, recursive, &fork);

	if (!r)
		r = version_unchanged(s->version, &unchanged, &parent);
	if (!r)
		r = store_set_feature(forest->store, STORE_FEATURE_TRASH, true);
	if (!r)
		r = trash_records(forest, s);
	if (r < 0)
		return r;
	state_unplace(forest, s);
	s->flags |= STATE_TRASHED;
	s->gone = true;
	state_mark(s);
	if (unchanged) {
		parent->same--;
		version_mark(parent);
	}
	delete_count(forest, s->snapshots, fork);
	forest->meta.trashed++;
	forest->meta.trashed_snapshots += s->snapshots;
	forest->gc.first_due = MIN(forest->gc.first_due, s->due);
	gc_wake(forest);
	watch_deleted(forest, s);
	return 0;
}

int state_purge(struct forest *forest, struct state *state)
{
	uint64_t snapshots = state->snapshots;
	int r;

	if (forest->readonly)
		return -EROFS;
	if (!(state->flags & STATE_TRASHED))
		return -ESTALE;
	r = has_snapshots(forest, state) ? fork_delete(forest, state)
	                                 : state_erase(forest, state);
	if (r < 0)
		return r;
	/* If this fails, the feature stays set, which does no harm. */
	if (!--forest->meta.trashed)
		store_set_feature(forest->store, STORE_FEATURE_TRASH, false);
	forest->meta.trashed_snapshots -= snapshots;
	meta_mark(forest);
	return 0;
}

int forest_empty_trash(struct forest *forest, uint64_t *ret_count)
{
	int64_t until = now_ns();
	uint64_t count = 0;
	int r = 0;

	while (!r) {
		struct trash_walk walk = {0};
		struct state *s;

		store_lock(forest->store);
		for (int i = 0; !r && i < PURGE_PIECE; i++) {
			r = trash_next(forest, &walk, &s);
			if (r || s->deleted > until)
				continue;
			r = state_purge(forest, s);
			count += !r;
		}
		store_unlock(forest->store);
		if (!r)
			r = store_yield(forest->store);
	}
	if (r == -ENOENT)
		*ret_count = count;
	return r == -ENOENT ? 0 : r;
}

/* ---- In the background -------------------------------------------------- */

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

/*
 * Delete the snapshots of a deleted fork that are in the trash, up to *most.
 * -ENOENT: none is left.
 */
static int clear_trash(struct forest *forest, uint64_t fork, uint32_t *most)
{
	struct record at = {.key_len = 8};
	struct state *s;
	int r = forest->meta.trashed ? 0 : -ENOENT;

	be64_put(at.key, fork);
	for (; !r && *most; --*most) {
		r = trash_next_of_fork(forest, &at, &s);
		if (!r)
			r = state_purge(forest, s);
	}
	return r;
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
	r = clear_trash(forest, fork, &most);
	if (r != -ENOENT)
		return r ? r : -EAGAIN;
	r = 0;
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
