/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * States: encode and decode their records, cache them, and find them.
 *
 *   TABLE_STATE  be64 number                      the record
 *   TABLE_NAME   be64 fork, name                  varint number
 *   TABLE_TIME   be64 fork, be64 ~time, be64 number   nothing
 *
 * The names of forks are under fork 0.  The times of one fork's snapshots all
 * differ and increase in the order in which they were made, whatever the clock
 * does, so that the newest is the first in TABLE_TIME.
 */
#include "state.h"
#include "forest.h"
#include "util.h"

#include <errno.h>

/* ---- Records ------------------------------------------------------------ */

_Static_assert(10 * 10 + NAME_LEN_MAX + FULL_NAME_MAX <= STATE_LEN_MAX,
               "the longest state fits");

size_t state_encode(const struct state *s, uint8_t out[STATE_LEN_MAX])
{
	struct writer w = writer_init(out, STATE_LEN_MAX);
	size_t name_len = strlen(s->name);
	size_t origin_len = strlen(s->origin_name);

	put_varint(&w, s->fork);
	put_varint(&w, s->flags);
	put_svarint(&w, s->created);
	put_varint(&w, s->origin);
	put_varint(&w, s->version ? s->version->id : 0);
	put_varint(&w, s->snapshots);
	put_varint(&w, name_len);
	put_bytes(&w, s->name, name_len);
	put_varint(&w, origin_len);
	put_bytes(&w, s->origin_name, origin_len);
	if (s->flags & STATE_TRASHED) {
		put_svarint(&w, s->deleted);
		put_svarint(&w, s->due);
	}
	return writer_len(&w);
}

void get_string(struct reader *r, uint64_t len, size_t max, char *out)
{
	const uint8_t *p = len <= max ? reader_take(r, len) : NULL;

	if (!p || memchr(p, 0, len)) {
		r->bad = true;
		return;
	}
	memcpy(out, p, len);
	out[len] = 0;
}

int state_decode(const void *data, size_t len, struct state *s,
                 uint64_t *ret_version)
{
	struct reader r = reader_init(data, len);
	uint64_t version, flags;

	s->fork = get_varint(&r);
	flags = get_varint(&r);
	s->flags = (uint32_t)flags;
	s->created = get_svarint(&r);
	s->origin = get_varint(&r);
	version = get_varint(&r);
	s->snapshots = get_varint(&r);
	get_string(&r, get_varint(&r), NAME_LEN_MAX, s->name);
	get_string(&r, get_varint(&r), FULL_NAME_MAX - 1, s->origin_name);
	if (flags & STATE_TRASHED) {
		s->deleted = get_svarint(&r);
		s->due = get_svarint(&r);
	}
	if (!reader_done(&r) || !s->name[0] || flags & ~UINT64_C(7) ||
	    (flags & STATE_GONE) == STATE_GONE ||
	    !(flags & STATE_READONLY) != !s->fork ||
	    !(flags & STATE_DELETING) != !!version)
		return -EUCLEAN;
	*ret_version = version;
	return 0;
}

/* ---- In memory ---------------------------------------------------------- */

struct state *state_alloc(struct forest *forest, uint64_t number)
{
	struct state *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->number = number;
	s->cached.key = number;
	s->forest = forest;
	return s;
}

void state_mark(struct state *s)
{
	struct cache *states = &s->forest->states;

	cache_mark(states, &s->cached);
	store_changed(s->forest->store);
	/* Dirty states cannot be evicted: if there are many, write them. */
	if (states->dirty_count % STATES_DIRTY == 0 &&
	    forest_crowded(s->forest))
		gc_wake(s->forest);
}

void state_point(struct state *s, struct version *version)
{
	if (s->version)
		s->version->pins--;
	s->version = version;
	if (version)
		version->pins++;
}

int state_load(struct forest *forest, uint64_t number, struct state **ret_state)
{
	struct cached *found = cache_find(&forest->states, number);
	_cleanup_free_ struct state *s = NULL;
	struct version *v = NULL;
	struct record record;
	uint8_t key[8];
	uint64_t id;
	int r;

	if (found) {
		*ret_state = container_of(found, struct state, cached);
		return 0;
	}
	be64_put(key, number);
	r = table_get(forest->store, TABLE_STATE, key, sizeof(key), &record);
	if (r < 0)
		return r;
	s = state_alloc(forest, number);
	if (!s)
		return -ENOMEM;
	r = state_decode(record.value, record.len, s, &id);
	if (r < 0)
		log_error("the record of state %llu is damaged",
		          (unsigned long long)number);
	if (!r && id)
		r = version_load(forest, id, &v);
	if (r < 0)
		return r;
	state_point(s, v);
	s->gone = s->flags & STATE_GONE;
	cache_add(&forest->states, &s->cached);
	forest_evict_soon(forest);
	*ret_state = steal(&s);
	return 0;
}

