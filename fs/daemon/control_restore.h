/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The request "restore": copy a file or all of a state back into a fork. */
#ifndef COPPICE_CONTROL_RESTORE_H
#define COPPICE_CONTROL_RESTORE_H

#include "control_state.h"

/*
 * "source", "source_path", "into", "into_path", "dry_run"; unless "no_undo" is
 * set, make a snapshot of the fork first.
 */
int control_restore(struct control *c);
/*
 * "into", "into_path", "source", "source_path"; with "undo", make a snapshot
 * first.  The restoration of a whole fork needs no prepared tree.
 */
state_change_fn control_restore_change;
state_prepare_fn control_restore_prepare;

#endif
