/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes the kernel knows: per state a table with open addressing, in which an
 * entry lies at or after the place its number hashes to.
 */
#include "lookups.h"

#include <errno.h>
#include <pthread.h>

#include "util.h"

struct entry {
	uint64_t ino;     /* 0: free */
	uint64_t lookups; /* grows by one a revalidation: 32 bits overflow */
	uint32_t opens;
	bool attrs;    /* the kernel may have them */
	uint8_t pages; /* it may have some; calls of lookups_take() to go */
	bool held;     /* one of the opens */
};

/* Invalidate page by page so often before all pages are given up. */
enum { PAGES_FRESH = 8 };

struct state_slots { /* the nodes of one state */
	struct state_slots *next;
	uint64_t state;
	size_t used;
	size_t open;                                /* entries that are */
	struct state_slots *next_open, **prev_open; /* if there are any */
	size_t mask;                                /* places - 1 */
	struct entry *places;
};

enum { BUCKETS_FIRST = 256, PLACES_MIN = 2 };

struct lookups {
	pthread_mutex_t lock; /* guards all of it */
	struct state_slots **buckets;
	size_t buckets_len; /* a power of two; 0: there are none */
	size_t families;
	struct state_slots *open; /* those with open nodes */
};

int lookups_create(struct lookups **ret_lookups)
{
	struct lookups *lookups = calloc(1, sizeof(*lookups));

	if (!lookups)
		return -ENOMEM;
	lookups->buckets = calloc(BUCKETS_FIRST, sizeof(*lookups->buckets));
	if (!lookups->buckets) {
		free(lookups);
		return -ENOMEM;
	}
	lookups->buckets_len = BUCKETS_FIRST;
	pthread_mutex_init(&lookups->lock, NULL);
	*ret_lookups = lookups;
	return 0;
}

static void state_slots_free(struct state_slots *slots)
{
	free(slots->places);
	free(slots);
}

void lookups_destroy(struct lookups *lookups)
{
	if (!lookups)
		return;
	for (size_t i = 0; i < lookups->buckets_len; i++) {
		while (lookups->buckets[i]) {
			struct state_slots *slots = lookups->buckets[i];

			lookups->buckets[i] = slots->next;
			state_slots_free(slots);
		}
	}
	pthread_mutex_destroy(&lookups->lock);
	free(lookups->buckets);
	free(lookups);
}

static size_t home(const struct state_slots *slots, uint64_t ino)
{
	return (ino * UINT64_C(0x9e3779b97f4a7c15) >> 20) & slots->mask;
}

static struct state_slots **state_slots_find(struct lookups *lookups,
                                             uint64_t state)
{
	/* Numbers of states are a counter's. */
	struct state_slots **at =
	        &lookups->buckets[state & (lookups->buckets_len - 1)];

	while (*at && (*at)->state != state)
		at = &(*at)->next;
	return at;
}

/* Twice the buckets; without the memory for them, chains grow instead. */
static void lookups_grow(struct lookups *lookups)
{
	size_t old_len = lookups->buckets_len;
	struct state_slots **old = lookups->buckets;
	struct state_slots **fresh = calloc(old_len * 2, sizeof(*fresh));

	if (!fresh)
		return;
	lookups->buckets = fresh;
	lookups->buckets_len = old_len * 2;
	for (size_t i = 0; i < old_len; i++) {
		while (old[i]) {
			struct state_slots *slots = old[i];
			struct state_slots **at;

			old[i] = slots->next;
			at = &fresh[slots->state & (lookups->buckets_len - 1)];
			slots->next = *at;
			*at = slots;
		}
	}
	free(old);
}

static struct entry *entry_find(struct state_slots *slots, uint64_t ino)
{
	for (size_t i = home(slots, ino);; i = (i + 1) & slots->mask) {
		if (slots->places[i].ino == ino)
			return &slots->places[i];
		if (!slots->places[i].ino)
			return NULL;
	}
}

static struct entry *entry_place(struct state_slots *slots, uint64_t ino)
{
	size_t i = home(slots, ino);

