/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The lookup table: a hash table of states, and for each state a table of its
 * nodes with open addressing.  An entry is in the slot that its inode number
 * hashes to, or in a later slot with no free one in between.
 */
#include "lookups.h"

#include <errno.h>
#include <pthread.h>

#include "array.h"
#include "util.h"

struct lookup {
	uint64_t ino;     /* see lookup_key(); 0: free */
	uint64_t nlookup; /* each revalidation adds 1: 32 bits may overflow */
	uint32_t opens;
	bool attrs;    /* the kernel may have cached attributes */
	uint8_t pages; /* 0: none cached; else lookups_take() calls left */
	bool held;     /* by lookups_hold(), counted in opens */
	uint8_t end;   /* see lookups_mark_end(); END_MAX: or more */
};

/* Invalidations of ranges of a node's pages before all are invalidated. */
enum { PAGES_FRESH = 8, END_MAX = UINT8_MAX };

struct state_table { /* the nodes of one state */
	struct state_table *next;
	uint64_t state;
	size_t used;
	size_t open;                                /* entries with opens */
	bool marked;                                /* entries may have marks */
	struct state_table *next_open, **prev_open; /* if open */
	size_t mask;                                /* slots - 1 */
	struct lookup *slots;
};

enum { BUCKETS_FIRST = 256, SLOTS_MIN = 2 };

struct lookups {
	pthread_mutex_t lock; /* guards all fields and tables */
	size_t virtual;       /* entries with NODE_VIRTUAL */
	struct state_table **buckets;
	size_t buckets_len; /* a power of two; 0: no buckets */
	size_t tables;
	struct state_table *open; /* those with open nodes */
	bool assume_open;         /* see lookups_assume_open() */
};

/* Return the key of a node in the table of its state. */
static uint64_t lookup_key(node_t node)
{
	return NODE_INO(node) | (node & NODE_VIRTUAL);
}

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

static void state_table_free(struct state_table *table)
{
	free(table->slots);
	free(table);
}

void lookups_destroy(struct lookups *lookups)
{
	if (!lookups)
		return;
	for (size_t i = 0; i < lookups->buckets_len; i++) {
		while (lookups->buckets[i]) {
			struct state_table *table = lookups->buckets[i];

			lookups->buckets[i] = table->next;
			state_table_free(table);
		}
	}
	pthread_mutex_destroy(&lookups->lock);
	free(lookups->buckets);
	free(lookups);
}

static size_t first_slot(const struct state_table *table, uint64_t ino)
{
	return (ino * UINT64_C(0x9e3779b97f4a7c15) >> 20) & table->mask;
}

static struct state_table **state_table_find(struct lookups *lookups,
                                             uint64_t state)
{
	/* States are numbered by a counter: no hash is needed. */
	struct state_table **at =
	        &lookups->buckets[state & (lookups->buckets_len - 1)];

	while (*at && (*at)->state != state)
		at = &(*at)->next;
	return at;
}

/* Double the buckets; without memory the chains grow longer instead. */
static void lookups_grow(struct lookups *lookups)
{
	size_t old_len = lookups->buckets_len;
	struct state_table **old = lookups->buckets;
	struct state_table **fresh = calloc(old_len * 2, sizeof(*fresh));

	if (!fresh)
		return;
	lookups->buckets = fresh;
	lookups->buckets_len = old_len * 2;
	for (size_t i = 0; i < old_len; i++) {
		while (old[i]) {
			struct state_table *table = old[i];
			struct state_table **at;

			old[i] = table->next;
			at = &fresh[table->state & (lookups->buckets_len - 1)];
			table->next = *at;
			*at = table;
		}
	}
	free(old);
}

static struct lookup *lookup_find(struct state_table *table, uint64_t ino)
{
	for (size_t i = first_slot(table, ino);; i = (i + 1) & table->mask) {
		if (table->slots[i].ino == ino)
			return &table->slots[i];
		if (!table->slots[i].ino)
			return NULL;
	}
}

static struct lookup *free_slot(struct state_table *table, uint64_t ino)
{
	size_t i = first_slot(table, ino);

	while (table->slots[i].ino)
		i = (i + 1) & table->mask;
	return &table->slots[i];
}

static int state_table_resize(struct state_table *table, size_t count)
{
	struct lookup *old = table->slots;
	size_t old_count = table->mask + 1;
	struct lookup *fresh = calloc(count, sizeof(*fresh));

	if (!fresh)
		return -ENOMEM;
	table->slots = fresh;
	table->mask = count - 1;
	for (size_t i = 0; old && i < old_count; i++) {
		if (old[i].ino)
			*free_slot(table, old[i].ino) = old[i];
	}
	free(old);
	return 0;
}

