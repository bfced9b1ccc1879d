/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A hash map from ids, which are never 0, to numbers. */
#ifndef COPPICE_SNAPSHOT_ID_MAP_H
#define COPPICE_SNAPSHOT_ID_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero: an empty map. */
struct id_map {
	struct id_slot {
		uint64_t id; /* 0: the slot is empty */
		uint64_t value;
	} * slots;
	size_t size; /* a power of two, or 0 */
	size_t len;
};

/* Return true and the id's value if the map has one. */
bool id_map_get(const struct id_map *map, uint64_t id, uint64_t *ret_value);
/* Set the id's value.  -ENOMEM. */
int id_map_put(struct id_map *map, uint64_t id, uint64_t value);
/* Free the memory; the map is empty afterwards. */
void id_map_release(struct id_map *map);

#endif
