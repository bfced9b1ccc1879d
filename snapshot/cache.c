/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A hash table of intrusive entries, and its list of dirty ones. */
#include "cache.h"

#include <errno.h>
#include <stdlib.h>

enum { CACHE_BITS_FIRST = 8, CACHE_BITS_MAX = 26 };

int cache_init(struct cache *cache)
{
	*cache = (struct cache){.bits = CACHE_BITS_FIRST};
	cache->buckets =
	        calloc((size_t)1 << cache->bits, sizeof(struct cached *));
	return cache->buckets ? 0 : -ENOMEM;
}

void cache_release(struct cache *cache)
{
	free(cache->buckets);
	cache->buckets = NULL;
}

static struct cached **cache_bucket(struct cached **buckets, unsigned bits,
                                    uint64_t key)
{
	/* Keys are counters: the high bits of the product spread them. */
	return &buckets[key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - bits)];
}

struct cached *cache_find(struct cache *cache, uint64_t key)
{
	struct cached *e = *cache_bucket(cache->buckets, cache->bits, key);

	while (e && e->key != key)
		e = e->hash_next;
	/* The lock may be shared. */
	if (e && !__atomic_load_n(&e->used, __ATOMIC_RELAXED))
		__atomic_store_n(&e->used, true, __ATOMIC_RELAXED);
	return e;
}

/* Double the number of buckets.  Ignored without memory for them. */
static void cache_grow(struct cache *cache)
{
	unsigned bits = cache->bits + 1;
	struct cached **buckets =
	        calloc((size_t)1 << bits, sizeof(struct cached *));

	if (!buckets)
		return;
	for (size_t i = 0; i < (size_t)1 << cache->bits; i++) {
		struct cached *e = cache->buckets[i];

		while (e) {
			struct cached *next = e->hash_next;
			struct cached **b = cache_bucket(buckets, bits, e->key);

			e->hash_next = *b;
			*b = e;
			e = next;
		}
	}
	free(cache->buckets);
	cache->buckets = buckets;
	cache->bits = bits;
	cache->hand = 0;
}

void cache_add(struct cache *cache, struct cached *entry)
{
	struct cached **b;

	if (cache->count >> cache->bits && cache->bits < CACHE_BITS_MAX)
		cache_grow(cache);
	b = cache_bucket(cache->buckets, cache->bits, entry->key);
	entry->hash_next = *b;
	entry->used = true;
	*b = entry;
	cache->count++;
}

void cache_remove(struct cache *cache, struct cached *entry)
{
	struct cached **b =
	        cache_bucket(cache->buckets, cache->bits, entry->key);

	while (*b != entry)
		b = &(*b)->hash_next;
	*b = entry->hash_next;
	cache->count--;
	cache_unmark(cache, entry);
}

struct cached *cache_any(struct cache *cache)
{
	size_t size = (size_t)1 << cache->bits;

	for (size_t i = 0; cache->count && i < size; i++) {
		size_t at = (cache->hand + i) & (size - 1);

		if (cache->buckets[at]) {
			cache->hand = at;
			return cache->buckets[at];
		}
	}
	return NULL;
}

void cache_mark(struct cache *cache, struct cached *entry)
{
	if (entry->dirty_at)
		return;
	entry->dirty_next = cache->dirty;
	entry->dirty_at = &cache->dirty;
	if (entry->dirty_next)
		entry->dirty_next->dirty_at = &entry->dirty_next;
	cache->dirty = entry;
	cache->dirty_count++;
}

void cache_unmark(struct cache *cache, struct cached *entry)
{
	if (!entry->dirty_at)
		return;
	cache->dirty_count--;
	*entry->dirty_at = entry->dirty_next;
	if (entry->dirty_next)
		entry->dirty_next->dirty_at = entry->dirty_at;
	entry->dirty_at = NULL;
	entry->dirty_next = NULL;
}

void cache_evict(struct cache *cache, size_t buckets,
                 bool (*evict)(void *arg, struct cached *entry), void *arg)
{
	size_t size = (size_t)1 << cache->bits;

	for (size_t i = 0; i < buckets; i++) {
		struct cached *e = cache->buckets[cache->hand];

		while (e) {
			struct cached *next = e->hash_next;

			if (e->used)
				e->used = false;
			else if (!e->dirty_at)
				evict(arg, e);
			e = next;
		}
		cache->hand = (cache->hand + 1) & (size - 1);
	}
}
