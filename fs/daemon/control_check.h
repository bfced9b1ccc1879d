/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb `check`. */
#ifndef COPPICE_CONTROL_CHECK_H
#define COPPICE_CONTROL_CHECK_H

#include "control.h"

/*
 * Check the store, pass the findings to fn as rows, and add their number to the
 * answer as "found".  The store may be too damaged for any other verb.
 * A negative errno: the store could not be checked, or fn ended the request.
 */
int control_check(struct store *store, json_t *request, control_row_fn *fn,
                  void *arg, json_t *answer);

#endif
