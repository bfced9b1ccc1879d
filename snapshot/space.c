/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Space of states, from the sums that are kept with the versions: no tree is
 * read.
 *
 * To find the space that deleting a set of states would free, do to copies of
 * the versions' counts what the background deletion would do to the versions.
 * A version without refs and children is dead: all bytes charged to it are
 * freed.  A version without refs and with one child left is merged into that,
 * which frees the blocks that the child dropped of it.  A row of such versions
 * is merged as if it were one: of the blocks on the deadlists along the row,
 * the child's at its end included, those above the base of the row's first
 * version are freed.
 */
#include "space.h"
#include "forest.h"
#include "id_map.h"
#include "util.h"

#include <errno.h>
#include <stdlib.h>

#define NO_ENTRY UINT32_MAX /* no index of an entry */

enum {
	PIECE = 64,          /* versions or runs of a list in one hold */
	KNOWN_MAX = 1 << 20, /* versions whose referenced bytes are kept */
	TRIES = 1000,        /* to sum up a lineage that changes meanwhile */
};

/* A version as it would be after the deletions. */
struct entry {
	uint64_t id, parent, base, list, owner;
	uint64_t refs, children, children_xor;
	uint64_t top; /* base of the first version of its row, if top_known */
	bool top_known;
	bool dead;
};

struct space {
	struct forest *forest;
	struct id_map states; /* numbers of the states in the set */
	struct id_map index;  /* of a version's entry, by its id */
	struct entry *entries;
	size_t len, capacity;
	uint32_t *leaves; /* entries to be examined: they may be dead */
	size_t leaves_len, leaves_capacity;
	struct id_map known; /* referenced bytes of frozen versions */
	unsigned work;       /* versions or runs since the last release */
	bool holds_on;       /* never release the lock */
};

int space_create(struct forest *forest, struct space **ret_space)
{
	struct space *space = calloc(1, sizeof(*space));

	if (!space)
		return -ENOMEM;
	space->forest = forest;
	*ret_space = space;
	return 0;
}

void space_clear(struct space *space)
{
	id_map_release(&space->states);
	id_map_release(&space->index);
	space->len = space->leaves_len = 0;
}

void space_destroy(struct space *space)
{
	if (!space)
		return;
	space_clear(space);
	id_map_release(&space->known);
	free(space->entries);
	free(space->leaves);
	free(space);
}

/* Release the lock for a moment if it was held for a while.  -EINTR. */
static int pause_piece(struct space *space)
{
	int r;

	if (space->holds_on || ++space->work < PIECE)
		return 0;
	space->work = 0;
	store_unlock(space->forest->store);
	r = store_yield(space->forest->store);
	store_lock(space->forest->store);
	return r;
}

/* Make room for one item more. */
static int reserve(void **array, size_t item, size_t len, size_t *capacity)
{
	size_t more = *capacity ? *capacity * 2 : 8;
	void *bigger;

	if (len < *capacity)
		return 0;
	bigger = realloc(*array, more * item);
	if (!bigger)
		return -ENOMEM;
	*array = bigger;
	*capacity = more;
	return 0;
}

static int entry_add(struct space *space, const struct version *v,
                     uint32_t *ret_at)
{
	int r = reserve((void **)&space->entries, sizeof(*space->entries),
	                space->len, &space->capacity);

	if (!r)
		r = id_map_put(&space->index, v->id, space->len);
	if (r < 0)
		return r;
	space->entries[space->len] = (struct entry){
	        .id = v->id,
	        .parent = v->parent,
	        .base = v->tree.base,
	        .list = v->tree.list,
	        .owner = v->tree.owner,
	        .refs = v->refs,
	        .children = v->children,
	        .children_xor = v->children_xor,
	};
	*ret_at = (uint32_t)space->len++;
	return 0;
}

