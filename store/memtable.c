/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records changed in memory: a skip list. */
#include "memtable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"

int bytes_compare(const void *a, size_t a_len, const void *b, size_t b_len)
{
	int c = memcmp(a, b, a_len < b_len ? a_len : b_len);

	if (c)
		return c;
	return a_len < b_len ? -1 : a_len > b_len;
}

void memtable_init(struct memtable *memtable)
{
	*memtable = (struct memtable){.random = 0x9e3779b97f4a7c15};
}

const uint8_t *memtable_key(const struct memtable_entry *entry)
{
	return (const uint8_t *)&entry->next[entry->levels];
}

void memtable_release(struct memtable *memtable)
{
	struct memtable_entry *entry = memtable->head[0];

	while (entry) {
		struct memtable_entry *next = entry->next[0];

		free(entry->value);
		free(entry);
		entry = next;
	}
	free(memtable->unlogged);
	memtable_init(memtable);
}

/*
 * Draw the number of levels: each further one has a chance of one in four
 * (xorshift).
 */
static unsigned memtable_levels(struct memtable *memtable)
{
	unsigned levels = 1;
	uint64_t x = memtable->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	memtable->random = x;
	while (levels < MEMTABLE_LEVELS && !(x & 3)) {
		x >>= 2;
		levels++;
	}
	return levels;
}

/*
 * Fill path[] with the links that lead to the first entry at or after (after:
 * strictly after) the key.
 */
static void memtable_path(struct memtable *memtable, const void *key,
                          size_t key_len, bool after,
                          struct memtable_entry **path[MEMTABLE_LEVELS])
{
	struct memtable_entry **links = memtable->head;

	for (int level = MEMTABLE_LEVELS - 1; level >= 0; level--) {
		struct memtable_entry *entry;

		while ((entry = links[level])) {
			int c = bytes_compare(memtable_key(entry),
			                      entry->key_len, key, key_len);

			if (c > 0 || (c == 0 && !after))
				break;
			links = entry->next;
		}
		path[level] = &links[level];
	}
}

struct memtable_entry *memtable_seek(struct memtable *memtable, const void *key,
                                     size_t key_len, bool after)
{
	struct memtable_entry **path[MEMTABLE_LEVELS];

	if (!memtable->count)
		return NULL;
	memtable_path(memtable, key, key_len, after, path);
	return *path[0];
}

struct memtable_entry *memtable_get(struct memtable *memtable, const void *key,
                                    size_t key_len)
{
	struct memtable_entry *entry =
	        memtable_seek(memtable, key, key_len, false);

	if (entry && entry->key_len == key_len &&
	    !memcmp(memtable_key(entry), key, key_len))
		return entry;
	return NULL;
}

void memtable_track(struct memtable *memtable, struct memtable_entry *entry)
{
	if (!memtable->track || entry->unlogged)
		return;
	if (array_grow(&memtable->unlogged, memtable->unlogged_len,
	               &memtable->unlogged_capacity)) {
		memtable->track = false;
		return;
	}
	memtable->unlogged[memtable->unlogged_len++] = entry;
	entry->unlogged = (uint32_t)memtable->unlogged_len;
}

static void memtable_untrack(struct memtable *memtable,
                             const struct memtable_entry *entry)
{
	struct memtable_entry *last;

	if (!memtable->track)
		return;
	if (entry->unlogged) {
		last = memtable->unlogged[--memtable->unlogged_len];
		memtable->unlogged[entry->unlogged - 1] = last;
		last->unlogged = entry->unlogged;
	}
	if (entry->logged)
		memtable->track = false;
}

void memtable_forget(struct memtable *memtable, const void *key, size_t key_len)
{
	struct memtable_entry **path[MEMTABLE_LEVELS];
	struct memtable_entry *entry = memtable_get(memtable, key, key_len);

	if (!entry)
		return;
	memtable_untrack(memtable, entry);
	memtable_path(memtable, key, key_len, false, path);
	for (unsigned level = 0; level < entry->levels; level++)
		*path[level] = entry->next[level];
	free(entry->value);
	free(entry);
	memtable->count--;
}

int memtable_put(struct memtable *memtable, const void *key, size_t key_len,
                 const void *value, size_t len)
{
	struct memtable_entry **path[MEMTABLE_LEVELS];
	struct memtable_entry *entry;
	uint8_t *copy = NULL;
	unsigned levels;

	if (value) {
		copy = malloc(len ? len : 1);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, value, len);
	}
	memtable_path(memtable, key, key_len, false, path);
	entry = *path[0];
	if (entry && entry->key_len == key_len &&
	    !memcmp(memtable_key(entry), key, key_len)) {
		free(entry->value);
		entry->value = copy;
		entry->len = (uint32_t)len;
		memtable_track(memtable, entry);
		return 0;
	}
	levels = memtable_levels(memtable);
	entry = malloc(sizeof(*entry) + levels * sizeof(entry->next[0]) +
	               key_len);
	if (!entry) {
		free(copy);
		return -ENOMEM;
	}
	entry->value = copy;
	entry->len = (uint32_t)len;
	entry->key_len = (uint16_t)key_len;
	entry->levels = (uint8_t)levels;
	entry->logged = false;
	entry->unlogged = 0;
	memcpy(&entry->next[levels], key, key_len);
	for (unsigned level = 0; level < levels; level++) {
		entry->next[level] = *path[level];
		*path[level] = entry;
	}
	memtable->count++;
	memtable_track(memtable, entry);
	return 0;
}
