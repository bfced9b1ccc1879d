/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The store: a numbered set of blocks (tree nodes and pieces of files), small
 * ordered tables of records, and the deadlists of versions, all kept in one
 * LMDB environment and changed together, a commit at a time.
 *
 * The folders above include this header, util.h, array.h and codec.h, and no
 * others of store/.  The headers store_*.h are parts of it, one for each noun.
 * The store has blocks, trees and records, and nothing of files, states or
 * names.
 *
 * Locking.  One mutex, the store's lock, guards everything in memory.  Where a
 * comment says "lock held", the caller holds it through store_lock(); nodes and
 * item values that such a function returns stay valid until the lock is
 * released or the same tree is changed.  Nothing that may wait for the disk on
 * purpose (a commit, the decompression of a chunk) runs under it.
 *
 * Errors are negative errno values: -ENOENT not there, -ENOSPC the store or
 * its disk is full, -EUCLEAN damaged bytes, -EIO the disk failed, -ENOMEM,
 * -EROFS the store was opened read-only.
 */
#ifndef COPPICE_STORE_H
#define COPPICE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct store;

/* ---- A store as a whole ------------------------------------------------- */

enum {
	STORE_FORMAT_VERSION = 1,
	STORE_CHUNK_BITS_DEFAULT = 16, /* 64 KiB */
	STORE_NODE_SIZE_DEFAULT =
	        2016, /* the largest that fits two to a page */
};

/* Parameters that are fixed when a store is made.  0: the default. */
struct store_params {
	uint32_t node_size;  /* bytes of a tree node, 2016 to 4080 */
	uint32_t chunk_bits; /* log2 of a chunk's bytes, 12 to 17 */
	uint64_t max_size;   /* bytes data.mdb may grow to; 0: no limit */
};

struct store_options {
	bool readonly;
	bool beside;    /* with readonly: another process may be writing; then
	                   the lock file is not taken: see store_mark.h */
	bool committed; /* with readonly: as of the last commit, without the
	                   intent log */
	bool no_log;    /* do not use an intent log */
	bool shared; /* threads may share the lock: see store_lock_shared() */
	uint64_t memory; /* bytes for caches and unsaved changes; 0: as much as
	                    suits the machine: see memory_default.h */
	uint32_t commit_ms; /* longest age of an unsaved change; 0: 4000 */
	uint32_t close_ms;  /* longest time to try to save at close; 0: 5000 */
	uint32_t retry_ms;  /* first pause after a failed commit; 0: 100 */
	/*
	 * Added to the nice value of the thread that commits.  If it is not 0,
	 * callers are many and wait for short calls: the thread leaves their
	 * processor to them now and then, and writers that it cannot follow
	 * wait for it in small steps.
	 */
	int nice;
	int level;       /* zstd level; 0: 3; negative: zstd's fast levels */
	int delta_depth; /* longest chain of deltas; 0: 16; negative: none */
};

struct store_stats {
	uint64_t file_bytes;    /* size of data.mdb */
	uint64_t free_bytes;    /* of it, free for new blocks */
	uint64_t limit_bytes;   /* size it may grow to (map or max_size) */
	uint64_t avail_bytes;   /* may still be written: limit and disk */
	uint64_t pending_bytes; /* changed in memory and not yet committed */
	uint64_t memory_bytes;  /* held in caches, pending included */
	uint64_t memory_limit;  /* the option `memory`, or its default */
	uint64_t list_bytes;    /* of the file, taken by deadlists */
	uint64_t commits;       /* since the store was opened */
	uint64_t logged;        /* entries of the intent log since then */
	uint64_t replayed;      /* entries of it that were replayed then */
	uint64_t seq;
};

/*
 * Make an empty store in the directory `path`, which is created if missing and
 * must otherwise be empty.  -EEXIST: there is a store; -ENOTEMPTY: other files.
 */
int store_create(const char *path, const struct store_params *params);

/*
 * Open the store at `path` and take its lock file.  -EBUSY: another process
 * has it open; -ENOENT: no store there; -ENOMEDIUM: one whose making was not
 * finished (STORE_UNFINISHED); -EPROTONOSUPPORT: a newer format or unknown
 * incompatible features; -EMEDIUMTYPE: not a store; -EUCLEAN: damaged;
 * -EBADMSG: damaged, but it can be opened read-only.
 * The result is owned by the caller and released by store_close().
 */
