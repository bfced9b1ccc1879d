/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes the kernel knows: per state a table with open addressing, in which an
 * entry lies at or after the place its number hashes to.
 */
#include "known.h"

#include <errno.h>
#include <pthread.h>

#include "util.h"

struct entry {
	uint64_t ino;     /* 0: free */
	uint64_t lookups; /* grows by one a revalidation: 32 bits overflow */
	uint32_t opens;
	bool attrs;    /* the kernel may have them */
	uint8_t pages; /* it may have some; calls of known_take() to go */
	bool held;     /* one of the opens */
};

/* Invalidate page by page so often before all pages are given up. */
enum { PAGES_FRESH = 8 };

struct family { /* the nodes of one state */
	struct family *next;
	uint64_t state;
	size_t used;
	size_t open;                           /* entries that are */
	struct family *next_open, **prev_open; /* if there are any */
	size_t mask;                           /* places - 1 */
	struct entry *places;
};

enum { BUCKETS_FIRST = 256, PLACES_MIN = 2 };

struct known {
	pthread_mutex_t lock; /* guards all of it */
	struct family **buckets;
	size_t buckets_len; /* a power of two; 0: there are none */
	size_t families;
	struct family *open; /* those with open nodes */
};

int known_create(struct known **ret_known)
{
	struct known *known = calloc(1, sizeof(*known));

	if (!known)
		return -ENOMEM;
	known->buckets = calloc(BUCKETS_FIRST, sizeof(*known->buckets));
	if (!known->buckets) {
		free(known);
		return -ENOMEM;
	}
	known->buckets_len = BUCKETS_FIRST;
	pthread_mutex_init(&known->lock, NULL);
	*ret_known = known;
	return 0;
}

static void family_free(struct family *family)
{
	free(family->places);
	free(family);
}

void known_destroy(struct known *known)
{
	if (!known)
		return;
	for (size_t i = 0; i < known->buckets_len; i++) {
		while (known->buckets[i]) {
			struct family *family = known->buckets[i];

			known->buckets[i] = family->next;
			family_free(family);
		}
	}
	pthread_mutex_destroy(&known->lock);
	free(known->buckets);
	free(known);
}

static size_t home(const struct family *family, uint64_t ino)
{
	return (ino * UINT64_C(0x9e3779b97f4a7c15) >> 20) & family->mask;
}

static struct family **family_find(struct known *known, uint64_t state)
{
	/* Numbers of states are a counter's. */
	struct family **at = &known->buckets[state & (known->buckets_len - 1)];

	while (*at && (*at)->state != state)
		at = &(*at)->next;
	return at;
}

/* Twice the buckets; without the memory for them, chains grow instead. */
static void known_grow(struct known *known)
{
	size_t old_len = known->buckets_len;
	struct family **old = known->buckets;
	struct family **fresh = calloc(old_len * 2, sizeof(*fresh));

	if (!fresh)
		return;
	known->buckets = fresh;
	known->buckets_len = old_len * 2;
	for (size_t i = 0; i < old_len; i++) {
		while (old[i]) {
			struct family *family = old[i];
			struct family **at;

			old[i] = family->next;
			at = &fresh[family->state & (known->buckets_len - 1)];
			family->next = *at;
			*at = family;
		}
	}
	free(old);
}

static struct entry *entry_find(struct family *family, uint64_t ino)
{
	for (size_t i = home(family, ino);; i = (i + 1) & family->mask) {
		if (family->places[i].ino == ino)
			return &family->places[i];
		if (!family->places[i].ino)
			return NULL;
	}
}

static struct entry *entry_place(struct family *family, uint64_t ino)
{
	size_t i = home(family, ino);

	while (family->places[i].ino)
		i = (i + 1) & family->mask;
	return &family->places[i];
}

static int family_resize(struct family *family, size_t places)
{
	struct entry *old = family->places;
	size_t old_places = family->mask + 1;
	struct entry *fresh = calloc(places, sizeof(*fresh));

	if (!fresh)
		return -ENOMEM;
	family->places = fresh;
	family->mask = places - 1;
	for (size_t i = 0; old && i < old_places; i++) {
		if (old[i].ino)
			*entry_place(family, old[i].ino) = old[i];
	}
	free(old);
	return 0;
}

static int family_create(uint64_t state, struct family **ret_family)
{
	struct family *family = calloc(1, sizeof(*family));

	if (!family)
		return -ENOMEM;
	family->state = state;
	if (family_resize(family, PLACES_MIN) < 0) {
		free(family);
		return -ENOMEM;
	}
	*ret_family = family;
	return 0;
}

