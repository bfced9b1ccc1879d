/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The conditions of the operations of a batch: coppice-batch(1). */
#ifndef COPPICE_BATCH_CONDITION_H
#define COPPICE_BATCH_CONDITION_H

#include "control_verb.h"

/*
 * A state whose conditions held when the operations were tried.  If its head
 * was frozen in the same hold of the lock, to build trees, the state has
 * another version since, and conditions about the former version cannot be
 * checked again.  They hold as long as the state has the frozen version's tree.
 */
struct batch_seen {
	uint64_t number, version;
	uint64_t until; /* sequence number at the end of the hold; 0: no freeze
	                 */
};

/*
 * Check the conditions of an operation.  `subject` is the key of the state that
 * some of them are about; `*seen` is all zero at first.  If a condition does
 * not hold, set the error message and return a negative errno.  Lock held.
 */
int batch_conditions_check(struct control *c, json_t *op, const char *subject,
                           struct batch_seen *seen);

#endif
