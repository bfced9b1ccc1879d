/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records changed in memory: a skip list. */
#include "overlay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int bytes_compare(const void *a, size_t a_len, const void *b, size_t b_len)
{
	int c = memcmp(a, b, a_len < b_len ? a_len : b_len);

	if (c)
		return c;
	return a_len < b_len ? -1 : a_len > b_len;
}

void overlay_init(struct overlay *overlay)
{
	*overlay = (struct overlay){.random = 0x9e3779b97f4a7c15};
}

const uint8_t *overlay_key(const struct overlay_entry *entry)
{
	return (const uint8_t *)&entry->next[entry->levels];
}

void overlay_release(struct overlay *overlay)
{
	struct overlay_entry *entry = overlay->head[0];

	while (entry) {
		struct overlay_entry *next = entry->next[0];

		free(entry->value);
		free(entry);
		entry = next;
	}
	overlay_init(overlay);
}

/* One level more with a chance of one in four (xorshift). */
static unsigned overlay_levels(struct overlay *overlay)
{
	unsigned levels = 1;
	uint64_t x = overlay->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	overlay->random = x;
	while (levels < OVERLAY_LEVELS && !(x & 3)) {
		x >>= 2;
		levels++;
	}
	return levels;
}

/*
 * Fill path[] with the links that lead to the first entry at or after (after:
 * strictly after) the key.
 */
static void overlay_path(struct overlay *overlay, const void *key,
                         size_t key_len, bool after,
                         struct overlay_entry **path[OVERLAY_LEVELS])
{
	struct overlay_entry **links = overlay->head;

	for (int level = OVERLAY_LEVELS - 1; level >= 0; level--) {
		struct overlay_entry *entry;

		while ((entry = links[level])) {
			int c = bytes_compare(overlay_key(entry),
			                      entry->key_len, key, key_len);

			if (c > 0 || (c == 0 && !after))
				break;
			links = entry->next;
		}
		path[level] = &links[level];
	}
}

struct overlay_entry *overlay_seek(struct overlay *overlay, const void *key,
                                   size_t key_len, bool after)
{
	struct overlay_entry **path[OVERLAY_LEVELS];

	if (!overlay->count)
		return NULL;
	overlay_path(overlay, key, key_len, after, path);
	return *path[0];
}

struct overlay_entry *overlay_get(struct overlay *overlay, const void *key,
                                  size_t key_len)
{
	struct overlay_entry *entry =
	        overlay_seek(overlay, key, key_len, false);

	if (entry && entry->key_len == key_len &&
	    !memcmp(overlay_key(entry), key, key_len))
		return entry;
	return NULL;
}

int overlay_put(struct overlay *overlay, const void *key, size_t key_len,
                const void *value, size_t len)
{
	struct overlay_entry **path[OVERLAY_LEVELS];
	struct overlay_entry *entry;
	uint8_t *copy = NULL;
	unsigned levels;

	if (value) {
		copy = malloc(len ? len : 1);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, value, len);
	}
	overlay_path(overlay, key, key_len, false, path);
	entry = *path[0];
	if (entry && entry->key_len == key_len &&
	    !memcmp(overlay_key(entry), key, key_len)) {
		free(entry->value);
		entry->value = copy;
		entry->len = (uint32_t)len;
		return 0;
	}
	levels = overlay_levels(overlay);
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
	memcpy(&entry->next[levels], key, key_len);
	for (unsigned level = 0; level < levels; level++) {
		entry->next[level] = *path[level];
		*path[level] = entry;
	}
	overlay->count++;
	return 0;
}
