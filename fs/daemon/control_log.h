/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb `log`. */
#ifndef COPPICE_CONTROL_LOG_H
#define COPPICE_CONTROL_LOG_H

#include "control_verb.h"

/*
 * Send a row for each version of the file "path" of "state" and of the states
 * that it came from, the newest first.  Flags: "all" (times count, too),
 * "no_follow" (the path alone, whatever file has it), "deleted" (continue where
 * the file is missing).  The cost is one lookup of a file in each state.
 */
int control_log(struct control *c);

#endif
