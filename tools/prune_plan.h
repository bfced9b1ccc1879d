/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The plan of `prune` for one fork and its snapshots, made from the rows of
 * `list`.  Needs no access to the store.
 */
#ifndef COPPICE_PRUNE_PLAN_H
#define COPPICE_PRUNE_PLAN_H

#include <jansson.h>

#include "retention.h"

struct prune_policy {
	struct retention retention;
	bool rules;   /* remove snapshots that no rule keeps */
	bool expired; /* remove states whose ttl has passed */
	bool all;     /* remove even a fork's newest snapshot */
	int64_t now;  /* ns since the epoch */
};

enum { REASON_MAX = 256 };

/* A state, from a row. */
struct prune_state {
	json_t *row;
	int64_t created;
	bool held, is_default;
	int64_t expires; /* ns since the epoch; 0: never */
	bool remove;
	bool with_fork;          /* removed together with its fork */
	char reason[REASON_MAX]; /* empty: no rule concerns the state */
};

/* A fork and its snapshots, in any order; prune_plan_make() sorts them. */
struct prune_plan {
	struct prune_state fork; /* row NULL: it is not listed */
	struct prune_state *snapshots;
	size_t len, capacity;
};

/* Add a row, with a new reference.  -ENOMEM; -EINVAL: the row is not valid. */
int prune_plan_add(struct prune_plan *plan, json_t *row);
/*
 * Decide for each state whether it is removed, with the reason.  Sorts the
 * snapshots from the newest to the oldest.  -ENOMEM.
 */
int prune_plan_make(struct prune_plan *plan, const struct prune_policy *policy);
/* Remove all states from the plan. */
void prune_plan_release(struct prune_plan *plan);

#endif
