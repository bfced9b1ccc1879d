/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests that read something of some states, or of all. */
#ifndef COPPICE_READ_STATES_H
#define COPPICE_READ_STATES_H

#include "change_states.h"
#include "row.h"

/*
 * Send the request, which is released, for each of the states (for all of the
 * store, if there are none), and print the rows.  All states are looked at
 * before the first row is printed.  Return an exit code.
 */
int read_states(const struct named_states *states, json_t *request,
                struct printer *printer);

#endif
