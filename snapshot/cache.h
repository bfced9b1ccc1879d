/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Structs in memory by number, with a list of those whose records must be
 * written.  What embeds a struct cached owns the memory; the cache only links.
 * All of it under the store's lock.
 */
#ifndef COPPICE_SNAPSHOT_CACHE_H
#define COPPICE_SNAPSHOT_CACHE_H

#include "snapshot.h"

#define container_of(p, type, member)                                          \
	((type *)(void *)((char *)(p)-offsetof(type, member)))

struct cache {
	struct cached **buckets;
	unsigned bits; /* log2 of their number */
	size_t count;  /* entries linked */
	size_t hand;   /* the bucket where the next sweep begins */
	struct cached *dirty;
	size_t dirty_count;
};

int cache_init(struct cache *cache); /* -ENOMEM */
/* Unlinks nothing: the owner frees the entries, by cache_any(), before. */
void cache_release(struct cache *cache);

struct cached *cache_find(struct cache *cache, uint64_t key);
/* entry->key says under which number; no other entry may have it. */
void cache_add(struct cache *cache, struct cached *entry);
/* Forget the entry, dirty or not. */
void cache_remove(struct cache *cache, struct cached *entry);
/* Some entry; NULL when there is none. */
struct cached *cache_any(struct cache *cache);

void cache_mark(struct cache *cache, struct cached *entry);
void cache_unmark(struct cache *cache, struct cached *entry);

/*
 * Offer entries that are neither dirty nor used since the last time round to
 * evict(), which takes them out and returns true, or keeps them; looks at the
 * next `buckets` buckets.
 */
void cache_evict(struct cache *cache, size_t buckets,
                 bool (*evict)(void *arg, struct cached *entry), void *arg);

#endif
