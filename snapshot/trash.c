/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The trash: its records, and how states come back.  TABLE_TRASH has, for each
 * state in it,
 *
 *   1, be64 due, be64 number                                nothing
 *   2, be64 fork, name, 0, be64 ~deleted, be64 number       nothing
 *   3, be64 version, be64 number    (snapshots alone)       nothing
 *
 * with the highest bit of times inverted, so that they sort as numbers.  The
 * times themselves are in the state's record.
 *
 * A state in the trash still counts among the refs of its version, so the
 * background thread leaves that alone.  The third record gives the number of
 * those refs, which keep nothing for good: see state_has_equal().  For the same
 * reason an unchanged head in the trash is not counted in its parent's `same`.
 */
#include "trash.h"
#include "forest.h"
#include "position.h"
#include "util.h"

#include <errno.h>

enum { BY_DUE = 1, BY_NAME, BY_VERSION };
enum { PIECE = 64 }; /* states read in one hold of the lock */

/* ---- Records ------------------------------------------------------------ */

static uint64_t time_bits(int64_t time)
{
	return (uint64_t)time ^ UINT64_C(1) << 63;
}

/* Write a kind and two numbers. */
static void key_two(struct record *key, int kind, uint64_t a, uint64_t b)
{
	key->key[0] = (uint8_t)kind;
	be64_put(key->key + 1, a);
	be64_put(key->key + 9, b);
	key->key_len = 17;
}

/* Write the bytes with which the keys of a name in the fork begin. */
static void key_name(struct record *key, uint64_t fork, const char *name)
{
	size_t len = strlen(name) + 1;

	key->key[0] = BY_NAME;
	be64_put(key->key + 1, fork);
	memcpy(key->key + 9, name, len);
	key->key_len = (uint32_t)(9 + len);
}

size_t trash_keys(const struct state *s, struct record ret_keys[TRASH_KEYS])
{
	struct record *by_name = &ret_keys[1];

	key_two(&ret_keys[0], BY_DUE, time_bits(s->due), s->number);
	key_name(by_name, s->fork, s->name);
	be64_put(by_name->key + by_name->key_len, ~time_bits(s->deleted));
	be64_put(by_name->key + by_name->key_len + 8, s->number);
	by_name->key_len += 16;
	if (!s->fork)
		return 2;
	key_two(&ret_keys[2], BY_VERSION, s->version->id, s->number);
	return 3;
}

int trash_records_put(struct store *store, const struct state *state)
{
	struct record keys[TRASH_KEYS];
	size_t count = trash_keys(state, keys);
	int r = 0;

	for (size_t i = 0; !r && i < count; i++)
		r = table_put(store, TABLE_TRASH, keys[i].key, keys[i].key_len,
		              NULL, 0);
	return r;
}

int trash_records_del(struct store *store, const struct state *state)
{
	struct record keys[TRASH_KEYS];
	size_t count = trash_keys(state, keys);
	int r = 0;

	for (size_t i = 0; !r && i < count; i++)
		r = table_del(store, TABLE_TRASH, keys[i].key, keys[i].key_len);
	return r;
}

/* ---- Finding ------------------------------------------------------------ */

int trash_get(struct forest *forest, uint64_t number, struct state **ret_state)
{
	struct state *s;
	int r = state_load(forest, number, &s);

	if (!r && !(s->flags & STATE_TRASHED))
		r = -ENOENT;
	if (!r)
		*ret_state = s;
	return r;
}

/* Return the state whose number a key of TABLE_TRASH ends with. */
static int state_of_key(struct forest *forest, const struct record *key,
                        struct state **ret_state)
{
	int r = trash_get(forest, be64_get(key->key + key->key_len - 8),
	                  ret_state);

	return r == -ENOENT ? -EUCLEAN : r;
}

/* Find the next record after *at that begins with the first `len` bytes. */
static int key_next(struct forest *forest, struct record *at, size_t len)
{
	uint8_t prefix[TABLE_KEY_MAX];
	int r;

	memcpy(prefix, at->key, len);
	r = table_next(forest->store, TABLE_TRASH, at->key, at->key_len, at);
	if (!r && (at->key_len < 17 || memcmp(at->key, prefix, len)))
		r = -ENOENT;
	return r;
}

