/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb `gc`: free the space of deleted states, and report the progress. */
#ifndef COPPICE_CONTROL_GC_H
#define COPPICE_CONTROL_GC_H

#include "control_verb.h"

/*
 * Answer with "backlog", the number of deleted versions and snapshots that are
 * still to be freed, "trash", the number of states in the trash, and
 * "avail_bytes" and "free_bytes" as of "stat".  Before that, with the flag
 * "trash", empty the trash; with "deep", sweep versions (with "dry_run", only
 * report them) and send a row for each; with "drain", wait until the backlog is
 * 0.  With "measure", the answer has "trash_bytes", too.
 */
int control_gc(struct control *c);

#endif
