/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The names of a plan. */
#include "join_place.h"

#include <errno.h>

#include "array.h"

int place_compare(const void *a, const void *b)
{
	const struct place *left = a, *right = b;
	int order = number_order(left->parent, right->parent);

	if (!order)
		order = strcmp(left->name, right->name);
	return order ? order : number_order(left->face, right->face);
}

void places_release(struct places *places)
{
	free(places->at);
	*places = (struct places){0};
}

int places_add(struct places *places, const struct join_name *name,
               unsigned face, struct join_inode *inode)
{
	struct place *place =
	        array_add(&places->at, &places->count, &places->room);

	if (!place)
		return -ENOMEM;
	*place = (struct place){name->parent, name->name, face, inode};
	return 0;
}

int places_insert(struct places *places, const struct join_name *name,
                  unsigned face, struct join_inode *inode)
{
	const struct place place = {name->parent, name->name, face, inode};
	int err = places_add(places, name, face, inode);
	size_t at = places->count - 1;

	if (err)
		return err;
	while (at && place_compare(&places->at[at - 1], &place) > 0) {
		places->at[at] = places->at[at - 1];
		at--;
	}
	places->at[at] = place;
	return 0;
}

void places_sort(struct places *places)
{
	array_sort(places->at, places->count, place_compare);
}

struct join_inode *places_find(const struct places *places,
                               const struct join_name *name, unsigned face)
{
	struct place want = {name->parent, name->name, face, NULL}, *found;

	if (!places->count)
		return NULL;
	found = bsearch(&want, places->at, places->count, sizeof(want),
	                place_compare);
	return found ? found->inode : NULL;
}
