/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree's twin: a plain sorted array, obviously right.  An item's value
 * follows from a seed, its length and, if it names one, a chunk.
 */
#ifndef COPPICE_TWIN_H
#define COPPICE_TWIN_H

#include "store.h"

struct twin_item {
	struct key key;
	uint64_t chunk; /* 0: none; else len is at least 9 */
	uint32_t seed;
	uint32_t len;
};

struct twin {
	struct twin_item *at;
	size_t count, room;
};

void twin_release(struct twin *twin);
void twin_copy(struct twin *to, const struct twin *from);
/* The first at or after the key. */
size_t twin_find(const struct twin *twin, const struct key *key);
/* NULL: no such key. */
struct twin_item *twin_get(const struct twin *twin, const struct key *key);
void twin_put(struct twin *twin, const struct twin_item *item);
void twin_del(struct twin *twin, const struct key *key);

/* The value, in a buffer of TREE_VALUE_MAX bytes. */
void twin_value(const struct twin_item *item, uint8_t *value);
bool twin_same(const struct twin_item *twin, const struct item *item);
/* The chunk that a value names. */
uint64_t twin_chunk(const uint8_t *value, uint32_t len);

/* Random numbers from a seed. */
uint64_t rng_next(uint64_t *rng);
uint64_t rng_below(uint64_t *rng, uint64_t n);

/* A number from the environment. */
uint64_t env_number(const char *name, uint64_t otherwise);

#endif