/* Return the index of the version's entry, which is made if there is none. */
static int entry_find(struct space *space, uint64_t id, uint32_t *ret_at)
{
	struct version *v;
	uint64_t at;
	int r;

	if (id_map_get(&space->index, id, &at)) {
		*ret_at = (uint32_t)at;
		return 0;
	}
	r = version_load(space->forest, id, &v);
	return r < 0 ? r : entry_add(space, v, ret_at);
}

/* Add the entry to those to be examined if it may be dead. */
static int leaf_note(struct space *space, uint32_t at)
{
	const struct entry *e = &space->entries[at];
	int r;

	if (e->refs || e->children)
		return 0;
	r = reserve((void **)&space->leaves, sizeof(*space->leaves),
	            space->leaves_len, &space->leaves_capacity);
	if (!r)
		space->leaves[space->leaves_len++] = at;
	return r;
}

int space_add(struct space *space, const struct state *state)
{
	uint64_t was;
	uint32_t at;
	int r;

	if (state->gone && !(state->flags & STATE_TRASHED))
		return -ESTALE;
	if (id_map_get(&space->states, state->number, &was))
		return 0;
	r = entry_find(space, state->version->id, &at);
	if (!r)
		r = id_map_put(&space->states, state->number, 1);
	if (r < 0)
		return r;
	if (space->entries[at].refs)
		space->entries[at].refs--;
	return leaf_note(space, at);
}

