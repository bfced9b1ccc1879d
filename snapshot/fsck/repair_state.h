/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The states that a repair keeps.  Errors: -ENOMEM; -ENOSPC: no number is free;
 * -ECANCELED, or the callback's result: a callback ended the repair.
 */
#ifndef COPPICE_SNAPSHOT_REPAIR_STATE_H
#define COPPICE_SNAPSHOT_REPAIR_STATE_H

#include "repair_plan.h"

/* Return true if a state can have the number. */
bool plan_number_good(uint64_t number);
/*
 * Keep the state if it can be read, else add it to the lost ones.  Ignored
 * unless it is a fork (`forks`) or a snapshot (not `forks`).
 */
int plan_state(struct plan *p, const struct check_state *s, bool forks);
/* Add states that have a name and no record to the lost ones. */
int plan_names(struct plan *p);
/*
 * Give each head (`head`) or frozen version whose state is missing to a lost
 * state or to a new one.
 */
int plan_recover_states(struct plan *p, bool head);
/* Find a kept state by its number; NULL: there is none. */
struct repair_state *plan_kept_find(struct repair *repair, uint64_t number);
/* Recreate each lost fork from its newest snapshot. */
int plan_recover_forks(struct plan *p);
/* Report the states that stay lost. */
int plan_report_lost(struct plan *p);

#endif
