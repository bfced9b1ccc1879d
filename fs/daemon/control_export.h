/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb `export`. */
#ifndef COPPICE_CONTROL_EXPORT_H
#define COPPICE_CONTROL_EXPORT_H

#include "control_verb.h"

/*
 * Send the directory "path" (missing: "/") of the state "name", as it is now,
 * to the socket c->fd (export.h), except for the files that "rules"
 * (control_rules.h) exclude; with "ask" the receiver is asked about each file.
 * The answer has the state's "name", "files", "directories" and "bytes".
 */
int control_export(struct control *c);

#endif
