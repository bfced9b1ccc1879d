/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb that reports the background work, and waits for its end. */
#ifndef COPPICE_CONTROL_GC_H
#define COPPICE_CONTROL_GC_H

#include "control_verb.h"

/*
 * Answer with "backlog", the number of deleted versions and snapshots that are
 * still to be freed, and "avail_bytes" and "free_bytes" as of "stat".  With
 * "drain", wait until the first is 0.
 */
int control_gc(struct control *c);

#endif