bool forest_crowded(const struct forest *forest)
{
	return forest->states.count > STATES_CACHED ||
	       forest->versions.count > VERSIONS_CACHED;
}

void forest_evict_soon(struct forest *forest)
{
	/* A margin, so that the thread is not woken for each state read. */
	if (forest->states.count > STATES_CACHED + STATES_CACHED / 4 ||
	    forest->versions.count > VERSIONS_CACHED + VERSIONS_CACHED / 4)
		gc_wake(forest);
}

static bool evict_state(void *arg, struct cached *entry)
{
	struct forest *forest = arg;
	struct state *s = container_of(entry, struct state, cached);

	cache_remove(&forest->states, entry);
	state_point(s, NULL);
	free(s);
	forest->evicted++;
	return true;
}

static bool evict_version(void *arg, struct cached *entry)
{
	struct forest *forest = arg;
	struct version *v = container_of(entry, struct version, cached);

	if (v->pins)
		return false;
	cache_remove(&forest->versions, entry);
	free(v);
	forest->evicted++;
	return true;
}

enum { EVICT_BUCKETS = 256 };

size_t forest_evict_rounds(const struct forest *forest)
{
	unsigned bits = MAX(forest->states.bits, forest->versions.bits);

	return ((size_t)1 << bits) / EVICT_BUCKETS + 1;
}

void forest_evict(struct forest *forest)
{
	deleted_free(forest);
	if (forest->states.count > STATES_CACHED)
		cache_evict(&forest->states, EVICT_BUCKETS, evict_state,
		            forest);
	if (forest->versions.count > VERSIONS_CACHED)
		cache_evict(&forest->versions, EVICT_BUCKETS, evict_version,
		            forest);
}

void forest_forget(struct forest *forest)
{
	struct cache *versions = &forest->versions;
	struct cached *e, *next;

	while ((e = cache_any(&forest->states)))
		evict_state(forest, e);
	for (size_t i = 0; i < (size_t)1 << versions->bits; i++) {
		for (e = versions->buckets[i]; e; e = next) {
			next = e->hash_next;
			/* Its lineage may have changed, but not its tree. */
			if (!evict_version(forest, e))
				version_read_again(container_of(
				        e, struct version, cached));
		}
	}
}

void deleted_free(struct forest *forest)
{
	while (forest->deleted) {
		struct state *s = forest->deleted;

		forest->deleted = s->cached.hash_next
		                          ? container_of(s->cached.hash_next,
		                                         struct state, cached)
		                          : NULL;
		free(s);
	}
}

/* ---- Finding ------------------------------------------------------------ */

/* Return 0 if the fork exists and is not being deleted. */
static int fork_check(struct forest *forest, uint64_t number)
{
	struct state *fork;
	int r;

	if (!number)
		return 0;
	r = state_load(forest, number, &fork);
	if (r < 0)
		return r;
	return fork->flags & STATE_GONE ? -ENOENT : 0;
}

int state_get(struct forest *forest, uint64_t number, struct state **ret_state)
{
	struct state *s;
	int r = state_load(forest, number, &s);

	if (!r)
		r = s->flags & STATE_GONE ? -ENOENT
		                          : fork_check(forest, s->fork);
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	*ret_state = s;
	return 0;
}

static int state_of_name(struct forest *forest, const struct record *record,
                         struct state **ret_state)
{
	struct reader reader = reader_init(record->value, record->len);
	uint64_t number = get_varint(&reader);
	int r;

	if (!reader_done(&reader))
		return -EUCLEAN;
	r = state_load(forest, number, ret_state);
	if (r != -ENOENT)
		return r;
	log_error("state %llu has a name and no record",
	          (unsigned long long)number);
	return -EUCLEAN;
}

size_t name_key(uint8_t key[TABLE_KEY_MAX], uint64_t fork, const char *name)
{
	size_t len = strlen(name);

	be64_put(key, fork);
	memcpy(key + 8, name, len);
	return 8 + len;
}

int state_of_fork(struct forest *forest, uint64_t fork, const char *name,
                  struct state **ret_state)
{
	uint8_t key[TABLE_KEY_MAX];
	struct record record;
	int r;

	if (!*name || strlen(name) > NAME_LEN_MAX)
		return -ENOENT;
	r = table_get(forest->store, TABLE_NAME, key, name_key(key, fork, name),
	              &record);
	return r ? r : state_of_name(forest, &record, ret_state);
}

int state_find(struct forest *forest, uint64_t fork, const char *name,
               struct state **ret_state)
{
	int r = fork_check(forest, fork);

	return r ? r : state_of_fork(forest, fork, name, ret_state);
}

