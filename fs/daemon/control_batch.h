/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The request "batch": operations on states that happen all or not at all.
 *
 * Each operation is checked and done in turn, in one hold of the store's lock,
 * so that it finds the result of those before it.  If one fails, or in a dry
 * run, the records are restored (forest_undo.h).  As the lock is held from the
 * first to the last, requests of mounts see all of them or none, and one
 * transaction group has all of them: a crash leaves all or none.  What kernels
 * have cached is invalidated when the lock has been released.
 *
 * A join, a clone or the restoration of a file needs a tree, which is built
 * first (prepared.h).  The operations before it determine of what: so
 * they are done, up to the first one whose tree is missing, the versions that
 * it needs are noted, and all is undone.  The tree is built without the lock,
 * and the operations are done again, until all trees are there and still fit.
 * A batch that fails leaves only side heads that nobody names.
 */
#ifndef COPPICE_CONTROL_BATCH_H
#define COPPICE_CONTROL_BATCH_H

#include "control_verb.h"

enum {
	BATCH_OPS_MAX = 100000,
	BATCH_TREES_MAX = 1000, /* of them need trees, or replace one */
};

/*
 * "ops": an array of objects; "lines": their line numbers, for messages;
 * "dry_run".  A row an operation: its line, "op", and the state afterwards;
 * null for what is not known in a dry run, and for a deleted state's version.
 */
int control_batch(struct control *c);

#endif
