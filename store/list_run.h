/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The runs of deadlists.  In the map a list is a row of runs: key (list, first
 * number), value a count, the sum of the sizes, and for each entry, in
 * ascending order, the distance of its number from the one before and its
 * stored size, as varints.  Key (list, 0) has the usage record of the list's
 * version: see accounting.c.  Inside store/ only.
 *
 * The functions return -EUCLEAN if a run cannot be decoded.
 */
#ifndef COPPICE_LIST_RUN_H
#define COPPICE_LIST_RUN_H

#include <lmdb.h>
#include <stddef.h>
#include <stdint.h>

struct store;

enum {
	RUN_BYTES_MAX = 1980,
	RUN_ENTRIES_MAX = RUN_BYTES_MAX / 2,
};

struct entry {
	uint64_t number;
	uint32_t bytes;
};

struct run {
	uint32_t count;
	uint64_t bytes;
	struct entry entries[RUN_ENTRIES_MAX];
};

/* Decode the run with this key and value. */
int run_decode(const MDB_val *key, const MDB_val *value, struct run *run);
/*
 * Find the run that a number belongs to: the last one that begins at or before
 * it, else the first of the list.  *ret_next: the number at which the next run
 * begins, or UINT64_MAX.  -ENOENT: the list has no runs.
 */
int run_find(MDB_cursor *cursor, uint64_t list, uint64_t number, MDB_val *key,
             MDB_val *value, uint64_t *ret_next);
/*
 * Find the first run of the list that has entries above `above`.  -ENOENT:
 * there is none.
 */
int run_above(MDB_cursor *cursor, uint64_t list, uint64_t above,
              struct run *run);
/* Delete the run that begins with the number. */
int run_delete(struct store *store, MDB_txn *txn, uint64_t list,
               uint64_t first);
/* Write entries, ascending, as new runs. */
int runs_put(struct store *store, MDB_txn *txn, uint64_t list,
             const struct entry *entries, size_t count);
/* Merge entries, ascending, into the list's runs. */
int list_insert(struct store *store, MDB_txn *txn, uint64_t list,
                const struct entry *entries, size_t count);

#endif
