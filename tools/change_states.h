/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Requests that change many states in the same way.  All states are checked
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
 * Send the request to the store with "names" added, in as many requests as
 * needed, and release it; NULL: no memory.  Return an exit code.
 */
int change_states(const struct named_states *states, json_t *request);

/*
 * Run a verb with the arguments `[-s STORE] WORD STATE...`.  Its request has
 * the verb's name, and WORD at `key`.  Return an exit code.
 */
int change_states_run(const struct command *self, const char *key, int argc,
                      char **argv);

#endif
