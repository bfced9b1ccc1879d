/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The request "batch": operations on states that happen all or not at all.
 *
 * The operations are checked and applied in turn, in one hold of the store's
 * lock: each finds the results of those before it, requests of mounts see all
 * of them or none, and one transaction group contains all of them, so that a
 * crash leaves all or none.  If an operation fails, or in a dry run, the
 * records are restored (forest_undo.h).  The kernels' caches are invalidated
 * after the lock has been released.
 *
 * A join, a clone or the restoration of a file needs a tree (prepared.h), and
 * the operations before it determine the versions that the tree is built from.
 * Therefore the operations are applied up to the first one whose tree is
 * missing, the versions that it needs are noted, and all is undone.  The tree
 * is built without the lock, and the operations are applied again, until all
 * trees are there and still fit.  A batch that fails leaves only unnamed side
 * heads.
 */
#ifndef COPPICE_CONTROL_BATCH_H
#define COPPICE_CONTROL_BATCH_H

#include "control_verb.h"

enum {
	BATCH_OPS_MAX = 100000,
	BATCH_TREES_MAX = 1000, /* operations that clone, join or restore */
};

/*
 * "ops": an array of objects; "lines": their line numbers, for messages;
 * "dry_run".  Send a row for each operation: its line, "op", and the state
 * afterwards, with null for numbers that a dry run does not know and for a
 * deleted state's version.
 */
int control_batch(struct control *c);

#endif
