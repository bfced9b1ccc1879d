/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Records changed in memory and not yet in the map: an ordered table of keys,
 * each with a new value or marked as removed.  A skip list (Pugh 1990).
 * Inside store/ only; guarded by whoever owns it.
 */
#ifndef COPPICE_OVERLAY_H
#define COPPICE_OVERLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { OVERLAY_LEVELS = 16 };

struct overlay_entry {
	uint8_t *value; /* NULL: removed */
	uint32_t len;
	uint16_t key_len;
	uint8_t levels;
	struct overlay_entry *next[]; /* then the key's bytes */
};

struct overlay {
	struct overlay_entry *head[OVERLAY_LEVELS];
	size_t count;
	uint64_t random;
};

void overlay_init(struct overlay *overlay);
void overlay_release(struct overlay *overlay);
const uint8_t *overlay_key(const struct overlay_entry *entry);
/* The entry with exactly this key, or NULL. */
struct overlay_entry *overlay_get(struct overlay *overlay, const void *key,
                                  size_t key_len);
/* The first entry at or after (after: strictly after) key, or NULL. */
struct overlay_entry *overlay_seek(struct overlay *overlay, const void *key,
                                   size_t key_len, bool after);
/* value NULL: mark as removed.  -ENOMEM. */
int overlay_put(struct overlay *overlay, const void *key, size_t key_len,
                const void *value, size_t len);

int bytes_compare(const void *a, size_t a_len, const void *b, size_t b_len);

#endif