static int state_table_create(uint64_t state, struct state_table **ret_table)
{
	struct state_table *table = calloc(1, sizeof(*table));

	if (!table)
		return -ENOMEM;
	table->state = state;
	if (state_table_resize(table, SLOTS_MIN) < 0) {
		free(table);
		return -ENOMEM;
	}
	*ret_table = table;
	return 0;
}

/* Return the entry of the node; add it if there is none.  -ENOMEM. */
static int lookup_get(struct lookups *lookups, node_t node,
                      struct lookup **ret_entry)
{
	struct state_table **at = state_table_find(lookups, NODE_STATE(node));
	uint64_t ino = lookup_key(node);
	struct lookup *entry;
	int err;

	if (!*at) {
		if (lookups->tables >= lookups->buckets_len) {
			lookups_grow(lookups);
			at = state_table_find(lookups, NODE_STATE(node));
		}
		err = state_table_create(NODE_STATE(node), at);
		if (err < 0)
			return err;
		lookups->tables++;
	}
	entry = lookup_find(*at, ino);
	if (!entry) {
		size_t count = (*at)->mask + 1;

		/* Keep a slot free: it ends a search. */
		if (((*at)->used + 1) * 4 > count * 3) {
			err = state_table_resize(*at, count * 2);
			if (err < 0)
				return err;
		}
		entry = free_slot(*at, ino);
		*entry = (struct lookup){.ino = ino};
		(*at)->used++;
		lookups->virtual += !!(node & NODE_VIRTUAL);
	}
	(*at)->marked = true;
	*ret_entry = entry;
	return 0;
}

static struct lookup *lookup_look(struct lookups *lookups, node_t node)
{
	struct state_table *table =
	        *state_table_find(lookups, NODE_STATE(node));

	return table ? lookup_find(table, lookup_key(node)) : NULL;
}

/* Add an open of the entry. */
static void lookup_open(struct lookups *lookups, struct state_table *table,
                        struct lookup *entry)
{
	if (entry->opens++ || table->open++)
		return;
	table->next_open = lookups->open;
	table->prev_open = &lookups->open;
	if (lookups->open)
		lookups->open->prev_open = &table->next_open;
	lookups->open = table;
}

/* Remove an open of the entry. */
static void lookup_close(struct state_table *table, struct lookup *entry)
{
	if (--entry->opens || --table->open)
		return;
	*table->prev_open = table->next_open;
	if (table->next_open)
		table->next_open->prev_open = table->prev_open;
}

/* Remove the entry if it has neither lookups nor opens. */
static void lookup_settle(struct lookups *lookups, node_t node,
                          struct lookup *entry)
{
	struct state_table **at = state_table_find(lookups, NODE_STATE(node));
	struct state_table *table = *at;
	size_t hole = (size_t)(entry - table->slots);

	if (entry->nlookup || entry->opens)
		return;
	/* Move an entry into the hole if its search would end there. */
	for (size_t i = (hole + 1) & table->mask; table->slots[i].ino;
	     i = (i + 1) & table->mask) {
		size_t first = first_slot(table, table->slots[i].ino);

		if (((i - first) & table->mask) >= ((i - hole) & table->mask)) {
			table->slots[hole] = table->slots[i];
			hole = i;
		}
	}
	table->slots[hole] = (struct lookup){0};
	table->used--;
	lookups->virtual -= !!(node & NODE_VIRTUAL);
	if (table->used == 0) {
		*at = table->next;
		state_table_free(table);
		lookups->tables--;
	} else if (table->mask + 1 > SLOTS_MIN &&
	           table->used * 8 < table->mask + 1) {
		/* Ignore failure: a table that is too large still works. */
		state_table_resize(table, (table->mask + 1) / 2);
	}
}

int lookups_add(struct lookups *lookups, node_t node)
{
	struct lookup *entry;
	int err;

	pthread_mutex_lock(&lookups->lock);
	err = lookup_get(lookups, node, &entry);
	if (err == 0) {
		entry->nlookup++;
		entry->attrs = true;
	}
	pthread_mutex_unlock(&lookups->lock);
	return err;
}

/* End the hold on the entry; return false if it was not held. */
static bool lookup_let_go(struct state_table *table, struct lookup *entry)
{
	bool held = entry->held;

	entry->held = false;
	if (held)
		lookup_close(table, entry);
	return held;
}

