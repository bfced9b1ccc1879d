/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs that list and restore deleted states. */
#ifndef COPPICE_CONTROL_TRASH_H
#define COPPICE_CONTROL_TRASH_H

#include "control_verb.h"

/*
 * Bring back the state "number", or of those named "name" the one deleted last;
 * under the name "as", if given.  If a snapshot's fork is deleted, the snapshot
 * can only come back as a fork, which needs "as".
 */
int control_undelete(struct control *c);
/* Send a row for each state in the trash, the next to expire first. */
int control_trash(struct control *c);

#endif
