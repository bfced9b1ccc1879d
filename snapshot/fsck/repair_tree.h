/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The items of the new tree of one version. */
#ifndef COPPICE_SNAPSHOT_REPAIR_TREE_H
#define COPPICE_SNAPSHOT_REPAIR_TREE_H

#include "repair.h"

/* Release the new store's lock for a moment, once in a number of calls. */
int repair_yield(struct repair *repair);
/* Put an item.  If it replaces another, the chunk of that is dropped. */
int repair_put(struct repair *repair, const struct key *key, const void *value,
               size_t len);
/* Delete an item.  Missing items are ignored. */
int repair_del(struct repair *repair, const struct key *key);
/* Copy the readable items of the old tree. */
int repair_copy(struct repair *repair);

#endif
