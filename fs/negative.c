/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A list of names, oldest first. */
#include "negative.h"

#include <errno.h>
#include <pthread.h>

#include "util.h"

struct negative {
	struct negative *next;
	node_t parent;
	int64_t told; /* mono_ns() */
	char name[];
};

struct negatives {
	pthread_mutex_t lock; /* guards what follows */
	struct negative *first;
	struct negative **last;
	size_t count;
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

static void drop_first(struct negatives *negatives)
{
	struct negative *negative = negatives->first;

	negatives->first = negative->next;
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

bool negatives_add(struct negatives *negatives, node_t parent, const char *name)
{
	size_t len = strlen(name) + 1;
	struct negative *negative = malloc(sizeof(*negative) + len);
	int64_t now = mono_ns();
	bool added = false;

	if (!negative)
		return false;
	*negative = (struct negative){.parent = parent, .told = now};
	memcpy(negative->name, name, len);
	pthread_mutex_lock(&negatives->lock);
	while (negatives->first &&
	       now - negatives->first->told >
	               NEGATIVE_FORGET * INT64_C(1000000000))
		drop_first(negatives);
	if (negatives->count < NEGATIVES_MAX) {
		*negatives->last = negative;
		negatives->last = &negative->next;
		negatives->count++;
		added = true;
	}
	pthread_mutex_unlock(&negatives->lock);
	if (!added)
		free(negative);
	return added;
}

void negatives_take(struct negatives *negatives, uint64_t state,
                    void (*fn)(void *arg, node_t parent, const char *name),
                    void *arg)
{
	struct negative *taken = NULL, **at;

	pthread_mutex_lock(&negatives->lock);
	for (at = &negatives->first; *at;) {
		struct negative *negative = *at;

		if (NODE_STATE(negative->parent) != state) {
			at = &negative->next;
			continue;
		}
		*at = negative->next;
		negatives->count--;
		negative->next = taken;
		taken = negative;
	}
	negatives->last = at;
	pthread_mutex_unlock(&negatives->lock);
	while (taken) {
		struct negative *negative = taken;

		taken = negative->next;
		fn(arg, negative->parent, negative->name);
		free(negative);
	}
}