/* The entry of the node, made if there is none; -ENOMEM. */
static int entry_get(struct known *known, node_t node, struct entry **ret_entry)
{
	struct family **at = family_find(known, NODE_STATE(node));
	uint64_t ino = NODE_INO(node);
	struct entry *entry;
	int err;

	if (!*at) {
		if (known->families >= known->buckets_len) {
			known_grow(known);
			at = family_find(known, NODE_STATE(node));
		}
		err = family_create(NODE_STATE(node), at);
		if (err < 0)
			return err;
		known->families++;
	}
	entry = entry_find(*at, ino);
	if (!entry) {
		size_t places = (*at)->mask + 1;

		/* One place stays free: it ends what is looked for. */
		if (((*at)->used + 1) * 4 > places * 3) {
			err = family_resize(*at, places * 2);
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

static struct entry *entry_look(struct known *known, node_t node)
{
	struct family *family = *family_find(known, NODE_STATE(node));

	return family ? entry_find(family, NODE_INO(node)) : NULL;
}

/* Count one more open of the entry. */
static void entry_open(struct known *known, struct family *family,
                       struct entry *entry)
{
	if (entry->opens++ || family->open++)
		return;
	family->next_open = known->open;
	family->prev_open = &known->open;
	if (known->open)
		known->open->prev_open = &family->next_open;
	known->open = family;
}

/* Count one less. */
static void entry_close(struct family *family, struct entry *entry)
{
	if (--entry->opens || --family->open)
		return;
	*family->prev_open = family->next_open;
	if (family->next_open)
		family->next_open->prev_open = family->prev_open;
}

/* Remove it if nothing speaks for it any more. */
static void entry_settle(struct known *known, node_t node, struct entry *entry)
{
	struct family **at = family_find(known, NODE_STATE(node));
	struct family *family = *at;
	size_t hole = (size_t)(entry - family->places);

	if (entry->lookups || entry->opens)
		return;
	/* Move up what could no longer be found across the hole. */
	for (size_t i = (hole + 1) & family->mask; family->places[i].ino;
	     i = (i + 1) & family->mask) {
		size_t wish = home(family, family->places[i].ino);

		if (((i - wish) & family->mask) >=
		    ((i - hole) & family->mask)) {
			family->places[hole] = family->places[i];
			hole = i;
		}
	}
	family->places[hole] = (struct entry){0};
	family->used--;
	if (family->used == 0) {
		*at = family->next;
		family_free(family);
		known->families--;
	} else if (family->mask + 1 > PLACES_MIN &&
	           family->used * 8 < family->mask + 1) {
		/* A table that stays too large does no harm. */
		family_resize(family, (family->mask + 1) / 2);
	}
}

int known_add(struct known *known, node_t node)
{
	struct entry *entry;
	int err;

	pthread_mutex_lock(&known->lock);
	err = entry_get(known, node, &entry);
	if (err == 0) {
		entry->lookups++;
		entry->attrs = true;
	}
	pthread_mutex_unlock(&known->lock);
	return err;
}

/* Take the hold away. */
static bool entry_let_go(struct family *family, struct entry *entry)
{
	bool held = entry->held;

	entry->held = false;
	if (held)
		entry_close(family, entry);
	return held;
}

bool known_forget(struct known *known, node_t node, uint64_t count)
{
	struct family *family;
	struct entry *entry;
	bool released = false;

	pthread_mutex_lock(&known->lock);
	family = *family_find(known, NODE_STATE(node));
	entry = entry_look(known, node);
	if (entry) {
		entry->lookups -= MIN(count, entry->lookups);
		released = !entry->lookups && entry_let_go(family, entry);
		entry_settle(known, node, entry);
	}
	pthread_mutex_unlock(&known->lock);
	return released;
}

bool known_hold(struct known *known, node_t node)
{
	struct family *family;
	struct entry *entry;
	bool fresh;

	pthread_mutex_lock(&known->lock);
	family = *family_find(known, NODE_STATE(node));
	entry = entry_look(known, node);
	fresh = entry && entry->lookups && !entry->held;
	if (fresh) {
		entry->held = true;
		entry_open(known, family, entry);
	}
	pthread_mutex_unlock(&known->lock);
	return fresh;
}

int known_open(struct known *known, node_t node)
{
	struct entry *entry;
	int err;

	pthread_mutex_lock(&known->lock);
	err = entry_get(known, node, &entry);
	if (err == 0)
		entry_open(known, *family_find(known, NODE_STATE(node)), entry);
	pthread_mutex_unlock(&known->lock);
	return err;
}

bool known_close(struct known *known, node_t node)
{
	struct family *family;
	struct entry *entry;
	bool was_open = false;

	pthread_mutex_lock(&known->lock);
	family = *family_find(known, NODE_STATE(node));
	entry = entry_look(known, node);
	if (entry && entry->opens) {
		was_open = true;
		entry_close(family, entry);
		entry_settle(known, node, entry);
	}
	pthread_mutex_unlock(&known->lock);
	return was_open;
}

/* ---- What the kernel may have cached ------------------------------------ */

bool known_any(struct known *known, uint64_t state)
{
	bool any;

	pthread_mutex_lock(&known->lock);
	any = *family_find(known, state) != NULL;
	pthread_mutex_unlock(&known->lock);
	return any;
}

bool known_has(struct known *known, node_t node)
{
	bool has;

	pthread_mutex_lock(&known->lock);
	has = entry_look(known, node) != NULL;
	pthread_mutex_unlock(&known->lock);
	return has;
}

bool known_is_open(struct known *known, node_t node)
{
	struct entry *entry;
	bool open;

	pthread_mutex_lock(&known->lock);
	entry = entry_look(known, node);
	open = entry && entry->opens;
	pthread_mutex_unlock(&known->lock);
	return open;
}

void known_mark(struct known *known, node_t node, unsigned what)
{
	struct entry *entry;

	pthread_mutex_lock(&known->lock);
	entry = entry_look(known, node);
	if (entry && (what & KNOWN_ATTRS))
		entry->attrs = true;
	if (entry && (what & KNOWN_PAGES))
		entry->pages = PAGES_FRESH;
	pthread_mutex_unlock(&known->lock);
}

unsigned known_take(struct known *known, node_t node, unsigned what)
{
	struct entry *entry;
	unsigned taken = 0;

	pthread_mutex_lock(&known->lock);
	entry = entry_look(known, node);
	if (entry && entry->attrs && (what & KNOWN_ATTRS)) {
		taken |= KNOWN_ATTRS;
		entry->attrs = false;
	}
	if (entry && entry->pages && (what & KNOWN_PAGES)) {
		taken |= KNOWN_PAGES;
		entry->pages = what & KNOWN_WHOLE ? 0 : entry->pages - 1;
		if (!entry->pages)
			taken |= KNOWN_WHOLE;
	}
	pthread_mutex_unlock(&known->lock);
	return taken;
}

/* ---- Lists -------------------------------------------------------------- */

int known_list(struct known *known, uint64_t state, bool open,
               node_t **ret_nodes, size_t *ret_count)
{
	struct family *family;
	node_t *nodes = NULL;
	size_t count = 0;
	int err = 0;

	pthread_mutex_lock(&known->lock);
	family = *family_find(known, state);
	if (family && (!open || family->open)) {
		nodes = malloc((open ? family->open : family->used) *
		               sizeof(*nodes));
		if (!nodes)
			err = -ENOMEM;
		for (size_t i = 0; !err && i <= family->mask; i++) {
			const struct entry *entry = &family->places[i];

			if (entry->ino && (!open || entry->opens))
				nodes[count++] = NODE(state, entry->ino);
		}
	}
	pthread_mutex_unlock(&known->lock);
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

int known_states(struct known *known, bool open, uint64_t **ret_states,
                 size_t *ret_count)
{
	struct states states = {0};
	int err = 0;

	pthread_mutex_lock(&known->lock);
	for (struct family *family = open ? known->open : NULL; family && !err;
	     family = family->next_open)
		err = states_add(&states, family->state);
	for (size_t i = 0; i < known->buckets_len && !open && !err; i++) {
		for (struct family *family = known->buckets[i]; family && !err;
		     family = family->next)
			err = states_add(&states, family->state);
	}
	pthread_mutex_unlock(&known->lock);
	if (err < 0) {
		free(states.numbers);
		return err;
	}
	*ret_states = states.numbers;
	*ret_count = states.count;
	return 0;
}

void known_close_all(struct known *known, void (*fn)(void *arg, node_t node),
                     void *arg)
{
	struct family *gone = NULL;

	pthread_mutex_lock(&known->lock);
	for (size_t i = 0; i < known->buckets_len; i++) {
		while (known->buckets[i]) {
			struct family *family = known->buckets[i];

			known->buckets[i] = family->next;
			family->next = gone;
			gone = family;
		}
	}
	known->families = 0;
	known->open = NULL;
	pthread_mutex_unlock(&known->lock);

	while (gone) {
		struct family *family = gone;

		for (size_t j = 0; j <= family->mask; j++) {
			struct entry *entry = &family->places[j];

			for (; entry->ino && entry->opens; entry->opens--)
				fn(arg, NODE(family->state, entry->ino));
		}
		gone = family->next;
		family_free(family);
	}
}