int store_open(const char *path, const struct store_options *options,
               struct store **ret_store);

/*
 * Open the store read-only as of its last commit, for callers that read the
 * file itself.  The changes in the intent log are committed first; if that
 * fails, they are left out and a warning is logged.  Errors as store_open().
 */
int store_open_committed(const char *path, struct store **ret_store);

/* Return the reason of an error of store_open(), for the end of a message. */
const char *store_open_reason(int err);

/*
 * Return an addition to the reason if the files at the path look like a copy
 * made while the store was open or had not been closed; else "".  The next
 * successful opening for writing replaces the mark that shows this.
 */
const char *store_copy_reason(const char *path, int err);

/*
 * Commit the pending changes, stop the committer and release everything.  NULL
 * is ignored.  A commit that fails is retried for a while; then the last error
 * is returned, and the changes since the last commit are lost.
 */
int store_close(struct store *store);

/* Changes that could not be saved. */
struct store_loss {
	uint64_t bytes; /* of memory that they took */
	uint64_t ms;    /* since the first of them was made */
};
/* Do the same, and set *ret_loss if an error is returned. */
int store_close_loss(struct store *store, struct store_loss *ret_loss);

/*
 * Change the size that the store may grow to; 0: no limit.  If the store is
 * larger already, it is full until enough is deleted.  Lock NOT held.  -EINVAL:
 * below the least size of a store.
 */
int store_resize(struct store *store, uint64_t max_size);

/* Give the store a new uuid.  Lock NOT held.  Durable on return. */
int store_renew_identity(struct store *store);

/*
 * Features that the store uses: a program that does not know one of them
 * refuses to open the store.  A bit is never used for another one.
 */
enum store_feature {
	STORE_FEATURE_TRASH = 1,   /* deleted states that can come back */
	STORE_FEATURE_HOLLOW = 2,  /* versions of which a part was freed */
	STORE_FEATURE_SPLICES = 4, /* chunks made of pieces of others */
	STORE_FEATURE_LOG = 8, /* the file `log` may have what data.mdb lacks */
	STORE_FEATURE_PATCHES = 16,   /* chunks that are read with their base */
	STORE_FEATURE_LARGE_LOG = 32, /* the log may have runs of entries */
};
/* Set or clear a feature with the open group.  Lock held.  -ENOMEM. */
int store_set_feature(struct store *store, enum store_feature feature, bool on);
bool store_has_feature(const struct store *store, enum store_feature feature);

uint32_t store_chunk_size(const struct store *store); /* bytes */
uint64_t store_hash_seed(const struct store *store);
const uint8_t *store_uuid(const struct store *store); /* 16 bytes */
const char *store_path(const struct store *store);    /* as it was opened */
/* Return the present path of the store's directory, which may have moved. */
void store_where(const struct store *store, char *ret_path, size_t size);
bool store_is_readonly(const struct store *store);  /* it was opened so */
uint64_t store_max_size(const struct store *store); /* 0: no limit */
void store_stats(struct store *store, struct store_stats *ret_stats);

/* Return a checksum of some bytes: the low 32 bits of their XXH3. */
uint32_t store_checksum(const void *data, size_t len);
/* Return the seeded 63-bit hash of a name (XXH3). */
uint64_t store_hash(const struct store *store, const void *data, size_t len);

/* ---- The lock ----------------------------------------------------------- */

void store_lock(struct store *store);
void store_unlock(struct store *store);
/*
 * Share the lock with other threads that read what is in memory.  No thread
 * changes it meanwhile, and functions that would have to read the file return
 * -EAGAIN.  Then, and when this returns -EAGAIN itself, take the lock instead.
 * Only for stores opened with `shared`; not nested.
 */
int store_lock_shared(struct store *store);
void store_unlock_shared(struct store *store);
/*
 * Return how often the lock was taken since the store was opened, background
 * threads left out.  Lock held.
 */
uint64_t store_holds(const struct store *store);
/* Leave the calling thread's holds out of store_holds(). */
void store_background(void);