int trash_next(struct forest *forest, struct trash_walk *walk,
               struct state **ret_state)
{
	struct record at;
	int r;

	if (!walk->key_len) {
		walk->key[0] = BY_DUE;
		walk->key_len = 1;
	}
	memcpy(at.key, walk->key, walk->key_len);
	at.key_len = (uint32_t)walk->key_len;
	r = key_next(forest, &at, 1);
	if (r < 0)
		return r;
	memcpy(walk->key, at.key, at.key_len);
	walk->key_len = at.key_len;
	return state_of_key(forest, &at, ret_state);
}

void trash_walk_from(struct trash_walk *walk, int64_t due)
{
	walk->key[0] = BY_DUE;
	be64_put(walk->key + 1, time_bits(due));
	walk->key_len = 9;
}

int64_t trash_walk_due(const struct trash_walk *walk)
{
	return (int64_t)time_bits((int64_t)be64_get(walk->key + 1));
}

int trash_next_of_fork(struct forest *forest, struct record *at,
                       struct state **ret_state)
{
	int r;

	if (at->key_len == 8) {
		memmove(at->key + 1, at->key, 8);
		at->key[0] = BY_NAME;
		at->key_len = 9;
	}
	r = key_next(forest, at, 9);
	return r ? r : state_of_key(forest, at, ret_state);
}

bool trash_has_snapshots(struct forest *forest, uint64_t fork)
{
	struct record at;
	struct state *s;

	be64_put(at.key, fork);
	at.key_len = 8;
	return !trash_next_of_fork(forest, &at, &s);
}

int trash_find(struct forest *forest, uint64_t fork, const char *name,
               struct state **ret_state)
{
	struct record at;
	int r;

	if (!*name || strlen(name) > NAME_LEN_MAX)
		return -ENOENT;
	key_name(&at, fork, name);
	r = key_next(forest, &at, at.key_len);
	return r ? r : state_of_key(forest, &at, ret_state);
}

/* Find a deleted snapshot by its name; its fork may be deleted, too. */
static int snapshot_named(struct forest *forest, const char *fork_name,
                          const char *name, struct state **ret_state)
{
	struct state *fork;
	struct record at;
	int r = state_find(forest, 0, fork_name, &fork);

	if (!r)
		r = trash_find(forest, fork->number, name, ret_state);
	if (r != -ENOENT)
		return r;
	key_name(&at, 0, fork_name);
	for (uint32_t len = at.key_len; !(r = key_next(forest, &at, len));) {
		r = state_of_key(forest, &at, &fork);
		if (!r)
			r = trash_find(forest, fork->number, name, ret_state);
		if (r == -ENOENT)
			r = state_of_fork(forest, fork->number, name,
			                  ret_state);
		if (r != -ENOENT)
			return r;
	}
	return r;
}

int trash_named(struct forest *forest, const char *name,
                struct state **ret_state)
{
	static const char snapdir[] = "/.snap/";
	char fork[NAME_LEN_MAX + 1];
	const char *cut = strstr(name, snapdir), *own;
	int r = trash_find(forest, 0, name, ret_state);

	if (r != -ENOENT)
		return r;
	own = cut ? cut + sizeof(snapdir) - 1 : NULL;
	if (!cut && (cut = strrchr(name, '~')))
		own = cut + 1;
	if (!cut || (size_t)(cut - name) >= sizeof(fork))
		return -ENOENT;
	memcpy(fork, name, (size_t)(cut - name));
	fork[cut - name] = 0;
	return snapshot_named(forest, fork, own, ret_state);
}

uint64_t trash_refs(struct forest *forest, uint64_t version, uint64_t most)
{
	struct record at;
	uint64_t count = 0;

	if (!forest->meta.trashed)
		return 0;
	key_two(&at, BY_VERSION, version, 0);
	at.key_len = 9;
	while (count < most && !key_next(forest, &at, 9))
		count++;
	return count;
}

uint64_t forest_trash_count(struct forest *forest)
{
	return forest->meta.trashed;
}

/* ---- Coming back -------------------------------------------------------- */

/*
 * Insert the record of a snapshot's time.  A snapshot that was made while this
 * one was in the trash may have the same time, if the clock was set back.
 */
