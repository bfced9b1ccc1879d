/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The names of a plan: which inode has a name in a face, or in the results.
 * Private to the planner: join_plan.h.
 */
#ifndef COPPICE_SNAPSHOT_JOIN_PLACE_H
#define COPPICE_SNAPSHOT_JOIN_PLACE_H

#include "join_plan.h"

/* A name in one face, or, with face 0, in the results. */
struct place {
	uint64_t parent;
	const char *name; /* borrowed from the plan */
	unsigned face;
	struct join_inode *inode;
};

/* All zero: none. */
struct places {
	struct place *at; /* in the order of place_compare(), once sorted */
	size_t count, room;
};

void places_release(struct places *places);
/* Append a name; the list is to be sorted before it is searched.  -ENOMEM */
int places_add(struct places *places, const struct join_name *name,
               unsigned face, struct join_inode *inode);
/* Add a name to a sorted list where it belongs.  -ENOMEM */
int places_insert(struct places *places, const struct join_name *name,
                  unsigned face, struct join_inode *inode);
void places_sort(struct places *places);
/* Return the inode that has the name in the face, or NULL. */
struct join_inode *places_find(const struct places *places,
                               const struct join_name *name, unsigned face);
/* Compare by directory, name and face. */
int place_compare(const void *a, const void *b);

#endif
