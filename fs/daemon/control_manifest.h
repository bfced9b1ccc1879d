/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb `manifest`: everything in a state, with digests. */
#ifndef COPPICE_CONTROL_MANIFEST_H
#define COPPICE_CONTROL_MANIFEST_H

#include "control_verb.h"

/*
 * Send a row for each file below "path" of the state "name", as of one instant:
 * directories before what is in them, the entries of each in the order of their
 * bytes.  "hash" ("sha256" or "xxh3") has files' digests computed.
 */
int control_manifest(struct control *c);

#endif
