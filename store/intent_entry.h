/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The payload of an entry of the intent log: the changes of a transaction group
 * since its last entry, each with its kind in the first byte.  Inside store/
 * only.
 */
#ifndef COPPICE_INTENT_ENTRY_H
#define COPPICE_INTENT_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct txg;
struct writer;

/*
 * Write the tracked changes of the open group, and mark them as logged.  Return
 * false if there were none.  *ret_more: some did not fit; with NULL, all must
 * fit.  If that fails, or if a change cannot be logged, set out->bad and stop
 * tracking the group.  Lock held.
 */
bool intent_encode(struct store *store, struct txg *txg, struct writer *out,
                   bool *ret_more);

/*
 * Apply the changes to the open group.  -EUCLEAN: they are malformed, and the
 * store must be closed without a commit.  Lock held.
 */
int intent_decode(struct store *store, const void *data, size_t len);

#endif