/*
 * Let the threads that wait for the lock take it.  Call this without the lock,
 * between the pieces of long work: the thread that has just released the lock
 * would mostly get it again before they do.  Returns soon in any case.
 * -EINTR: the work may be given up (see store_on_yield()).
 */
int store_yield(struct store *store);
/*
 * Set the function that store_yield() asks whether the calling thread may give
 * up its work, because nobody waits for the result any more.
 */
void store_on_yield(struct store *store, bool (*fn)(void));
/*
 * Set the function that is called with true before the calling thread waits for
 * a commit, and with false afterwards.  It is called with the lock held, and
 * takes no lock.
 */
void store_on_stall(struct store *store, void (*fn)(bool begins));

/*
 * For tests: set the function that is called, under the lock, whenever the lock
 * is released, with the processor time in nanoseconds that the holder has used
 * since it took the lock, and the number of blocks and records that it has
 * looked up.  NULL: none.  -EOPNOTSUPP in a release build.  Lock NOT held.
 */
typedef void store_hold_fn(void *arg, int64_t ns, uint64_t work);
int store_on_unlock(struct store *store, store_hold_fn *fn, void *arg);

/* ---- Counters ----------------------------------------------------------- */

/* Draw the next sequence number; it never repeats.  Lock held. */
uint64_t store_next_seq(struct store *store);

/*
 * Draw the next number of one of the store's other counters, from `first`
 * upwards and below `end`.  It never repeats, not even after a crash.
 * -ENOSPC: all of them were drawn.  Lock held.
 */
enum store_counter { COUNTER_INO, COUNTER_STATE, COUNTER_COUNT };
int store_count(struct store *store, enum store_counter counter, uint64_t first,
                uint64_t end, uint64_t *ret_number);
/* Return the number that a counter is at; set it. */
uint64_t store_counter(const struct store *store, enum store_counter counter);
void store_set_counter(struct store *store, enum store_counter counter,
                       uint64_t next);

/* ---- Damage ------------------------------------------------------------- */

/*
 * Report a damaged block: write a line to the log the first time that it is
 * met.  Lock held or not.  Return -EUCLEAN.
 */
int store_damaged(struct store *store, uint64_t number, const char *what);
/*
 * Return true if this thread has reported a damaged block since its last call.
 * A request that ends with damage then needs no line of its own in the log.
 */
bool store_damage_reported(void);

/* ---- Commits ------------------------------------------------------------ */

/*
 * A transaction group is closed under the lock, written in one transaction with
 * a full sync, and dropped.  Changes made meanwhile gather in the next group.
 * All changes made under one hold of the lock are in one group.
 *
 * A commit that fails is retried after a pause that grows, or when one is asked
 * for; its changes are kept.  Threads that waited for it get the error, and so
 * does a change when the pending ones take as much memory as they may.
 */

/* Return the number of the open group.  Lock held. */
uint64_t store_txg(struct store *store);
/* Ask for a commit soon, and do not wait for it. */
void store_commit_start(struct store *store);
/* Wait until all changes made before the call are on disk.  Lock NOT held. */
int store_sync(struct store *store);
/*
 * Do the same, and give back all preallocated disk space that is not reserved:
 * only for rare calls.
 */
int store_settle(struct store *store);
/* Wait until the group `txg` is on disk.  Lock NOT held. */
int store_wait(struct store *store, uint64_t txg);
/*
 * Call fn(arg, err) when all changes made before this call are durable, by a
 * commit or by the intent log (intent_log.h), from the calling thread or
 * another one.  Lock NOT held.
 */
void store_fsync(struct store *store, void (*fn)(void *arg, int err),
                 void *arg);
/*
 * Wait until the group `txg` is durable, by a commit or by the intent log, and
 * ask for its commit.  The log is made as large as such groups need.  Lock NOT
 * held.
 */
int store_log(struct store *store, uint64_t txg);

/*
 * Slow the caller down when changes come faster than they can be committed.
 * Call this before a change, without the lock.  -ENOSPC: the store is full.
 * `grows` is false for changes that are not meant to take space (removals,
 * changes of attributes); they may use half of the reserve that writers leave.
 */
int store_throttle(struct store *store, bool grows);

/*
 * Do the same for a write of `bytes` of content.  Large writes must wait
 * earlier than others, so that the others have memory left during a commit.
 */
