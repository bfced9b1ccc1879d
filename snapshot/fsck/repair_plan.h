/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The plan of a repair: which records of the damaged store are kept.  Private
 * to snapshot/.
 */
#ifndef COPPICE_SNAPSHOT_REPAIR_PLAN_H
#define COPPICE_SNAPSHOT_REPAIR_PLAN_H

#include "repair.h"

/* A state whose record or version cannot be read. */
struct lost {
	uint64_t number, fork;
	int64_t created;
	char name[NAME_LEN_MAX + 1];
	bool found; /* its version was found after all */
};

struct plan {
	struct repair *repair;
	struct check *check;
	/* for each version: */
	bool *inner;   /* other versions descend from it */
	bool *snapped; /* a snapshot names it */
	bool *headed;  /* it is the head of a fork */
	bool *held;    /* it was joined into a state */
	size_t *grown; /* number of kept children */
	size_t *kept;  /* index among the kept versions; or NO_VERSION */
	struct lost *lost;
	size_t lost_len, lost_capacity;
	bool *apart; /* for each kept state: it needs a new head */
	size_t apart_capacity;
};

/* Return the index of a version in the check; NO_VERSION: it is unusable. */
size_t plan_version_index(struct plan *p, uint64_t id);
/* Return when the version was made or frozen; if that is unknown, now. */
int64_t plan_version_created(struct plan *p, uint64_t id);

#endif
