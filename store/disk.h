/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Access to LMDB: the environment and its databases, and the one place that
 * maps LMDB's errors to errno.  Inside store/ only.
 *
 *   blocks   number << 6 | fragment  (MDB_INTEGERKEY)  at most 4,080 bytes
 *   records  table, key              value
 *   lists    list, first number      a run of deadlist entries: list_run.h
 *   hashes   64 bits of content hash (MDB_INTEGERKEY)  chunk number
 *   aliases  number                  (MDB_INTEGERKEY)  number with the content
 *   counts   number                  (MDB_INTEGERKEY)  references, if 2 or more
 */
#ifndef COPPICE_DISK_H
#define COPPICE_DISK_H

#include <lmdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	DISK_VALUE_MAX = 4080, /* largest value that takes one page */
	DISK_LEAF_MAX = 2022,  /* largest value that is within a leaf */
	DISK_FRAGMENT_BITS = 6,
	DISK_FRAGMENTS = 1 << DISK_FRAGMENT_BITS,
	DISK_PAGE = 4096,
};
#define DISK_MAP_SIZE (UINT64_C(1) << 40)

struct meta;
struct page_check;

enum { DISK_READERS = 1000 }; /* read transactions at a time */

/*
 * One opening of the environment.  LMDB refuses all further use of an
 * environment after it could not write a meta page.  Then the file is opened
 * again, and the former opening stays until its last reader has ended.
 * disk.pool_lock guards all but the first three fields.
 */
struct opening {
	struct disk *disk;
	MDB_env *env;
	struct page_check *check; /* of what is written; NULL: read-only */
	struct opening *older;
	unsigned txns;     /* read transactions, with those in the pool */
	unsigned running;  /* those that are not in the pool */
	unsigned ended;    /* those that have ended so far; wraps */
	MDB_txn *pool[64]; /* ended ones, for reuse */
	unsigned pool_len;
};

/* Reasons for opening the file read-only. */
enum disk_fault {
	DISK_SOUND,
	DISK_META,  /* a meta page is damaged: the other one is used */
	DISK_OLDER, /* pages of the last transaction are damaged: the one before
	               is used */
	DISK_SHORT, /* pages that are in use are missing at the end */
};

struct disk {
	/* constant */
	char *path;
	enum disk_fault fault;
	int bad_meta; /* DISK_META: the page */
	int dir;      /* the directory */
	int fd;       /* data.mdb */
	uint64_t map_size;
	bool readonly;
	MDB_dbi blocks, records, lists, hashes, dedup_refs, refcounts;
	/* used by the writer only */
	struct meta *metas; /* as the last commit left them; NULL: read-only */
	bool dead;          /* the newest opening cannot be used */
	bool uncertain;     /* the newest meta page may not be durable */

	pthread_mutex_t pool_lock; /* guards the rest */
	pthread_cond_t changed;
	struct opening *opening; /* the newest; its `older` leads to the rest */
	bool committing;         /* or opening again after it failed */
	unsigned waiting;        /* threads waiting for `changed` */
};

/* Return the negative errno for a code of LMDB. */
int disk_error(int code);

/*
 * disk_env.c: open the databases of an open environment (create: make them).
 * disk_open() calls this if it creates the file.  Otherwise it reads only the
 * meta pages, so that the caller can check the file before this call.
 */
int disk_open_tables(struct disk *disk, bool create, bool readonly);
/*
 * Open the environment (create: make it).  -EMEDIUMTYPE: the file has another
 * format; -EUCLEAN: its meta pages are damaged; -EBADMSG: one of them is
 * damaged, and the file can only be opened read-only.
 */
int disk_open(struct disk *disk, const char *path, uint64_t map_size,
              bool create, bool readonly);
/* Open the file read-only as of the last transaction but one.  -EUCLEAN. */
int disk_open_older(struct disk *disk, const char *path, uint64_t map_size);
/* Return the size of the map: DISK_MAP_SIZE, or less by COPPICE_MAP_SIZE. */
uint64_t disk_map_size(void);
/* Lengthen the file to the last page that its meta page counts. */
int disk_lengthen(struct disk *disk);
void disk_close(struct disk *disk);