int store_throttle_write(struct store *store, size_t bytes);

/*
 * Do the same for a piece of the work that frees the space of deleted states,
 * which is never refused for lack of space.  *blocks: the blocks that the
 * caller wants to free, and on return those that it may free, which are fewer
 * if there is little space, but at least STORE_PACE_LEAST.  1: there is next to
 * no space.
 */
enum { STORE_PACE_LEAST = 256 };
int store_pace(struct store *store, uint32_t *blocks);

/*
 * Set the hook that is called under the lock before a group is closed, so that
 * the layer above writes the records it kept in memory (table_put()).
 */
void store_on_txg_close(struct store *store, void (*fn)(void *arg), void *arg);
/*
 * Set the hook that is called under the lock when a change is refused for lack
 * of space.
 */
void store_on_full(struct store *store, void (*fn)(void *arg), void *arg);

/*
 * Note that a record which the hook of store_on_txg_close() writes has changed,
 * so that the open group is committed even if it has no other change.  Lock
 * held.
 */
void store_changed(struct store *store);

/* ---- The file ----------------------------------------------------------- */

/*
 * Do and commit one piece of the work that puts the entries of sparse pages
 * into fewer pages.  -ENOENT: no pages are worth it.  Called by one thread at a
 * time.  Lock NOT held.
 */
int store_repack(struct store *store);

/*
 * Write a copy of the store's file, as of its last commit, to an empty regular
 * file, while the store is in use; *ret_bytes: its length.  Space that is freed
 * meanwhile is not reused before the copy has ended.  progress is called with
 * the bytes done and all of them; a nonzero result ends the copy and is
 * returned.  The caller syncs the file.  Lock NOT held.  -EIO: also if the
 * store could not be written to meanwhile.  After an error the file is not a
 * store.
 */
struct copy_options {
	int (*progress)(void *arg, uint64_t done, uint64_t all);
	void *arg;
};
int store_copy(struct store *store, int fd, const struct copy_options *options,
               uint64_t *ret_bytes);

/*
 * Make an empty store with the identity, seed and sizes of this one, but no
 * limit, whose counters continue from these.  Errors as store_create().
 */
int store_create_like(const char *path, const struct store *store, uint64_t seq,
                      const uint64_t counters[COUNTER_COUNT]);
/*
 * Return true if one of the two meta pages of the store, which is open
 * read-only, is damaged.  store_mend_meta() replaces it by the other one.
 */
bool store_meta_damaged(const struct store *store);
int store_mend_meta(struct store *store);
/*
 * The directory, within the store's, in which a store is made until it is
 * complete.  store_open() only checks whether it exists.
 */
#define STORE_UNFINISHED "unfinished"
/* Delete the store at the path, which must not be open. */
int store_remove(const char *path);
/* Do the same, but leave the directory. */
int store_remove_files(const char *path);
/*
 * Replace the data of this store by those of the closed store at the path, in
 * the same file system, in one durable step.  The old file is kept under the
 * name *ret_kept, to be freed by the caller, or deleted if ret_kept is NULL;
 * this store still reads it.
 */
int store_replace(struct store *store, const char *path, char **ret_kept);

/*
 * Rewrite the store's data, without gaps, to a file in the directory
 * STORE_COMPACTING within the store's, and replace the old file by it in one
 * durable step.  No other thread may use the store, all changes must be
 * committed, and the caller must close it next, because it still refers to the
 * old file.  *ret_bytes: the new file's length.  After an error the store is
 * unchanged.  -EPROTONOSUPPORT: the store has databases of a later version of
 * the program; -EBUSY: other processes read the store.
 */
#define STORE_COMPACTING "compact"
int store_compact(struct store *store, const struct copy_options *options,
                  uint64_t *ret_bytes);
/* Return the space that store_compact() needs. */
struct compact_space {
	uint64_t before;    /* bytes of the store's file */
	uint64_t needed;    /* bytes of the new one, at most */
	uint64_t available; /* bytes free on the disk */
};
int store_compact_need(struct store *store, struct compact_space *ret_space);

#include "content_hash.h"
#include "store_chunk.h"
#include "store_list.h"
#include "store_mark.h"
#include "store_table.h"
#include "store_tree.h"
#include "store_view.h"

#endif
