/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests that change one thing of many states.  All states are looked at
 * before the first one is changed.
 */
#ifndef COPPICE_CHANGE_STATES_H
#define COPPICE_CHANGE_STATES_H

#include "command.h"
#include "store_access.h"
#include "target.h"

/* States named by the arguments of a verb, and their store. */
struct named_states {
	struct target target;
	char **names; /* ends with NULL */
};

/* Resolve the arguments; `own`: see target_state().  Return an exit code. */
int named_states_init(struct named_states *states, const char *store, bool own,
                      int argc, char **argv);
void named_states_release(struct named_states *states);

/*
 * Send the request, which is released, with "names" to the store, in as many
 * pieces as needed.  NULL: no memory.  Return an exit code.
 */
int change_states(const struct named_states *states, json_t *request);

/*
 * Run a verb `[-s STORE] WORD STATE...` whose request has the verb's name, and
 * WORD at the key.  Return an exit code.
 */
int change_states_run(const struct command *self, const char *key, int argc,
                      char **argv);

#endif
