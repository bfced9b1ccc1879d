/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tree's model: a plain sorted array, obviously right.  An item's value
 * follows from a seed, its length and, if it names one, a chunk.
 */
#ifndef COPPICE_UNIT_MODEL_H
#define COPPICE_UNIT_MODEL_H

#include "store.h"

struct model_item {
	struct key key;
	uint64_t chunk; /* 0: none; else len is at least 9 */
	uint32_t seed;
	uint32_t len;
};

struct model {
	struct model_item *at;
	size_t count, room;
};

void model_release(struct model *model);
void model_copy(struct model *to, const struct model *from);
/* The first at or after the key. */
size_t model_find(const struct model *model, const struct key *key);
/* NULL: no such key. */
struct model_item *model_get(const struct model *model, const struct key *key);
void model_put(struct model *model, const struct model_item *item);
void model_del(struct model *model, const struct key *key);

/* The value, in a buffer of TREE_VALUE_MAX bytes. */
void model_value(const struct model_item *item, uint8_t *value);
bool model_same(const struct model_item *model, const struct item *item);
/* The chunk that a value names. */
uint64_t model_chunk(const uint8_t *value, uint32_t len);

/* Random numbers from a seed. */
uint64_t rng_next(uint64_t *rng);
uint64_t rng_below(uint64_t *rng, uint64_t n);

/* A number from the environment. */
uint64_t env_number(const char *name, uint64_t otherwise);

#endif
