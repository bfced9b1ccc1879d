/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "id_map.h"

#include <errno.h>
#include <stdlib.h>

/* Return the slot of the id, or the empty one where it belongs. */
static struct id_slot *slot_find(struct id_slot *slots, size_t size,
                                 uint64_t id)
{
	size_t i = (size_t)((id * 0x9e3779b97f4a7c15) >> 32) & (size - 1);

	while (slots[i].id && slots[i].id != id)
		i = (i + 1) & (size - 1);
	return &slots[i];
}

bool id_map_get(const struct id_map *map, uint64_t id, uint64_t *ret_value)
{
	const struct id_slot *slot;

	if (!map->len)
		return false;
	slot = slot_find(map->slots, map->size, id);
	if (!slot->id)
		return false;
	*ret_value = slot->value;
	return true;
}

static int grow(struct id_map *map)
{
	size_t size = map->size ? map->size * 2 : 16;
	struct id_slot *slots = calloc(size, sizeof(*slots));

	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < map->size; i++)
		if (map->slots[i].id)
			*slot_find(slots, size, map->slots[i].id) =
			        map->slots[i];
	free(map->slots);
	map->slots = slots;
	map->size = size;
	return 0;
}

int id_map_put(struct id_map *map, uint64_t id, uint64_t value)
{
	struct id_slot *slot;
	int r = map->len * 2 >= map->size ? grow(map) : 0;

	if (r < 0)
		return r;
	slot = slot_find(map->slots, map->size, id);
	if (!slot->id)
		map->len++;
	*slot = (struct id_slot){id, value};
	return 0;
}

void id_map_release(struct id_map *map)
{
	free(map->slots);
	*map = (struct id_map){0};
}
