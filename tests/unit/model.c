/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The sorted array that the tree is compared with: see model.h.
 */
#include "model.h"

#include "codec.h"
#include "util.h"

void model_release(struct model *model)
{
	free(model->at);
	*model = (struct model){0};
}

static void model_reserve(struct model *model, size_t room)
{
	if (room <= model->room)
		return;
	model->room = room + room / 2;
	model->at = realloc(model->at, model->room * sizeof(*model->at));
	if (!model->at)
		abort();
}

void model_copy(struct model *to, const struct model *from)
{
	model_reserve(to, from->count);
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

size_t model_find(const struct model *model, const struct key *key)
{
	size_t low = 0, high = model->count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (key_less(&model->at[mid].key, key))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct model_item *model_get(const struct model *model, const struct key *key)
{
	size_t at = model_find(model, key);

	return at < model->count && !key_less(key, &model->at[at].key)
	               ? &model->at[at]
	               : NULL;
}

void model_put(struct model *model, const struct model_item *item)
{
	struct model_item *old = model_get(model, &item->key);
	size_t at;

	if (old) {
		*old = *item;
		return;
	}
	model_reserve(model, model->count + 1);
	at = model_find(model, &item->key);
	memmove(&model->at[at + 1], &model->at[at],
	        (model->count - at) * sizeof(*model->at));
	model->at[at] = *item;
	model->count++;
}

void model_del(struct model *model, const struct key *key)
{
	size_t at = model_find(model, key);

	model->count--;
	memmove(&model->at[at], &model->at[at + 1],
	        (model->count - at) * sizeof(*model->at));
}

void model_value(const struct model_item *item, uint8_t *value)
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

bool model_same(const struct model_item *model, const struct item *item)
{
	uint8_t value[TREE_VALUE_MAX];

	if (key_compare(&model->key, &item->key) || model->len != item->len)
		return false;
	model_value(model, value);
	return !memcmp(value, item->value, item->len);
}

uint64_t model_chunk(const uint8_t *value, uint32_t len)
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
