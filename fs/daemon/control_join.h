/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The request "join": bring the changes of a state into a fork. */
#ifndef COPPICE_CONTROL_JOIN_H
#define COPPICE_CONTROL_JOIN_H

#include "control_state.h"

/*
 * The arguments of all three: "into", "source", "base", "ff_only", "squash",
 * and the rules (join_rules.h).  control_join() also takes "dry_run", "plan"
 * and "resolve" (join_review.h).
 */
int control_join(struct control *c);
state_change_fn control_join_change;
state_prepare_fn control_join_prepare;

#endif
