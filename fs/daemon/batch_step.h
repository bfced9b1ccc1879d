/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The operations of a batch: coppice-batch(1). */
#ifndef COPPICE_BATCH_STEP_H
#define COPPICE_BATCH_STEP_H

#include "batch_condition.h"
#include "control_state.h"

enum { KEYS_MAX = 9 };

struct operation {
	const char *name;
	/* The key of the state that conditions are about. */
	const char *subject;
	/* The keys beside the conditions': KEY, or KEY:WHAT_THE_VERB_CALLS_IT.
	 */
	const char *keys[KEYS_MAX];
	size_t needed; /* so many of them, the first ones, must be there */
	state_change_fn *change;
	state_prepare_fn *prepare; /* NULL: it needs no tree */
};

/* An operation of a request; all zero at first, and not to be moved. */
struct step {
	const struct operation *operation;
	json_t *op;      /* as it was given; the request's */
	json_t *request; /* what the verb reads */
	json_int_t line;
	unsigned builds; /* how often its tree has been built */
	struct batch_seen seen;
	struct state_change change;
};

/*
 * Read an operation, and check its keys and the types of their values.  If it
 * fails, the error message is set; the step is to be released nevertheless.
 */
int batch_step_read(struct control *c, json_t *op, struct step *step);
/* Lock NOT held. */
void batch_step_release(struct control *c, struct step *step);

#endif
