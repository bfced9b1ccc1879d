/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of store/ share: struct store, and the sets of changes that
 * gather in it.  Inside store/ only.
 *
 * Order of locks: store->lock, then disk.pool_lock.  The committer holds
 * neither while it writes.
 */
#ifndef COPPICE_ENGINE_H
#define COPPICE_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "block.h"
#include "disk.h"
#include "memtable.h"
#include "util.h"

struct chunk {
	struct block block;
	struct store *store;
	atomic_uint refs;
	bool cloned; /* a dedup reference names it: not to be changed or undone
	              */
	uint32_t len;
	uint32_t capacity;
	uint64_t replaces; /* BLOCK_CHUNK: hint for a delta */
	/*
	 * Which 64ths of a full chunk, as far as they lie within `len`, are as
	 * in `replaces`; the lowest bit is the first.  0: nothing is known.
	 */
	uint64_t same;
	uint64_t dedup_of; /* BLOCK_DEDUP: number with the content */
	uint8_t *data;
};

enum { CHUNK_PARTS = 64, CHUNK_PARTS_BITS = 6 };

struct freed {
	uint64_t number;
	uint64_t owner;
	/* What is stored under it stays: something else needs it now instead.
	 */
	bool passed;
};

/* Numbers to be put on one deadlist. */
struct pending_list {
	uint64_t list;
	uint64_t *numbers;
	uint32_t len, capacity;
	int64_t moved; /* entries that come from other lists, about */
};

/* A change of a whole list: see list_merge() and list_drop(). */
struct list_op {
	bool is_merge;
	struct list_merge merge;
	uint64_t list; /* to be dropped */
};

struct waiter {
	struct waiter *next;
	void (*fn)(void *arg, int err);
	void *arg;
};

/* Changes that become durable together.  Store's lock, or frozen. */
struct txg {
	uint64_t number; /* of the group */
	int64_t since;   /* mono_ns of the first change; 0: none yet */
	size_t bytes;    /* memory it holds, about */
	struct node **nodes;
	size_t nodes_len, nodes_capacity;
	struct chunk **chunks; /* and dedup references */
	size_t chunks_len, chunks_capacity;
	struct freed *frees;
	size_t frees_len, frees_capacity;
	struct pending_list *lists;
	size_t lists_len, lists_capacity;
	uint32_t *list_index; /* open addressing: place in lists + 1 */
	size_t list_index_size;
	struct memtable records;
	size_t removals;     /* of records, which readers have to step over */
	struct list_op *ops; /* in the order in which they are to be done */
	size_t ops_len, ops_capacity;
	uint64_t ops_entries;   /* entries of lists that they handle, about */
	struct repack *repacks; /* done at last */
	size_t repacks_len;
	uint64_t repack_pages; /* that they write, at most */
	struct list_job *job;
	struct waiter *waiters;
	uint64_t seq; /* counters as they were when it was frozen */
	uint64_t counters[COUNTER_COUNT];
};

/* Adjacent leaves of the table `blocks` that fit into fewer: see repack.c. */
struct repack {
	uint64_t first, last; /* keys */
	uint32_t leaves;
	uint32_t entries;
	uint32_t large; /* entries whose values lie in pages of their own */
	uint32_t bytes; /* that the entries take in the leaves */
};

enum { SPARSE_REGIONS = 4096 };

/* Bytes freed in leaves of `blocks`, by region of block numbers. */
struct sparse {
	pthread_mutex_t lock; /* guards all but the last two */
	unsigned shift;       /* log2 of the numbers of a region */
	uint64_t freed[SPARSE_REGIONS];
	uint64_t total;
	uint64_t least;    /* that make a pass worth it */
	size_t next;       /* region to go on with; 0: no pass has begun */
	uint64_t at, last; /* keys yet to be read; store_repack()'s own */
};

/* Damaged blocks that the log knows of already. */
struct damage_log {
	pthread_mutex_t lock; /* guards the rest; no other is taken under it */
	uint64_t numbers[1024];
	size_t next;
};

/* The part of struct store that never changes while it is open. */
struct geometry {
	uint32_t node_size;
	uint32_t chunk_bits;
	uint64_t max_size;
	uint64_t created; /* ns since the epoch */
	uint64_t seed;
	uint8_t uuid[16];
};

