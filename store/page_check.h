/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checking the pages that a transaction is about to change.  A read that damage
 * leads astray ends in a fault, which can be caught; a change would write to
 * wherever it was led.  So the pages on the way to a key are looked at before
 * LMDB changes what it stands for, each once in a transaction: those that the
 * transaction before has left, for what this one makes of them is sound.
 * Inside store/ only.
 */
#ifndef COPPICE_PAGE_CHECK_H
#define COPPICE_PAGE_CHECK_H

#include <lmdb.h>
#include <stdbool.h>

struct page_check;

/* For one environment, that of the store at the path; NULL: out of memory. */
struct page_check *page_check_create(const char *path);
void page_check_destroy(struct page_check *check);
/*
 * The handle of the database of this name, which lives as long; in a read
 * transaction that sees it.  An LMDB code.
 */
int page_check_name(struct page_check *check, MDB_txn *txn, const char *name,
                    MDB_dbi dbi);

/*
 * A write transaction has begun and changed nothing yet.  Checks what tells of
 * the databases.  As all that follow: -EUCLEAN with a line in the log, once,
 * for a damaged page; -ENOMEM.
 */
int page_check_begin(struct page_check *check, MDB_txn *txn);
/*
 * The key is about to be put, or (removal) deleted, which may join its page
 * with one beside it.
 */
int page_check_key(struct page_check *check, MDB_dbi dbi, const MDB_val *key,
                   bool removal);
/* The transaction is about to be committed. */
int page_check_end(struct page_check *check);

#endif
