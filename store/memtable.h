/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Records changed in memory and not yet in the map: an ordered table of keys,
 * each with a new value or marked as removed.  A skip list (Pugh 1990).
 * Inside store/ only.  The owner guards it.
 */
#ifndef COPPICE_MEMTABLE_H
#define COPPICE_MEMTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MEMTABLE_LEVELS = 16 };

struct memtable_entry {
	uint8_t *value; /* NULL: removed */
	uint32_t len;
	uint16_t key_len;
	uint8_t levels;
	bool logged;       /* an entry of the intent log has it */
	uint32_t unlogged; /* index + 1 in memtable.unlogged, or 0 */
	struct memtable_entry *next[]; /* then the key's bytes */
};

struct memtable {
	struct memtable_entry *head[MEMTABLE_LEVELS];
	size_t count;
	/*
	 * While `track` is set, `unlogged` has the entries that were changed
	 * since it was last emptied.  If it would become incomplete, `track`
	 * is cleared.
	 */
	bool track;
	struct memtable_entry **unlogged;
	size_t unlogged_len, unlogged_capacity;
	uint64_t random;
};

void memtable_init(struct memtable *memtable);
void memtable_release(struct memtable *memtable);
const uint8_t *memtable_key(const struct memtable_entry *entry);
/* Return the entry with exactly this key, or NULL. */
struct memtable_entry *memtable_get(struct memtable *memtable, const void *key,
                                    size_t key_len);
/* Return the first entry at or after (after: strictly after) key, or NULL. */
struct memtable_entry *memtable_seek(struct memtable *memtable, const void *key,
                                     size_t key_len, bool after);
/* Unlink and free the entry with this key, if there is one. */
void memtable_forget(struct memtable *memtable, const void *key,
                     size_t key_len);
/* Copy the value into the key's entry; NULL: mark as removed.  -ENOMEM. */
int memtable_put(struct memtable *memtable, const void *key, size_t key_len,
                 const void *value, size_t len);

/* Track an entry whose value was changed in place. */
void memtable_track(struct memtable *memtable, struct memtable_entry *entry);

/* Compare in memcmp order; a prefix comes before what it begins. */
int bytes_compare(const void *a, size_t a_len, const void *b, size_t b_len);

#endif