struct store {
	/* constant */
	char *path;
	struct geometry geometry;
	struct store_options options;
	struct disk disk;
	int lock_fd;
	size_t clean_limit; /* bytes of clean blocks to keep */
	size_t txg_soft;    /* bytes at which a group is committed */
	size_t txg_hard;    /* bytes at which writers wait for the committer */
	uint64_t ops_most;  /* entries of lists that one commit handles */
	uint64_t ops_most_alone; /* while nobody else uses the store */

	bool (*_Atomic cancelled)(void); /* see store_on_yield() */
	atomic_uint lock_waiters;        /* threads that wait for the lock */
	pthread_mutex_t lock;            /* guards all below */
#ifndef NDEBUG
	store_hold_fn *hold_fn; /* see store_on_unlock() */
	void *hold_arg;
	int64_t hold_since;
	uint64_t work; /* blocks and records looked at */
	uint64_t work_before;
#endif
	uint64_t holds;  /* times that it was taken: store_holds() */
	uint64_t passed; /* removed records that walks stepped over */
	MDB_txn *reader; /* of the lock's holder; begun at its first read */

	uint64_t seq;
	uint64_t counters[COUNTER_COUNT];

	struct block **buckets;
	size_t buckets_len; /* a power of two */
	size_t blocks_len;
	struct block clean; /* ring: clean.newer is the oldest */
	size_t clean_bytes;

	struct txg *open_txg;
	struct txg *syncing_txg; /* being committed, or NULL */
	uint64_t durable_txg;
	int commit_err;        /* of the last try */
	unsigned failures;     /* failed tries; 0: all is well */
	int64_t failing_since; /* mono_ns of the first of them */
	int64_t failed_at;     /* mono_ns of the last */
	int64_t retry_pause;   /* ns from the last until the next */
	uint64_t mended_txg;   /* set that ends the failing; 0: not known yet */
	bool commit_asked;
	bool stopping;
	int64_t stop_by; /* mono_ns when to try no longer */
	bool committer_runs;
	uint64_t commits;
	uint64_t tries; /* commits, failed ones included */
	/* about the file: see reservation.c */
	uint64_t limit;    /* bytes it may grow to */
	uint64_t used;     /* where its last page ends, as of the last commit */
	uint64_t granted;  /* up to here it has its disk space */
	bool granted_once; /* and from the start, too */
	bool cannot_grant; /* its file system gives no space ahead */
	uint64_t avail;    /* bytes that could be written at the last commit */
	uint64_t coming;   /* bytes that could be after another commit */
	bool free_known;   /* what is free inside of the file is in these two */
	pthread_cond_t committer_wake;
	pthread_cond_t committed;
	pthread_t committer;
	size_t freed; /* the committer's own: bytes of sets since it trimmed */

	void (*txg_close_fn)(void *arg);
	void *txg_close_arg;

	struct list_job *job; /* at most one waits or runs */

	struct decoder *decoders; /* at rest; guarded by disk.pool_lock */

	struct damage_log damage_log;
	struct sparse sparse;
};

/* lock_file.c */
/* Take the lock of the store at the path: -EBUSY. */
int lock_file_take(const char *path, bool readonly, int *ret_fd);
/* Note that data.mdb may be written to from now on; log if it is a copy. */
void lock_file_mark(struct store *store);
/* Note that data.mdb is whole. */
void lock_file_clear(struct store *store);

/* block.c */
struct block *block_find(struct store *store, uint64_t number);
void block_insert(struct store *store, struct block *block);
void block_unhash(struct store *store, struct block *block);
/* The block becomes part of the cache, or is freed if it is outdated. */
void block_clean(struct store *store, struct block *block);
/* Forget clean blocks over the limit, at most `most` of them. */
void block_trim(struct store *store, size_t most);
void block_release_all(struct store *store);
size_t block_bytes(const struct store *store, const struct block *block);
/* The lock holder's read transaction, begun at need. */
int store_reader(struct store *store, MDB_txn **ret_txn);

/* Count a block or record that is looked at: see store_on_unlock(). */
static inline void count_work(struct store *store)
{
#ifndef NDEBUG
	store->work++;
#endif
}

/*
 * Wait on the condition, with the lock let go of meanwhile; until a time of
 * CLOCK_MONOTONIC, unless NULL.
 */
void lock_wait(struct store *store, pthread_cond_t *cond,
               const struct timespec *until);