/*
 * disk_write.c: begin the write transaction, one at a time.  -EUCLEAN: the
 * records of the databases are damaged.  -EIO: also if an environment that was
 * given up is still being read.
 */
int disk_write_begin(struct disk *disk, MDB_txn **ret_txn);
/*
 * Commit the transaction.  After an error, none of its changes remain, and
 * another one may be begun.
 */
int disk_write_commit(struct disk *disk, MDB_txn *txn);

/*
 * Begin a read transaction.  If there are too many, wait for one to end: a
 * thread must hold only a few.
 */
int disk_read_begin(struct disk *disk, MDB_txn **ret_txn);
void disk_read_end(struct disk *disk, MDB_txn *txn);
/*
 * Return true if the environment of the read transaction was given up: until
 * the transaction ends, no data can be written.
 */
bool disk_read_outdated(struct disk *disk, MDB_txn *txn);

/* mdb_env_info() of the newest opening. */
void disk_info(struct disk *disk, MDB_envinfo *ret_info);

/*
 * Return the bytes of the file up to its last page, and how many of them are
 * free.
 */
int disk_usage(struct disk *disk, uint64_t *ret_used, uint64_t *ret_free);

/* mdb_stat(), likewise guarded: see disk_find(). */
int disk_stat(MDB_txn *txn, MDB_dbi dbi, MDB_stat *ret_stat);
/* Return the bytes of the file that a database takes. */
int disk_table_bytes(struct disk *disk, MDB_dbi dbi, uint64_t *ret_bytes);
struct disk_free {
	uint64_t usable; /* bytes of free pages that the next transaction may
	                    use */
	uint64_t coming; /* bytes of pages freed by the last transaction:
	                    usable after the next one */
	bool pinned;     /* some reader still sees other free pages */
};
/* Count the free pages, in time proportional to their lists. */
int disk_count_free(struct disk *disk, struct disk_free *ret_free);

/*
 * mdb_get() and mdb_cursor_get() with the codes of LMDB, for reading what may
 * be damaged: they return MDB_CORRUPTED instead of faulting.  The returned key
 * and value are readable and within their bounds: a key has 1 to 511 bytes, of
 * which at least 8 can be read, and a value has at most DISK_VALUE_MAX.
 */
int disk_find(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *ret_value);
int disk_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *value,
                    MDB_cursor_op op);
/* Do the same without touching the value, which the caller must not read. */
int disk_cursor_where(MDB_cursor *cursor, MDB_val *key, MDB_val *value,
                      MDB_cursor_op op);

/*
 * Do what mdb_cursor_open() does, likewise guarded: it reads the root of the
 * database.  The caller closes the cursor.
 */
int disk_cursor_open(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **ret_cursor);

/* Look up the value of a number. -ENOENT. */
int disk_get(MDB_txn *txn, MDB_dbi dbi, uint64_t number, MDB_val *ret_value);
/* Look up the u64 stored under a number. */
int disk_get_u64(MDB_txn *txn, MDB_dbi dbi, uint64_t number,
                 uint64_t *ret_value);

/*
 * mdb_put(), mdb_del() and those of a cursor, with the codes of LMDB, in a
 * write transaction of disk_write_begin().  If pages that they would change are
 * damaged, they return MDB_CORRUPTED and change nothing.
 */
int disk_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value);
int disk_del(MDB_txn *txn, MDB_dbi dbi, MDB_val *key);
int disk_cursor_put(MDB_cursor *cursor, MDB_val *key, MDB_val *value,
                    unsigned flags);
/* Delete the entry at the cursor, which has this key. */
int disk_cursor_del(MDB_cursor *cursor, MDB_val *key);

int disk_put_u64(MDB_txn *txn, MDB_dbi dbi, uint64_t number, uint64_t value);
int disk_del_u64(MDB_txn *txn, MDB_dbi dbi, uint64_t number);

#endif
