/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The numbers of states.  Lock held. */
#ifndef COPPICE_SNAPSHOT_NUMBER_H
#define COPPICE_SNAPSHOT_NUMBER_H

#include "snapshot.h"

enum { STATE_NUMBER_END = 1 << 27 }; /* bound of the field in a node number */

/*
 * Return a number for a new state.  1: success, but the lock was released
 * meanwhile: pointers obtained before are invalid.  -ENOSPC: none is free;
 * -EINTR: see store_yield(); -EAGAIN: see forest_undo_begin().
 */
int number_draw(struct forest *forest, uint64_t *ret_number);
/* Lower STATE_NUMBER_END, for tests; not below a number in use. */
void forest_limit_numbers(struct forest *forest, uint64_t end);

#endif
