/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Structs in memory by number, with a list of those whose records must be
 * written.  The owner of a struct cached owns the memory; the cache only links
 * it.  Lock held throughout.
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
	size_t hand;   /* the bucket where the next eviction begins */
	struct cached *dirty;
	size_t dirty_count;
};

int cache_init(struct cache *cache); /* -ENOMEM */
/* Free the table.  The owner has removed all entries before: cache_any(). */
void cache_release(struct cache *cache);

/* Find an entry; NULL: there is none. */
struct cached *cache_find(struct cache *cache, uint64_t key);
/* Add an entry under entry->key, which no other entry has. */
void cache_add(struct cache *cache, struct cached *entry);
/* Remove an entry, dirty or not. */
void cache_remove(struct cache *cache, struct cached *entry);
/* Return any entry; NULL: the cache is empty. */
struct cached *cache_any(struct cache *cache);

/* Add an entry to the dirty list, or remove it. */
void cache_mark(struct cache *cache, struct cached *entry);
void cache_unmark(struct cache *cache, struct cached *entry);

/*
 * Call evict() for the entries in the next `buckets` buckets that are neither
 * dirty nor used since the last round.  It removes the entry and returns true,
 * or keeps it.
 */
void cache_evict(struct cache *cache, size_t buckets,
                 bool (*evict)(void *arg, struct cached *entry), void *arg);

#endif
