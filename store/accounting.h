/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Space accounting: for each version, the entries and bytes of its deadlist and
 * the stored bytes of the blocks charged to it.  A commit gathers the changes
 * in memory and applies them at its end.  Inside store/ only.
 */
#ifndef COPPICE_ACCOUNTING_H
#define COPPICE_ACCOUNTING_H

#include <lmdb.h>
#include <stdint.h>

#include "codec.h"

struct store;

enum { LIST_KEY_LEN = 16 };
/*
 * Set the key in the database of lists: that of the list's run which begins
 * with the number `first`, or, if `first` is 0, of the list's usage record.
 */
static inline void list_key(uint8_t key[LIST_KEY_LEN], uint64_t list,
                            uint64_t first)
{
	be64_put(key, list);
	be64_put(key + 8, first);
}

struct usage {
	uint64_t list;
	int64_t entries, bytes; /* of the deadlist */
	int64_t unique;         /* stored bytes of the blocks charged to it */
};

/* Changes of usage within one transaction. */
struct accounting {
	struct usage *usages;
	size_t len, capacity;
	uint32_t *index; /* see number_index.h */
	size_t index_size;
};

/*
 * Return the change of the list's usage, for the caller to add to; valid until
 * the next call.
 */
struct usage *accounting_get(struct accounting *accounting, uint64_t list);
void accounting_release(struct accounting *accounting);
/* Add the changes to the usage records in the map. */
int accounting_apply(struct store *store, MDB_txn *txn,
                     struct accounting *accounting);
/* Charge to `to` all bytes that are charged to `from`. */
int accounting_transfer(struct store *store, MDB_txn *txn,
                        struct accounting *accounting, uint64_t from,
                        uint64_t to);

/* Read the usage record of the list; zeroes if there is none.  -EUCLEAN. */
int usage_get(struct store *store, MDB_txn *txn, uint64_t list,
              struct usage *ret_usage);
/* Write the usage record, or delete it if all of it is zero. */
int usage_put(struct store *store, MDB_txn *txn, const struct usage *usage);

#endif
