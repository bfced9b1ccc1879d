/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts of a plan.  Private to the planner: join_plan.h. */
#ifndef COPPICE_SNAPSHOT_JOIN_PLAN_STRUCT_H
#define COPPICE_SNAPSHOT_JOIN_PLAN_STRUCT_H

#include "join_place.h"

struct plan_ref {
	uint64_t ino; /* the number it was added by */
	struct join_inode *inode;
};

struct join_plan {
	unsigned faces;
	struct plan_ref *refs; /* ascending, once the plan is made */
	size_t count, room;
	struct places places;
	struct arena *arena; /* the strings */
	const struct join_ops *ops;
	bool again; /* a decision was taken in this round */
};

/* Copy `len` bytes into the plan, as a string.  NULL: no memory. */
const char *plan_string(struct join_plan *plan, const char *text, size_t len);

#endif