static int time_put(struct forest *forest, struct state *s)
{
	uint8_t key[TIME_KEY_LEN];
	struct state *other;
	int r;

	while (!(r = state_newest(forest, s->fork, s->created, &other)) &&
	       other->created == s->created)
		s->created++;
	if (r && r != -ENOENT)
		return r;
	time_key(key, s->fork, s->created, s->number);
	return table_put(forest->store, TABLE_TIME, key, sizeof(key), NULL, 0);
}

/* Count the state as one that exists again. */
static void undelete_apply(struct forest *forest, struct state *s,
                           struct state *fork, struct version *parent)
{
	s->flags &= ~(uint32_t)STATE_TRASHED;
	s->gone = false;
	s->deleted = s->due = 0;
	state_mark(s);
	if (parent) {
		parent->same++;
		version_mark(parent);
	}
	if (fork) {
		fork->snapshots++;
		state_mark(fork);
	}
	positions_forget(forest, fork ? fork->number : s->number);
	forest->meta.trashed_snapshots -= s->snapshots;
	/* If this fails, the feature stays set, which does no harm. */
	if (!--forest->meta.trashed)
		store_set_feature(forest->store, STORE_FEATURE_TRASH, false);
	forest->meta.states += 1 + s->snapshots;
	meta_mark(forest);
}

/*
 * Give the state its new name, and change the records by which it is found: all
 * of them, or none.
 */
static int undelete_records(struct forest *forest, struct state *s,
                            const char *name)
{
	char old_name[NAME_LEN_MAX + 1];
	int64_t created = s->created;
	bool begun;
	int r = records_begin(forest, &begun);

	if (r < 0)
		return r;
	memcpy(old_name, s->name, sizeof(old_name));
	/* Before the name changes: the keys have the old one. */
	r = trash_records_del(forest->store, s);
	snprintf(s->name, sizeof(s->name), "%s", name);
	if (!r)
		r = state_name_put(forest, s);
	if (!r && s->fork)
		r = time_put(forest, s);
	if (r < 0) {
		memcpy(s->name, old_name, sizeof(old_name));
		s->created = created;
	}
	records_end(forest, begun, r);
	return r;
}

int state_undelete(struct forest *forest, struct state *state, const char *name)
{
	char own[NAME_LEN_MAX + 1];
	struct version *parent = NULL;
	struct state *fork = NULL;
	bool unchanged;
	int r;

	if (forest->readonly)
		return -EROFS;
	if (!(state->flags & STATE_TRASHED))
		return -ESTALE;
	if (state->fork && state_get(forest, state->fork, &fork))
		return -ENOTDIR;
	memcpy(own, state->name, sizeof(own));
	name = name ? name : own;
	r = fork ? name_check_snapshot(name) : name_check_fork(name);
	if (!r)
		r = state_check_free(forest, state->fork, name);
	if (!r)
		r = version_unchanged(state->version, &unchanged, &parent);
	if (r < 0)
		return r;
	if (!unchanged)
		parent = NULL;
	r = undelete_records(forest, state, name);
	if (r < 0)
		return r;
	undelete_apply(forest, state, fork, parent);
	return 0;
}

/* ---- Space -------------------------------------------------------------- */

/* Add the next snapshots of a fork in the trash to the set.  -ENOENT: none. */
static int measure_piece(struct forest *forest, struct space *space,
                         uint64_t fork, struct record *at)
{
	struct state *s;
	int r = 0;

	for (int i = 0; !r && i < PIECE; i++) {
		r = table_next(forest->store, TABLE_TIME, at->key, at->key_len,
		               at);
		if (!r)
			r = state_of_time(forest, fork, at, &s);
		if (!r)
			r = space_add(space, s);
	}
	return r;
}

int trash_measure(struct forest *forest, struct space *space, uint64_t number)
{
	struct record at = {.key_len = 8};
	struct state *s;
	int r;

	be64_put(at.key, number);
	for (bool begun = false;; begun = true) {
		/* The lock may have been released. */
		r = trash_get(forest, number, &s);
		if (!r && !begun)
			r = space_add(space, s);
		if (r < 0)
			return r == -ENOENT ? -ESTALE : r;
		r = measure_piece(forest, space, number, &at);
		if (r)
			return r == -ENOENT ? 0 : r;
		store_unlock(forest->store);
		r = store_yield(forest->store);
		store_lock(forest->store);
		if (r < 0)
			return r;
	}
}
