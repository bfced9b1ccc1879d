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
	/* The keys besides the conditions': KEY, or KEY:KEY_OF_THE_VERB. */
	const char *keys[KEYS_MAX];
	size_t needed; /* the first `needed` keys must be given */
	state_change_fn *change;
	state_prepare_fn *prepare; /* NULL: the operation needs no tree */
};

/* An operation of a request; all zero at first, and not to be moved. */
struct step {
	const struct operation *operation;
	json_t *op;      /* as given; borrowed from the batch's request */
	json_t *request; /* for the verb, with the verb's keys */
	json_int_t line;
	unsigned builds; /* how often its tree has been built */
	struct batch_seen seen;
	struct state_change change;
};

/*
 * Read an operation and check its keys and the types of their values.  On
 * failure set the error message and return a negative errno; the step must be
 * released all the same.
 */
int batch_step_read(struct control *c, json_t *op, struct step *step);
/* Free the members of a step.  Lock NOT held. */
void batch_step_release(struct control *c, struct step *step);

#endif
