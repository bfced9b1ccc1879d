/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Requests that read data of some or all states. */
#ifndef COPPICE_READ_STATES_H
#define COPPICE_READ_STATES_H

#include "change_states.h"
#include "row.h"

/*
 * Send the request for each of the states, or once for all states if none is
 * named, print the rows, and release the request.  All names are checked before
 * the first row is printed.  Return an exit code.
 */
int read_states(const struct named_states *states, json_t *request,
                struct printer *printer);

#endif