/* chunk_codec.c */
struct chunk_header {
	enum block_tag tag;
	uint32_t len;     /* of the content */
	uint32_t stored;  /* bytes of payload behind the header */
	uint64_t base;    /* of a delta or a sparse delta: number of the other
	                     chunk */
	uint8_t depth;    /* of those: chunks to read before this one */
	uint8_t hash[16]; /* XXH3-128 of the content */
	uint32_t header_len;
};
enum { CHUNK_HEADER_MAX = 40, CHUNK_DEPTH_MAX = 32 };
int chunk_header_decode(const void *data, size_t len,
                        struct chunk_header *ret_header);
/* Content of the chunk that is stored under just this number. */
int chunk_decode(struct store *store, MDB_txn *txn, uint64_t number,
                 struct chunk **ret_chunk);

/* A frame of zstd's; the prefix is what it was compressed with, or NULL. */
int decoder_unpack(struct store *store, const void *prefix, size_t prefix_len,
                   const void *data, size_t len, void *out, size_t capacity,
                   size_t *ret_len);
void decoder_destroy_all(struct store *store);

struct encoder;
int encoder_create(struct store *store, struct encoder **ret_encoder);
void encoder_destroy(struct encoder *encoder);
/* The stored form; valid until the next call. hash: of the content. */
int encoder_run(struct encoder *encoder, const struct chunk *chunk,
                const uint8_t hash[16], const uint8_t **ret_data,
                size_t *ret_len);
/*
 * The same as a delta against the chunk that is stored as base_number, at
 * `depth`, if that is much shorter than what encoder_run() gave last.
 * 1: it is, and *ret_… are set.  0: it is not.
 */
int encoder_run_delta(struct encoder *encoder, const struct chunk *chunk,
                      const uint8_t hash[16], const struct chunk *base,
                      uint64_t base_number, unsigned depth, size_t plain_len,
                      const uint8_t **ret_data, size_t *ret_len);
/* Is so little of the chunk unlike what it replaces that that will do? */
bool chunk_is_sparse_delta(const struct chunk *chunk);
/*
 * The stored form of a chunk for which this is so, at `depth`; what it replaces
 * is stored as base_number.
 */
void encoder_run_sparse(struct encoder *encoder, const struct chunk *chunk,
                        const uint8_t hash[16], uint64_t base_number,
                        unsigned depth, const uint8_t **ret_data,
                        size_t *ret_len);
/* The header of what is stored under the number; -ENOENT; -EUCLEAN. */
int chunk_header_get(struct store *store, MDB_txn *txn, uint64_t number,
                     struct chunk_header *ret_header);
void chunk_hash(const struct chunk *chunk, uint8_t ret_hash[16]);

/*
 * What the map has of a block: its stored bytes; for a chunk the head of its
 * hash.  A dedup reference counts as 0 bytes.  -ENOENT.
 */
struct stored_block {
	uint64_t bytes;
	bool is_chunk;
	bool is_dedup_ref;
	uint64_t target; /* of a dedup reference, else the number itself */
	uint64_t hash64;
};
int stored_block_get(struct store *store, MDB_txn *txn, uint64_t number,
                     struct stored_block *ret_block);

/* node_codec.c */
static inline bool block_tag_is_node(const MDB_val *value)
{
	uint8_t tag = value->mv_size ? *(const uint8_t *)value->mv_data : 0;

	return tag == BLOCK_TAG_NODE || tag == BLOCK_TAG_NODE_DELTA;
}
/* The node that a stored one is packed with; 0: none. */
uint64_t node_stored_base(const MDB_val *value);
/*
 * The node whose stored form is `value`, verified.  *ret_data points into the
 * map, or is `buffer`, which has space for a node.
 */
int node_decode(struct store *store, MDB_txn *txn, uint64_t number,
                const MDB_val *value, uint8_t *buffer, const uint8_t **ret_data,
                uint32_t *ret_len);

struct node_encoder;
int node_encoder_create(struct node_encoder **ret_node_encoder);
void node_encoder_destroy(struct node_encoder *node_encoder);
/*
 * The form in which to store a sealed node, which is much like the one that is
 * stored as `copied` (0: none); valid until the next call.  The result is the
 * number of the node that it then needs, which may be another; 0: none.
 */
uint64_t node_encoder_run(struct node_encoder *node_encoder,
                          struct store *store, MDB_txn *txn, uint64_t copied,
                          const uint8_t *data, size_t len,
                          const uint8_t **ret_data, size_t *ret_len);