bool lookups_forget(struct lookups *lookups, node_t node, uint64_t count)
{
	struct state_table *table;
	struct lookup *entry;
	bool released = false;

	pthread_mutex_lock(&lookups->lock);
	table = *state_table_find(lookups, NODE_STATE(node));
	entry = lookup_look(lookups, node);
	if (entry) {
		entry->nlookup -= MIN(count, entry->nlookup);
		released = !entry->nlookup && lookup_let_go(table, entry);
		lookup_settle(lookups, node, entry);
	}
	pthread_mutex_unlock(&lookups->lock);
	return released;
}

bool lookups_hold(struct lookups *lookups, node_t node)
{
	struct state_table *table;
	struct lookup *entry;
	bool fresh;

	pthread_mutex_lock(&lookups->lock);
	table = *state_table_find(lookups, NODE_STATE(node));
	entry = lookup_look(lookups, node);
	fresh = entry && entry->nlookup && !entry->held;
	if (fresh) {
		entry->held = true;
		lookup_open(lookups, table, entry);
	}
	pthread_mutex_unlock(&lookups->lock);
	return fresh;
}

int lookups_open(struct lookups *lookups, node_t node)
{
	struct lookup *entry;
	int err;

	pthread_mutex_lock(&lookups->lock);
	err = lookup_get(lookups, node, &entry);
	if (err == 0)
		lookup_open(lookups,
		            *state_table_find(lookups, NODE_STATE(node)),
		            entry);
	pthread_mutex_unlock(&lookups->lock);
	return err;
}

bool lookups_close(struct lookups *lookups, node_t node)
{
	struct state_table *table;
	struct lookup *entry;
	bool was_open = false;

	pthread_mutex_lock(&lookups->lock);
	table = *state_table_find(lookups, NODE_STATE(node));
	entry = lookup_look(lookups, node);
	if (entry && entry->opens) {
		was_open = true;
		lookup_close(table, entry);
		lookup_settle(lookups, node, entry);
	}
	pthread_mutex_unlock(&lookups->lock);
	return was_open;
}

/* ---- Marks of the kernel's cache ---------------------------------------- */

bool lookups_any(struct lookups *lookups, uint64_t state)
{
	bool any;

	pthread_mutex_lock(&lookups->lock);
	any = *state_table_find(lookups, state) != NULL;
	pthread_mutex_unlock(&lookups->lock);
	return any;
}

bool lookups_has(struct lookups *lookups, node_t node)
{
	bool has;

	pthread_mutex_lock(&lookups->lock);
	has = lookup_look(lookups, node) != NULL;
	pthread_mutex_unlock(&lookups->lock);
	return has;
}

bool lookups_virtual(struct lookups *lookups)
{
	bool any;

	pthread_mutex_lock(&lookups->lock);
	any = lookups->virtual;
	pthread_mutex_unlock(&lookups->lock);
	return any;
}

void lookups_assume_open(struct lookups *lookups)
{
	pthread_mutex_lock(&lookups->lock);
	lookups->assume_open = true;
	pthread_mutex_unlock(&lookups->lock);
}

bool lookups_is_open(struct lookups *lookups, node_t node)
{
	struct lookup *entry;
	bool open;

	pthread_mutex_lock(&lookups->lock);
	entry = lookup_look(lookups, node);
	open = entry && (entry->opens || lookups->assume_open);
	pthread_mutex_unlock(&lookups->lock);
	return open;
}

void lookups_mark(struct lookups *lookups, node_t node, unsigned what)
{
	struct state_table *table;
	struct lookup *entry;

	pthread_mutex_lock(&lookups->lock);
	table = *state_table_find(lookups, NODE_STATE(node));
	entry = table ? lookup_find(table, lookup_key(node)) : NULL;
	if (entry && (what & CACHED_ATTRS))
		entry->attrs = true;
	if (entry && (what & CACHED_PAGES))
		entry->pages = PAGES_FRESH;
	if (entry)
		table->marked = true;
	pthread_mutex_unlock(&lookups->lock);
}

void lookups_mark_end(struct lookups *lookups, node_t node, uint64_t pages)
{
	struct lookup *entry;

	pthread_mutex_lock(&lookups->lock);
	entry = lookup_look(lookups, node);
	if (entry && pages > entry->end)
		entry->end = (uint8_t)MIN(pages, END_MAX);
	pthread_mutex_unlock(&lookups->lock);
}

