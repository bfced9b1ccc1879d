/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names in a hash table, and in a list from the oldest to the newest. */
#include "negative.h"

#include <errno.h>
#include <pthread.h>

#include "util.h"

enum { BUCKETS = 4096 }; /* a power of two */

struct negative {
	struct negative *newer;
	struct negative *next; /* in its bucket */
	node_t parent;
	int64_t answered; /* mono_ns() */
	bool taken;       /* removed from its bucket */
	char name[];
};

struct negatives {
	pthread_mutex_t lock; /* guards the fields below */
	struct negative *first;
	struct negative **last;
	size_t count;
	struct negative *buckets[BUCKETS];
};

int negatives_create(struct negatives **ret_negatives)
{
	struct negatives *negatives = calloc(1, sizeof(*negatives));

	if (!negatives)
		return -ENOMEM;
	pthread_mutex_init(&negatives->lock, NULL);
	negatives->last = &negatives->first;
	*ret_negatives = negatives;
	return 0;
}

/* FNV-1a: the names are short. */
static struct negative **bucket(struct negatives *negatives, node_t parent,
                                const char *name)
{
	uint64_t hash = parent ^ UINT64_C(0xcbf29ce484222325);

	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001b3);
	return &negatives->buckets[(hash ^ hash >> 32) & (BUCKETS - 1)];
}

/* Return the link to the name's entry; it is NULL if there is none. */
static struct negative **find(struct negatives *negatives, node_t parent,
                              const char *name)
{
	struct negative **at = bucket(negatives, parent, name);

	while (*at &&
	       ((*at)->parent != parent || strcmp((*at)->name, name) != 0))
		at = &(*at)->next;
	return at;
}

/* Remove an entry from its bucket; it stays in the list until it is oldest. */
static void unhash(struct negative **at)
{
	struct negative *negative = *at;

	*at = negative->next;
	negative->taken = true;
}

static void drop_first(struct negatives *negatives)
{
	struct negative *negative = negatives->first;

	if (!negative->taken) {
		struct negative **at =
		        bucket(negatives, negative->parent, negative->name);

		while (*at != negative)
			at = &(*at)->next;
		unhash(at);
	}
	negatives->first = negative->newer;
	if (!negatives->first)
		negatives->last = &negatives->first;
	negatives->count--;
	free(negative);
}

void negatives_destroy(struct negatives *negatives)
{
	if (!negatives)
		return;
	while (negatives->first)
		drop_first(negatives);
	pthread_mutex_destroy(&negatives->lock);
	free(negatives);
}

/* Insert an entry, in the place of an older one of its name.  Lock held. */
static void insert(struct negatives *negatives, struct negative *negative)
{
	struct negative **at =
	        find(negatives, negative->parent, negative->name);

	if (*at)
		unhash(at); /* the newer entry is kept longer */
	at = bucket(negatives, negative->parent, negative->name);
	negative->next = *at;
	*at = negative;
	*negatives->last = negative;
	negatives->last = &negative->newer;
	negatives->count++;
}

bool negatives_add(struct negatives *negatives, node_t parent, const char *name)
{
	size_t len = strlen(name) + 1;
	struct negative *negative = malloc(sizeof(*negative) + len);
	int64_t now = mono_ns();
	bool room;

	if (!negative)
		return false;
	*negative = (struct negative){.parent = parent, .answered = now};
	memcpy(negative->name, name, len);
	pthread_mutex_lock(&negatives->lock);
	while (negatives->first &&
	       now - negatives->first->answered >
	               NEGATIVE_FORGET * INT64_C(1000000000))
		drop_first(negatives);
	room = negatives->count < NEGATIVES_MAX;
	if (room)
		insert(negatives, negative);
	pthread_mutex_unlock(&negatives->lock);
	if (!room)
		free(negative);
	return room;
}

bool negatives_take(struct negatives *negatives, node_t parent,
                    const char *name)
{
	struct negative **at;
	bool found;

	pthread_mutex_lock(&negatives->lock);
	at = find(negatives, parent, name);
	found = *at;
	if (found)
		unhash(at);
	pthread_mutex_unlock(&negatives->lock);
	return found;
}
