/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checks of the pages that a transaction is about to change.  A read that
 * follows a damaged page ends in a fault, which can be caught; a change would
 * write to any address.  So the pages on the way to a key are checked before
 * LMDB changes the entry, each once in a transaction.  The checks look at pages
 * as the last commit left them; those that this transaction has written are
 * intact.  Inside store/ only.
 */
#ifndef COPPICE_PAGE_CHECK_H
#define COPPICE_PAGE_CHECK_H

#include <lmdb.h>
#include <stdbool.h>

struct page_check;

/*
 * Create the checks of one environment of the store at the path, which must
 * stay valid.  NULL: no memory.
 */
struct page_check *page_check_create(const char *path);
void page_check_destroy(struct page_check *check);
/*
 * Register the handle of the database of this name; the name must stay valid.
 * txn is a read transaction that sees the database.  Return a code of LMDB.
 */
int page_check_name(struct page_check *check, MDB_txn *txn, const char *name,
                    MDB_dbi dbi);

/*
 * Begin the checks of a write transaction that has changed nothing yet: check
 * the records of the databases.  This and the following functions return
 * -ENOMEM, or -EUCLEAN for a damaged page, which they log once.
 */
int page_check_begin(struct page_check *check, MDB_txn *txn);
/*
 * Check the pages for putting or (removal) deleting the key.  A deletion may
 * join its page with a neighbour.
 */
int page_check_key(struct page_check *check, MDB_dbi dbi, const MDB_val *key,
                   bool removal);
/* Check the pages that the commit of the transaction will change. */
int page_check_end(struct page_check *check);

#endif
