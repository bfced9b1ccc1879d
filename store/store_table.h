/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tables of small ordered records.  A part of store.h: include that. */
#ifndef COPPICE_STORE_TABLE_H
#define COPPICE_STORE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

/*
 * Records have keys of up to TABLE_KEY_MAX bytes, in memcmp order.  A change is
 * seen by the next look-up and reaches the disk with its transaction group.
 */
enum table {
	TABLE_META = 1,
	TABLE_STATE,    /* by state number */
	TABLE_NAME,     /* by fork number and name */
	TABLE_TIME,     /* by fork number and time */
	TABLE_VERSION,  /* by version */
	TABLE_TASK,     /* background work to resume */
	TABLE_HOLD,     /* joins that hold a version */
	TABLE_ORPHAN,   /* states with unlinked inodes to clean up */
	TABLE_SYMLINK,  /* in the root, by inode number and by name */
	TABLE_PROPERTY, /* of states, by state number: properties and holds */
	TABLE_TRASH,    /* deleted states that can come back */
	TABLE_COUNT,
};
enum { TABLE_KEY_MAX = 320, TABLE_VALUE_MAX = 1500 };

struct record {
	uint8_t key[TABLE_KEY_MAX];
	uint32_t key_len;
	uint8_t value[TABLE_VALUE_MAX];
	uint32_t len;
};

/* All of these: lock held. */

/* Copy the record with this key to *ret_record.  -ENOENT. */
int table_get(struct store *store, enum table table, const void *key,
              size_t key_len, struct record *ret_record);
/* Insert the record or replace its value. */
int table_put(struct store *store, enum table table, const void *key,
              size_t key_len, const void *value, size_t len);
/* Remove the record.  A missing record is no error. */
int table_del(struct store *store, enum table table, const void *key,
              size_t key_len);
/* Find the first record whose key is at or after `key`.  -ENOENT. */
int table_seek(struct store *store, enum table table, const void *key,
               size_t key_len, struct record *ret_record);
/* Find the first record whose key is after `key`.  -ENOENT. */
int table_next(struct store *store, enum table table, const void *key,
               size_t key_len, struct record *ret_record);

/*
 * Save records before they are changed, until table_undo_end() in the same hold
 * of the lock.  Not nested.  -ENOMEM.
 */
int table_undo_begin(struct store *store);
/*
 * End that.  With `undo`, restore the saved records; this needs no memory and
 * cannot fail.
 */
void table_undo_end(struct store *store, bool undo);

/*
 * Do the same as table_next() at a bounded cost.  *budget, at least 1, is
 * decremented for each record passed, removed ones included.  -EAGAIN: the
 * budget is used up; continue after the key in *ret_record, which is that of a
 * removed record.
 */
int table_next_within(struct store *store, enum table table, const void *key,
                      size_t key_len, unsigned *budget,
                      struct record *ret_record);

#endif
