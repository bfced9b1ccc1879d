/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random work on a store, one change at a time, with a model that knows what
 * must be seen after each.
 */
#ifndef COPPICE_WORK_H
#define COPPICE_WORK_H

#include <stdio.h>
#include <stdlib.h>

#include "model.h"

struct work {
	struct store *store;
	struct forest *forest;
	struct fs *fs;
	struct model model;
	uint64_t random;
	uint64_t names; /* given out so far */
	node_t open;    /* a file that was unlinked while open; 0: none */
	struct store_options options; /* 0: defaults of the tests */
};

/* Make a store at the path and open it.  params: NULL for random ones. */
void work_init(struct work *w, const char *path, uint64_t seed,
               const struct store_params *params);
void work_open(struct work *w, const char *path);
void work_close(struct work *w);
/* Forget the model, too; the store is closed already. */
void work_release(struct work *w);

/* Make a random change, or none. */
void work_step(struct work *w);
/* Check that the store has what the model has. */
void work_compare(struct work *w);

/* For a child that is expected to complain: nothing of it is shown. */
static inline void quiet(void)
{
	if (!freopen("/dev/null", "w", stderr))
		abort();
}

#endif
