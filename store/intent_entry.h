/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The payload of an entry of the intent log: what a transaction group has
 * changed since its last entry, as a row of changes, each with its kind in the
 * first byte.  Inside store/ only.
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
 * Write the changes of the open group, which it tracks, and take them for
 * logged.  False: nothing was written.  ret_more is set if some did not fit; if
 * it is NULL, out->bad is set then, and the group is not tracked any more.
 * Lock held.
 */
bool intent_encode(struct store *store, struct txg *txg, struct writer *out,
                   bool *ret_more);

/*
 * Make the changes in the open group.  -EUCLEAN: they are malformed, and the
 * store must be closed without a commit.  Lock held.
 */
int intent_decode(struct store *store, const void *data, size_t len);

#endif
