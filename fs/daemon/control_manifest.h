/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb `manifest`: everything in a state, with digests. */
#ifndef COPPICE_CONTROL_MANIFEST_H
#define COPPICE_CONTROL_MANIFEST_H

#include "control_verb.h"

/*
 * Send a row for "path" of the state "name", as of one instant, and for each
 * file below it: directories before their entries, which are in the order of
 * their bytes.  With "hash" ("sha256" or "xxh3"), rows of regular files have a
 * digest.
 */
int control_manifest(struct control *c);

#endif
