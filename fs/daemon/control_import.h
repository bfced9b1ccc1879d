/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb `import`. */
#ifndef COPPICE_CONTROL_IMPORT_H
#define COPPICE_CONTROL_IMPORT_H

#include "control_verb.h"

/*
 * Make the directory "path" (missing: all) of the fork "name" equal to the
 * files that arrive as frames (import_code.h) at the socket c->fd.  "snapshot":
 * the name of a snapshot to make of the result; "rules": see control_rules.h;
 * "delete_excluded", "no_delete", "checksum", "ignore_ctime", "dry_run": true
 * or false.  With "list", send a row of control_diff_trees() for each name that
 * differs.  The answer has the state's "name" and the counts.  -EBUSY: the fork
 * was written to meanwhile, and nothing has changed.
 */
int control_import(struct control *c);

#endif