uint64_t lookups_end(struct lookups *lookups, node_t node)
{
	struct lookup *entry;
	uint64_t end = UINT64_MAX;

	pthread_mutex_lock(&lookups->lock);
	entry = lookup_look(lookups, node);
	if (entry && entry->end < END_MAX)
		end = entry->end;
	pthread_mutex_unlock(&lookups->lock);
	return end;
}

unsigned lookups_take(struct lookups *lookups, node_t node, unsigned what)
{
	struct lookup *entry;
	unsigned taken = 0;

	pthread_mutex_lock(&lookups->lock);
	entry = lookup_look(lookups, node);
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
	if (entry && entry->end && (what & CACHED_END)) {
		taken |= CACHED_END;
		entry->end = 0;
	}
	pthread_mutex_unlock(&lookups->lock);
	return taken;
}

/* ---- Lists -------------------------------------------------------------- */

/*
 * Return true if the node is open, or if it may be and has marks.  Clear its
 * marks then.
 */
static bool lookup_take_open(const struct lookups *lookups,
                             struct lookup *entry)
{
	bool marked = entry->pages || entry->attrs;
	bool taken = entry->opens || (lookups->assume_open && marked);

	if (taken)
		entry->pages = entry->attrs = 0;
	return taken;
}

static int list_nodes(struct lookups *lookups, uint64_t state, bool take_open,
                      node_t **ret_nodes, size_t *ret_count)
{
	struct state_table *table;
	node_t *nodes = NULL;
	size_t count = 0;
	int err = 0;

	pthread_mutex_lock(&lookups->lock);
	table = *state_table_find(lookups, state);
	if (table) {
		nodes = malloc(table->used * sizeof(*nodes));
		if (!nodes)
			err = -ENOMEM;
		for (size_t i = 0; !err && i <= table->mask; i++) {
			struct lookup *entry = &table->slots[i];

			if (entry->ino &&
			    (!take_open || lookup_take_open(lookups, entry)))
				nodes[count++] = NODE(state, entry->ino);
		}
		table->marked &= err || !take_open;
	}
	pthread_mutex_unlock(&lookups->lock);
	if (err < 0)
		return err;
	*ret_nodes = nodes;
	*ret_count = count;
	return 0;
}

int lookups_list(struct lookups *lookups, uint64_t state, node_t **ret_nodes,
                 size_t *ret_count)
{
	return list_nodes(lookups, state, false, ret_nodes, ret_count);
}

int lookups_take_open(struct lookups *lookups, uint64_t state,
                      node_t **ret_nodes, size_t *ret_count)
{
	return list_nodes(lookups, state, true, ret_nodes, ret_count);
}

/* A growing array of numbers of states. */
struct states {
	uint64_t *numbers;
	size_t count, capacity;
};

static int states_add(struct states *states, uint64_t number)
{
	int err =
	        array_grow(&states->numbers, states->count, &states->capacity);

	if (!err)
		states->numbers[states->count++] = number;
	return err;
}

int lookups_states(struct lookups *lookups, bool open, uint64_t **ret_states,
                   size_t *ret_count)
{
	struct states states = {0};
	bool all;
	int err = 0;

	pthread_mutex_lock(&lookups->lock);
	all = !open || lookups->assume_open;
	for (struct state_table *table = all ? NULL : lookups->open;
	     table && !err; table = table->next_open)
		err = states_add(&states, table->state);
	for (size_t i = 0; i < lookups->buckets_len && all && !err; i++) {
		for (struct state_table *table = lookups->buckets[i];
		     table && !err; table = table->next)
			if (!open || table->marked)
				err = states_add(&states, table->state);
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
	struct state_table *gone = NULL;

	pthread_mutex_lock(&lookups->lock);
	for (size_t i = 0; i < lookups->buckets_len; i++) {
		while (lookups->buckets[i]) {
			struct state_table *table = lookups->buckets[i];

			lookups->buckets[i] = table->next;
			table->next = gone;
			gone = table;
		}
	}
	lookups->tables = 0;
	lookups->virtual = 0;
	lookups->open = NULL;
	pthread_mutex_unlock(&lookups->lock);

	while (gone) {
		struct state_table *table = gone;

		for (size_t j = 0; j <= table->mask; j++) {
			struct lookup *entry = &table->slots[j];

			for (; entry->ino && entry->opens; entry->opens--)
				fn(arg, NODE(table->state, entry->ino));
		}
		gone = table->next;
		state_table_free(table);
	}
}
