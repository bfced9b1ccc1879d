/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs about deleted states that can come back. */
#ifndef COPPICE_CONTROL_TRASH_H
#define COPPICE_CONTROL_TRASH_H

#include "control_verb.h"

/*
 * Bring back the state "number", or the one that had the "name" and was deleted
 * last; under the name "as", if that is given.  A snapshot whose fork is
 * deleted can come back with "as" alone, as a fork.
 */
int control_undelete(struct control *c);
/* Send a row for each state in the trash, the one that goes first as first. */
int control_trash(struct control *c);

#endif
