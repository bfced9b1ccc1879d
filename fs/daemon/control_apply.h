/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The request "apply": a batch of changes, in a file in memory. */
#ifndef COPPICE_CONTROL_APPLY_H
#define COPPICE_CONTROL_APPLY_H

#include "control_verb.h"

/*
 * Apply the batch in the sealed memfd c->fd, durably.  "snapshot": the name of
 * a snapshot to make of each of the batch's forks.
 */
int control_apply(struct control *c);

#endif
