/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Freeing stored blocks.  A stored block is referenced by numbers (its own and
 * those of dedup references), and by the deltas and splices of which it is a
 * base.  It has a reference count if there are two or more, and is deleted with
 * the last one.  Inside store/ only.
 */
#ifndef COPPICE_FREE_H
#define COPPICE_FREE_H

#include <lmdb.h>
#include <stdint.h>

struct accounting;
struct store;

enum { SHARE_MIN = 4096 }; /* bytes of content worth an entry in `hashes` */

/* Add a reference to the stored block. */
int refcount_up(struct store *store, MDB_txn *txn, uint64_t number);
/*
 * Drop a reference to the stored block.  If it was the last one, delete the
 * block, add its size to *ret_bytes, and drop its references to its bases in
 * the same way.
 */
int stored_free(struct store *store, MDB_txn *txn, uint64_t number,
                uint64_t *ret_bytes);
/*
 * Free the number, which is charged to `owner`, but not yet the stored block
 * *ret_target: the number's own, or the target of its dedup reference.
 * -ENOENT: there is none (logged).
 */
int name_free(struct store *store, MDB_txn *txn, uint64_t number,
              uint64_t owner, struct accounting *accounting,
              uint64_t *ret_target);
/*
 * Free the number, and drop its reference to the stored block.  *ret_bytes:
 * stored bytes deleted.  A missing block is logged, and is no error.
 */
int commit_free(struct store *store, MDB_txn *txn, uint64_t number,
                uint64_t owner, struct accounting *accounting,
                uint64_t *ret_bytes);

#endif