int state_next(struct forest *forest, uint64_t fork, const char *after,
               struct state **ret_state)
{
	struct record record;
	int r;

	if (!after)
		after = "";
	if (strlen(after) > NAME_LEN_MAX)
		return -EINVAL;
	record.key_len = (uint32_t)name_key(record.key, fork, after);
	r = fork_check(forest, fork);
	while (!r) {
		unsigned budget = STATE_WALK_PIECE;

		r = table_next_within(forest->store, TABLE_NAME, record.key,
		                      record.key_len, &budget, &record);
		if (r && r != -EAGAIN)
			return r;
		if (record.key_len < 8 || be64_get(record.key) != fork)
			return -ENOENT;
		if (!r)
			return state_of_name(forest, &record, ret_state);
		store_unlock(forest->store);
		store_yield(forest->store);
		store_lock(forest->store);
		r = fork_check(forest, fork);
	}
	return r;
}

/* Advance to the next record of the walk and return the state's number. */
static int walk_step(struct forest *forest, struct state_walk *walk,
                     unsigned *budget, uint64_t *ret_number)
{
	struct record record;
	struct reader reader;
	uint64_t number;
	int r = table_next_within(forest->store, TABLE_NAME, walk->key,
	                          walk->key_len, budget, &record);

	if (r < 0 && r != -EAGAIN)
		return r;
	if (record.key_len < 8 || be64_get(record.key) != walk->fork)
		return -ENOENT;
	memcpy(walk->key, record.key, record.key_len);
	walk->key_len = record.key_len;
	if (r < 0)
		return r;
	reader = reader_init(record.value, record.len);
	number = get_varint(&reader);
	if (!reader_done(&reader))
		return -EUCLEAN;
	*ret_number = number;
	return 0;
}

int state_walk(struct forest *forest, struct state_walk *walk,
               uint64_t ret_numbers[STATE_WALK_PIECE], size_t *ret_count)
{
	unsigned budget = STATE_WALK_PIECE;
	size_t count = 0;
	int r = fork_check(forest, walk->fork);

	if (!walk->key_len) {
		be64_put(walk->key, walk->fork);
		walk->key_len = 8;
	}
	while (!r && budget) {
		r = walk_step(forest, walk, &budget, &ret_numbers[count]);
		count += !r;
	}
	if (r && r != -ENOENT && r != -EAGAIN)
		return r;
	*ret_count = count;
	return r == -ENOENT ? 0 : -EAGAIN;
}

/* Invert a time, so that keys sort from the newest to the oldest. */
static uint64_t time_flip(int64_t time)
{
	return ~((uint64_t)time ^ UINT64_C(1) << 63);
}

void time_key(uint8_t key[TIME_KEY_LEN], uint64_t fork, int64_t time,
              uint64_t number)
{
	be64_put(key, fork);
	be64_put(key + 8, time_flip(time));
	be64_put(key + 16, number);
}

int64_t time_of_key(const uint8_t key[TIME_KEY_LEN])
{
	return (int64_t)(~be64_get(key + 8) ^ UINT64_C(1) << 63);
}

int state_of_time(struct forest *forest, uint64_t fork,
                  const struct record *record, struct state **ret_state)
{
	uint64_t number;
	int r;

	if (record->key_len != TIME_KEY_LEN)
		return -EUCLEAN;
	if (be64_get(record->key) != fork)
		return -ENOENT;
	number = be64_get(record->key + 16);
	r = state_load(forest, number, ret_state);
	if (r != -ENOENT)
		return r;
	log_error("snapshot %llu has a time and no record",
	          (unsigned long long)number);
	return -EUCLEAN;
}

int state_newest(struct forest *forest, uint64_t fork, int64_t at,
                 struct state **ret_state)
{
	uint8_t key[TIME_KEY_LEN];
	struct record record;
	int r;

	time_key(key, fork, at, 0);
	r = table_seek(forest->store, TABLE_TIME, key, sizeof(key), &record);
	return r ? r : state_of_time(forest, fork, &record, ret_state);
}

/* ---- The version's fields ----------------------------------------------- */

struct tree *state_tree(struct state *state)
{
	return &state->version->tree;
}

uint64_t state_inodes(const struct state *state)
{
	return state->version->inodes;
}

uint64_t state_blocks(const struct state *state)
{
	return state->version->blocks;
}

void state_count(struct state *state, uint64_t inodes, uint64_t blocks)
{
	state->version->inodes += inodes;
	state->version->blocks += blocks;
}

uint64_t state_version_id(const struct state *state)
{
	return state->version->id;
}

uint64_t state_parent_id(const struct state *state)
{
	return state->version->parent;
}

int64_t state_version_created(const struct state *state)
{
	return state->version->created;
}