/* list.c: what the committer does to lists; see commit.c for the order */
struct usage {
	uint64_t list;
	int64_t entries, bytes, unique;
};
struct accounting { /* changes of usages within one transaction */
	struct usage *usages;
	size_t len, capacity;
	uint32_t *index;
	size_t index_size;
};
struct usage *accounting_get(struct accounting *accounting, uint64_t list);
void accounting_release(struct accounting *accounting);
int accounting_apply(struct store *store, MDB_txn *txn,
                     struct accounting *accounting);
int list_commit(struct store *store, MDB_txn *txn, struct txg *txg,
                struct accounting *accounting);
int list_commit_job(struct store *store, MDB_txn *txn, struct list_job *job,
                    struct accounting *accounting);
/* The bytes booked on one account are booked on another. */
int accounting_transfer(struct store *store, MDB_txn *txn,
                        struct accounting *accounting, uint64_t from,
                        uint64_t to);
/* Additions to the list that the group has, with what it moves there. */
int64_t pending_entries(const struct txg *txg, uint64_t list);
void pending_move(struct txg *txg, uint64_t from, uint64_t to, int64_t entries);

/* repack.c */
/* An entry of `blocks` was removed that belongs to this number. */
void sparse_add(struct sparse *sparse, uint64_t number, size_t len);

/* list_op.c */
int list_commit_ops(struct store *store, MDB_txn *txn, const struct txg *txg,
                    struct accounting *accounting);

/* free.c */
enum { SHARE_MIN = 4096 }; /* bytes of content worth an entry in `hashes` */
/* One need more for what is stored under the number. */
int refcount_up(struct store *store, MDB_txn *txn, uint64_t number);
/*
 * One need less.  If that was the last it is deleted, and *ret_bytes is raised;
 * so then for what it is a delta of, which may have been kept for it alone.
 */
int stored_free(struct store *store, MDB_txn *txn, uint64_t number,
                uint64_t *ret_bytes);
/*
 * The number goes, booked on owner: not yet what is stored under it, or what it
 * is a dedup reference of, *ret_target.  -ENOENT: there is none.
 */
int name_free(struct store *store, MDB_txn *txn, uint64_t number,
              uint64_t owner, struct accounting *accounting,
              uint64_t *ret_target);
/* The number goes, with what the map has under it. */
int commit_free(struct store *store, MDB_txn *txn, uint64_t number,
                uint64_t owner, struct accounting *accounting,
                uint64_t *ret_bytes);

/* txg.c */
/*
 * A change is half done and there is no memory to note the rest of it: stop.
 * The store on disk is whole; going on would make it otherwise.
 */
void txg_out_of_memory(void) __attribute__((noreturn));
struct txg *txg_create(uint64_t number);
void txg_destroy(struct txg *txg);
/* Note that the open group has a change of about `bytes` more. */
void txg_touch(struct store *store, size_t bytes);
void txg_add_node(struct store *store, struct node *node);
void txg_add_chunk(struct store *store, struct chunk *chunk);
void txg_add_free(struct store *store, uint64_t number, uint64_t owner);
void txg_take_out(struct store *store, struct block *block);

/* commit.c */
int commit_start_thread(struct store *store);
/* Commit what is pending, or give up when it fails for too long. */
int commit_stop_thread(struct store *store);
/* Until what has been changed is on disk.  Lock held; let go of meanwhile. */
int commit_wait_all(struct store *store);

/* reservation.c: lock held or single-threaded */
/* Return true if the file system has next to no space left. */
bool reservation_disk_full(const struct store *store);
/* After a commit: look again how much could be written. */
void reservation_measure(struct store *store);
/* Have room for so many pages besides what is pending.  -ENOSPC. */
int reservation_for_pages(struct store *store, uint64_t pages);
/* 0: none but the map's. */
void reservation_set_limit(struct store *store, uint64_t max_size);
/* What may be written, for those who want to know it exactly. */
uint64_t reservation_stat(struct store *store);
/* When there is nothing to write: most of the disk space taken ahead goes. */
void reservation_relax(struct store *store);
/* Of disk space taken ahead, all but what is promised goes. */
void reservation_give_back(struct store *store);

/*
 * view_page.c: the pages that LMDB reads to find a record: -EUCLEAN if they
 * are damaged, for LMDB would go wherever they send it.
 */
int view_check_records(struct store *store);
/*
 * Likewise, that the file is as long as its last page says, but for pages that
 * are free: -EBADMSG.
 */
int view_check_length(struct store *store);

/* write.c: all of a syncing group, in one transaction; the lock is not held */
int commit_write(struct store *store, struct txg *txg);

#endif
