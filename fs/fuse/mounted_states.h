/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The states that several sessions reach, or that any session uses. */
#ifndef COPPICE_MOUNTED_STATES_H
#define COPPICE_MOUNTED_STATES_H

#include "session.h"

/*
 * Return true if another session reaches the state, and the state is writable.
 * Policy held to read.
 */
bool session_shares(struct session *session, uint64_t state);

/*
 * Return true if a session's kernel may still use the number of a deleted
 * state; otherwise remove the number from the cache of states.  Store's lock
 * held.
 */
bool mounted_states_in_use(void *arg, uint64_t number);

/* Add the session (-ENOMEM), or remove it.  Policy held to write. */
int mounted_states_join(struct mounts *mounts, struct session *session);
void mounted_states_leave(struct mounts *mounts, struct session *session);

#endif