	while (slots->places[i].ino)
		i = (i + 1) & slots->mask;
	return &slots->places[i];
}

static int state_slots_resize(struct state_slots *slots, size_t places)
{
	struct entry *old = slots->places;
	size_t old_places = slots->mask + 1;
	struct entry *fresh = calloc(places, sizeof(*fresh));

	if (!fresh)
		return -ENOMEM;
	slots->places = fresh;
	slots->mask = places - 1;
	for (size_t i = 0; old && i < old_places; i++) {
		if (old[i].ino)
			*entry_place(slots, old[i].ino) = old[i];
	}
	free(old);
	return 0;
}

static int state_slots_create(uint64_t state, struct state_slots **ret_slots)
{
	struct state_slots *slots = calloc(1, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	slots->state = state;
	if (state_slots_resize(slots, PLACES_MIN) < 0) {
		free(slots);
		return -ENOMEM;
	}
	*ret_slots = slots;
	return 0;
}

/* The entry of the node, made if there is none; -ENOMEM. */
static int entry_get(struct lookups *lookups, node_t node,
                     struct entry **ret_entry)
{
	struct state_slots **at = state_slots_find(lookups, NODE_STATE(node));
	uint64_t ino = NODE_INO(node);
	struct entry *entry;
	int err;

	if (!*at) {
		if (lookups->families >= lookups->buckets_len) {
			lookups_grow(lookups);
			at = state_slots_find(lookups, NODE_STATE(node));
		}
		err = state_slots_create(NODE_STATE(node), at);
		if (err < 0)
			return err;
		lookups->families++;
	}
	entry = entry_find(*at, ino);
	if (!entry) {
		size_t places = (*at)->mask + 1;

		/* One place stays free: it ends what is looked for. */
		if (((*at)->used + 1) * 4 > places * 3) {
			err = state_slots_resize(*at, places * 2);
			if (err < 0)
				return err;
		}
		entry = entry_place(*at, ino);
		*entry = (struct entry){.ino = ino};
		(*at)->used++;
	}
	*ret_entry = entry;
	return 0;
}

static struct entry *entry_look(struct lookups *lookups, node_t node)
{
	struct state_slots *slots =
	        *state_slots_find(lookups, NODE_STATE(node));

	return slots ? entry_find(slots, NODE_INO(node)) : NULL;
}

/* Count one more open of the entry. */
static void entry_open(struct lookups *lookups, struct state_slots *slots,
                       struct entry *entry)
{
	if (entry->opens++ || slots->open++)
		return;
	slots->next_open = lookups->open;
	slots->prev_open = &lookups->open;
	if (lookups->open)
		lookups->open->prev_open = &slots->next_open;
	lookups->open = slots;
}

/* Count one less. */
static void entry_close(struct state_slots *slots, struct entry *entry)
{
	if (--entry->opens || --slots->open)
		return;
	*slots->prev_open = slots->next_open;
	if (slots->next_open)
		slots->next_open->prev_open = slots->prev_open;
}

/* Remove it if nothing speaks for it any more. */
static void entry_settle(struct lookups *lookups, node_t node,
                         struct entry *entry)
{
	struct state_slots **at = state_slots_find(lookups, NODE_STATE(node));
	struct state_slots *slots = *at;
	size_t hole = (size_t)(entry - slots->places);

	if (entry->lookups || entry->opens)
		return;
	/* Move up what could no longer be found across the hole. */
	for (size_t i = (hole + 1) & slots->mask; slots->places[i].ino;
	     i = (i + 1) & slots->mask) {
		size_t wish = home(slots, slots->places[i].ino);

		if (((i - wish) & slots->mask) >= ((i - hole) & slots->mask)) {
			slots->places[hole] = slots->places[i];
			hole = i;
		}
	}
	slots->places[hole] = (struct entry){0};
	slots->used--;
	if (slots->used == 0) {
		*at = slots->next;
		state_slots_free(slots);
		lookups->families--;
	} else if (slots->mask + 1 > PLACES_MIN &&
	           slots->used * 8 < slots->mask + 1) {
		/* A table that stays too large does no harm. */
		state_slots_resize(slots, (slots->mask + 1) / 2);
	}
}

int lookups_add(struct lookups *lookups, node_t node)
{
	struct entry *entry;
	int err;

	pthread_mutex_lock(&lookups->lock);
	err = entry_get(lookups, node, &entry);
	if (err == 0) {
		entry->lookups++;
		entry->attrs = true;
	}
	pthread_mutex_unlock(&lookups->lock);
	return err;
}

/* Take the hold away. */
static bool entry_let_go(struct state_slots *slots, struct entry *entry)
{
	bool held = entry->held;

	entry->held = false;
	if (held)
		entry_close(slots, entry);
	return held;
}

bool lookups_forget(struct lookups *lookups, node_t node, uint64_t count)
{
	struct state_slots *slots;
	struct entry *entry;
	bool released = false;

	pthread_mutex_lock(&lookups->lock);
	slots = *state_slots_find(lookups, NODE_STATE(node));
	entry = entry_look(lookups, node);
	if (entry) {
		entry->lookups -= MIN(count, entry->lookups);
		released = !entry->lookups && entry_let_go(slots, entry);
		entry_settle(lookups, node, entry);
	}
	pthread_mutex_unlock(&lookups->lock);
	return released;
}

bool lookups_hold(struct lookups *lookups, node_t node)
{
	struct state_slots *slots;
	struct entry *entry;
	bool fresh;

	pthread_mutex_lock(&lookups->lock);
	slots = *state_slots_find(lookups, NODE_STATE(node));
	entry = entry_look(lookups, node);
	fresh = entry && entry->lookups && !entry->held;
	if (fresh) {
		entry->held = true;
		entry_open(lookups, slots, entry);
	}
	pthread_mutex_unlock(&lookups->lock);
	return fresh;
}

int lookups_open(struct lookups *lookups, node_t node)
{
	struct entry *entry;
	int err;

	pthread_mutex_lock(&lookups->lock);
	err = entry_get(lookups, node, &entry);
	if (err == 0)
		entry_open(lookups,
		           *state_slots_find(lookups, NODE_STATE(node)), entry);
	pthread_mutex_unlock(&lookups->lock);
	return err;
}

bool lookups_close(struct lookups *lookups, node_t node)
{
	struct state_slots *slots;
	struct entry *entry;
	bool was_open = false;

	pthread_mutex_lock(&lookups->lock);
	slots = *state_slots_find(lookups, NODE_STATE(node));
	entry = entry_look(lookups, node);
	if (entry && entry->opens) {
		was_open = true;
		entry_close(slots, entry);
		entry_settle(lookups, node, entry);
	}
	pthread_mutex_unlock(&lookups->lock);
	return was_open;
}

/* ---- What the kernel may have cached ------------------------------------ */

bool lookups_any(struct lookups *lookups, uint64_t state)
{
	bool any;

	pthread_mutex_lock(&lookups->lock);
	any = *state_slots_find(lookups, state) != NULL;
	pthread_mutex_unlock(&lookups->lock);
	return any;
}

bool lookups_has(struct lookups *lookups, node_t node)
{
	bool has;

	pthread_mutex_lock(&lookups->lock);
	has = entry_look(lookups, node) != NULL;
	pthread_mutex_unlock(&lookups->lock);
	return has;
}

bool lookups_is_open(struct lookups *lookups, node_t node)
{
	struct entry *entry;
	bool open;

	pthread_mutex_lock(&lookups->lock);
	entry = entry_look(lookups, node);
	open = entry && entry->opens;
	pthread_mutex_unlock(&lookups->lock);
	return open;
}

void lookups_mark(struct lookups *lookups, node_t node, unsigned what)
{
	struct entry *entry;

	pthread_mutex_lock(&lookups->lock);
	entry = entry_look(lookups, node);
	if (entry && (what & CACHED_ATTRS))
		entry->attrs = true;
	if (entry && (what & CACHED_PAGES))
		entry->pages = PAGES_FRESH;
	pthread_mutex_unlock(&lookups->lock);
}

unsigned lookups_take(struct lookups *lookups, node_t node, unsigned what)
{
	struct entry *entry;
	unsigned taken = 0;

	pthread_mutex_lock(&lookups->lock);
	entry = entry_look(lookups, node);
	if (entry && entry->attrs && (what & CACHED_ATTRS)) {
		taken |= CACHED_ATTRS;
		entry->attrs = false;
	}
	if (entry && entry->pages && (what & CACHED_PAGES)) {
		taken |= CACHED_PAGES;
		entry->pages = what & CACHED_WHOLE ? 0 : entry->pages - 1;
		if (!entry->pages)
			taken |= CACHED_WHOLE;
	}
	pthread_mutex_unlock(&lookups->lock);
	return taken;
}

/* ---- Lists -------------------------------------------------------------- */

int lookups_list(struct lookups *lookups, uint64_t state, bool open,
                 node_t **ret_nodes, size_t *ret_count)
{
	struct state_slots *slots;
	node_t *nodes = NULL;
	size_t count = 0;
	int err = 0;

	pthread_mutex_lock(&lookups->lock);
	slots = *state_slots_find(lookups, state);
	if (slots && (!open || slots->open)) {
		nodes = malloc((open ? slots->open : slots->used) *
		               sizeof(*nodes));
		if (!nodes)
			err = -ENOMEM;
		for (size_t i = 0; !err && i <= slots->mask; i++) {
			const struct entry *entry = &slots->places[i];

			if (entry->ino && (!open || entry->opens))
				nodes[count++] = NODE(state, entry->ino);
		}
	}
	pthread_mutex_unlock(&lookups->lock);
	if (err < 0)
		return err;
	*ret_nodes = nodes;
	*ret_count = count;
	return 0;
}

/* A growing array of numbers of states. */
struct states {
	uint64_t *numbers;
	size_t count, room;
};

static int states_add(struct states *states, uint64_t number)
{
	if (states->count == states->room) {
		size_t more = states->room ? states->room * 2 : 16;
		uint64_t *grown =
		        realloc(states->numbers, more * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		states->numbers = grown;
		states->room = more;
	}
	states->numbers[states->count++] = number;
	return 0;
}

int lookups_states(struct lookups *lookups, bool open, uint64_t **ret_states,
                   size_t *ret_count)
{
	struct states states = {0};
	int err = 0;

	pthread_mutex_lock(&lookups->lock);
	for (struct state_slots *slots = open ? lookups->open : NULL;
	     slots && !err; slots = slots->next_open)
		err = states_add(&states, slots->state);
	for (size_t i = 0; i < lookups->buckets_len && !open && !err; i++) {
		for (struct state_slots *slots = lookups->buckets[i];
		     slots && !err; slots = slots->next)
			err = states_add(&states, slots->state);
	}
	pthread_mutex_unlock(&lookups->lock);
	if (err < 0) {
		free(states.numbers);
		return err;
	}
	*ret_states = states.numbers;
	*ret_count = states.count;
	return 0;
}

void lookups_close_all(struct lookups *lookups,
                       void (*fn)(void *arg, node_t node), void *arg)
{
	struct state_slots *gone = NULL;

	pthread_mutex_lock(&lookups->lock);
	for (size_t i = 0; i < lookups->buckets_len; i++) {
		while (lookups->buckets[i]) {
			struct state_slots *slots = lookups->buckets[i];

			lookups->buckets[i] = slots->next;
			slots->next = gone;
			gone = slots;
		}
	}
	lookups->families = 0;
	lookups->open = NULL;
	pthread_mutex_unlock(&lookups->lock);

	while (gone) {
		struct state_slots *slots = gone;

		for (size_t j = 0; j <= slots->mask; j++) {
			struct entry *entry = &slots->places[j];

			for (; entry->ino && entry->opens; entry->opens--)
				fn(arg, NODE(slots->state, entry->ino));
		}
		gone = slots->next;
		state_slots_free(slots);
	}
}