/* Add the bytes of the dead versions, and find those that die with them. */
static int dead_sum(struct space *space, uint64_t *bytes)
{
	while (space->leaves_len) {
		struct entry *e =
		        &space->entries[space->leaves[--space->leaves_len]];
		uint64_t id = e->id, parent = e->parent;
		struct list_info info;
		uint32_t at;
		int r;

		if (e->dead)
			continue;
		e->dead = true;
		r = list_info(space->forest->store, e->owner, &info);
		if (r < 0)
			return r;
		*bytes += info.unique_bytes;
		if (!parent)
			continue;
		r = entry_find(space, parent, &at);
		if (r < 0)
			return r;
		space->entries[at].children--;
		space->entries[at].children_xor ^= id;
		r = leaf_note(space, at);
		if (!r)
			r = pause_piece(space);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Return true if the version would be merged into its only child. */
static bool is_merged(const struct entry *e)
{
	return !e->dead && !e->refs && e->children == 1;
}

/* Return the entry of the parent if that would be merged, or NO_ENTRY. */
static uint32_t merged_parent(const struct space *space, const struct entry *e)
{
	uint64_t at;

	if (!e->parent || !id_map_get(&space->index, e->parent, &at) ||
	    !is_merged(&space->entries[at]))
		return NO_ENTRY;
	return (uint32_t)at;
}

/* Return the base of the first version of the row that the entry is in. */
static uint64_t row_base(struct space *space, uint32_t at)
{
	struct entry *entries = space->entries;
	uint32_t up = at, next;
	uint64_t top;

	while (!entries[up].top_known &&
	       (next = merged_parent(space, &entries[up])) != NO_ENTRY)
		up = next;
	top = entries[up].top_known ? entries[up].top : entries[up].base;
	for (;;) {
		entries[at].top = top;
		entries[at].top_known = true;
		if (at == up)
			return top;
		at = merged_parent(space, &entries[at]);
	}
}

/* Return the deadlist of the only child that is left of a version. */
static int child_list(struct space *space, const struct entry *e,
                      uint64_t *ret_list)
{
	struct version *child;
	uint64_t at;
	int r;

	if (id_map_get(&space->index, e->children_xor, &at)) {
		*ret_list = space->entries[at].list;
		return 0;
	}
	r = version_load(space->forest, e->children_xor, &child);
	if (!r)
		*ret_list = child->tree.list;
	return r;
}

/* Add the bytes that children have dropped of versions merged into them. */
static int merged_sum(struct space *space, uint64_t *bytes)
{
	for (uint32_t i = 0; i < space->len; i++) {
		struct list_sum sum = {0};
		int r;

		if (!is_merged(&space->entries[i]))
			continue;
		sum.above = row_base(space, i);
		r = child_list(space, &space->entries[i], &sum.list);
		while (!r) {
			r = list_sum_step(space->forest->store, &sum, PIECE);
			if (r != -EAGAIN)
				break;
			space->work = PIECE;
			r = pause_piece(space);
		}
		if (!r)
			r = pause_piece(space);
		if (r < 0)
			return r;
		*bytes += sum.bytes;
	}
	return 0;
}

int space_frees(struct space *space, uint64_t *ret_bytes)
{
	uint64_t bytes = 0;
	int r = dead_sum(space, &bytes);

	if (!r)
		r = merged_sum(space, &bytes);
	if (!r)
		*ret_bytes = bytes;
	return r;
}

int state_frees(struct forest *forest, const struct state *state,
                uint64_t *ret_bytes)
{
	struct space space = {.forest = forest, .holds_on = true};
	int r = space_add(&space, state);

	if (!r)
		r = space_frees(&space, ret_bytes);
	space_clear(&space);
	free(space.entries);
	free(space.leaves);
	return r;
}

/* ---- Referenced --------------------------------------------------------- */

/* Return how many bytes more than its parent a version references. */
static int version_growth(struct forest *forest, const struct version *v,
                          int64_t *ret_bytes)
{
	struct list_info own, dropped;
	int r = list_info(forest->store, v->tree.owner, &own);

	if (!r)
		r = list_info(forest->store, v->tree.list, &dropped);
	if (!r)
		*ret_bytes = (int64_t)own.unique_bytes - (int64_t)dropped.bytes;
	return r;
}

/*
 * Add up the growth of the versions from this one to the root of the lineage,
 * or to one whose sum is known.  -ENOENT: one of them was merged meanwhile.
 */
static int lineage_sum(struct space *space, uint64_t id, int64_t *ret_bytes)
{
	int64_t bytes = 0, growth;
	uint64_t known;
	int r = 0;

	while (id && !r) {
		struct version *v;

		if (id_map_get(&space->known, id, &known)) {
			bytes += (int64_t)known;
			break;
		}
		r = version_find(space->forest, id, &v);
		if (!r)
			r = version_growth(space->forest, v, &growth);
		if (r)
			return r;
		bytes += growth;
		id = v->parent;
		r = pause_piece(space);
	}
	if (!r)
		*ret_bytes = bytes;
	return r;
}

/*
 * Find the state, and its newest frozen version: its own, or its head's parent
 * (0: none).
 */
static int state_frozen(struct space *space, uint64_t number,
                        struct state **ret_state, uint64_t *ret_frozen)
{
	int r = state_get(space->forest, number, ret_state);
	const struct version *v;

	if (r < 0)
		return r;
	v = (*ret_state)->version;
	*ret_frozen = v->freeze ? v->id : v->parent;
	return 0;
}

int space_referenced(struct space *space, uint64_t number, uint64_t *ret_bytes)
{
	int64_t bytes = 0, growth = 0;
	struct state *state;
	uint64_t frozen, now = 0;
	int r, tries = 0;

	if (space->known.len >= KNOWN_MAX)
		id_map_release(&space->known);
	r = state_frozen(space, number, &state, &now);
	do {
		frozen = now;
		if (!r)
			r = lineage_sum(space, frozen, &bytes);
		if (r && (r != -ENOENT || ++tries == TRIES))
			return r == -ENOENT ? -EUCLEAN : r;
		if (r == -ENOENT)
			frozen = UINT64_MAX;
		r = state_frozen(space, number, &state, &now);
	} while (!r && now != frozen);
	if (!r && frozen)
		r = id_map_put(&space->known, frozen, (uint64_t)bytes);
	if (!r && !state->version->freeze)
		r = version_growth(space->forest, state->version, &growth);
	if (!r)
		*ret_bytes = (uint64_t)MAX(bytes + growth, 0);
	return r;
}
