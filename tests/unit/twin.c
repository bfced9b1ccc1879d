/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sorted array that the tree is compared with: told in twin.h.
 */
#include "twin.h"

#include "codec.h"
#include "util.h"

void twin_release(struct twin *twin)
{
	free(twin->at);
	*twin = (struct twin){0};
}

static void twin_reserve(struct twin *twin, size_t room)
{
	if (room <= twin->room)
		return;
	twin->room = room + room / 2;
	twin->at = realloc(twin->at, twin->room * sizeof(*twin->at));
	if (!twin->at)
		abort();
}

void twin_copy(struct twin *to, const struct twin *from)
{
	twin_reserve(to, from->count);
	to->count = from->count;
	if (from->count)
		memcpy(to->at, from->at, from->count * sizeof(*to->at));
}

static bool key_less(const struct key *a, const struct key *b)
{
	if (a->ino != b->ino)
		return a->ino < b->ino;
	if (a->kind != b->kind)
		return a->kind < b->kind;
	return a->off < b->off;
}

size_t twin_find(const struct twin *twin, const struct key *key)
{
	size_t low = 0, high = twin->count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (key_less(&twin->at[mid].key, key))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct twin_item *twin_get(const struct twin *twin, const struct key *key)
{
	size_t at = twin_find(twin, key);

	return at < twin->count && !key_less(key, &twin->at[at].key)
	               ? &twin->at[at]
	               : NULL;
}

void twin_put(struct twin *twin, const struct twin_item *item)
{
	struct twin_item *old = twin_get(twin, &item->key);
	size_t at;

	if (old) {
		*old = *item;
		return;
	}
	twin_reserve(twin, twin->count + 1);
	at = twin_find(twin, &item->key);
	memmove(&twin->at[at + 1], &twin->at[at],
	        (twin->count - at) * sizeof(*twin->at));
	twin->at[at] = *item;
	twin->count++;
}

void twin_del(struct twin *twin, const struct key *key)
{
	size_t at = twin_find(twin, key);

	twin->count--;
	memmove(&twin->at[at], &twin->at[at + 1],
	        (twin->count - at) * sizeof(*twin->at));
}

void twin_value(const struct twin_item *item, uint8_t *value)
{
	uint32_t x = item->seed * 2654435761u + 1;

	for (uint32_t i = 0; i < item->len; i++) {
		x = x * 1664525 + 1013904223;
		value[i] = (uint8_t)(x >> 24);
	}
	if (item->len)
		value[0] = item->chunk != 0;
	if (item->chunk)
		be64_put(value + 1, item->chunk);
}

bool twin_same(const struct twin_item *twin, const struct item *item)
{
	uint8_t value[TREE_VALUE_MAX];

	if (key_compare(&twin->key, &item->key) || twin->len != item->len)
		return false;
	twin_value(twin, value);
	return !memcmp(value, item->value, item->len);
}

uint64_t twin_chunk(const uint8_t *value, uint32_t len)
{
	return len >= 9 && value[0] ? be64_get(value + 1) : 0;
}

uint64_t rng_next(uint64_t *rng)
{
	uint64_t x = (*rng += UINT64_C(0x9e3779b97f4a7c15));

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint64_t rng_below(uint64_t *rng, uint64_t n)
{
	return rng_next(rng) % n;
}

uint64_t env_number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}
