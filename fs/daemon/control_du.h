/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb `du`: the space of states. */
#ifndef COPPICE_CONTROL_DU_H
#define COPPICE_CONTROL_DU_H

#include "control_verb.h"

/*
 * Send a row for each of the states "names" (with "recursive", also for each of
 * the snapshots of the forks among them), or for all states if the request has
 * no "names".  With "names", the answer's "frees" is the number of bytes that
 * deleting them together would free.
 */
int control_du(struct control *c);

#endif
