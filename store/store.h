/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store: a numbered set of blocks (tree nodes and pieces of files), small
 * ordered tables of records, and the lists of blocks that versions dropped,
 * all kept in one LMDB environment and changed together, a commit at a time.
 *
 * This header is all that the folders above see of store/.  It knows blocks,
 * trees and records; it does not know files, states or names.
 *
 * Locking.  One mutex, the store's lock, guards everything in memory.  Where a
 * function says "lock held", the caller holds it through store_lock(); nodes
 * and item values that such a function hands out stay valid until the lock is
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
struct chunk;

/* ---- A store as a whole ------------------------------------------------- */

enum {
	STORE_FORMAT_VERSION = 1,
	STORE_CHUNK_BITS_DEFAULT = 16, /* 64 KiB */
	STORE_NODE_SIZE_DEFAULT =
	        2016, /* the largest that fits two to a page */
};

/* What is fixed when a store is made. Zeroes mean the defaults. */
struct store_params {
	uint32_t node_size;  /* bytes of a tree node, 2016 to 4080 */
	uint32_t chunk_bits; /* log2 of a chunk's bytes, 12 to 17 */
	uint64_t max_size;   /* bytes data.mdb may grow to; 0: no limit */
};

struct store_options {
	bool readonly;
	uint64_t memory; /* bytes for caches and unsaved changes; 0: default */
	uint32_t commit_ms; /* longest age of an unsaved change; 0: 4000 */
	uint32_t close_ms;  /* how long to try to save at the end; 0: 5000 */
	uint32_t retry_ms;  /* first pause after a failed commit; 0: 100 */
	int level;          /* zstd level; 0: 3; negative: zstd's fast levels */
	int delta_depth;    /* longest chain of deltas; 0: 16; negative: none */
};

struct store_stats {
	uint64_t file_bytes;    /* size of data.mdb */
	uint64_t free_bytes;    /* of it, free for new blocks */
	uint64_t limit_bytes;   /* what it may grow to (map or max_size) */
	uint64_t avail_bytes;   /* what may still be written: limit and disk */
	uint64_t pending_bytes; /* changed in memory and not yet committed */
	uint64_t memory_bytes;  /* held in caches, pending included */
	uint64_t list_bytes;    /* of the file, taken by deadlists */
	uint64_t commits;       /* since the store was opened */
	uint64_t seq;
};

/*
 * Make an empty store in the directory `path`, which is created if missing and
 * must otherwise be empty.  -EEXIST: there is a store; -ENOTEMPTY: other files.
 */
int store_create(const char *path, const struct store_params *params);

/*
 * Open the store at `path` and take its lock file.  -EBUSY: another process
 * has it open; -ENOENT: no store there; -ENOMEDIUM: one that was begun and is
 * not finished (STORE_UNFINISHED); -EPROTONOSUPPORT: a newer format or
 * unknown incompatible features; -EMEDIUMTYPE: not a store; -EUCLEAN: damaged;
 * -EBADMSG: damaged, but it can be opened read-only.
 * The result is owned by the caller and released by store_close().
 */
int store_open(const char *path, const struct store_options *options,
               struct store **ret_store);

/* Return in words, to go behind a colon, why store_open() failed. */
const char *store_open_reason(int err);

/*
 * Return what else is to be said of an error of store_open(): "", or that the
 * files at the path look like a copy made while the store was open, or had not
 * been closed.  The next writable opening that succeeds forgets that.
 */
const char *store_copy_reason(const char *path, int err);

/*
 * Commit what is pending, stop the committer and release everything.  Takes
 * NULL.  When the commit fails it is tried again for a while; the last error is
 * returned then, and what was changed since the last commit is lost.
 */
int store_close(struct store *store);

/* Changes that could not be saved. */
struct store_loss {
	uint64_t bytes; /* of memory that they took */
	uint64_t ms;    /* since the first of them was made */
};
/* The same; the loss is filled in when an error is returned. */
int store_close_loss(struct store *store, struct store_loss *ret_loss);

void store_lock(struct store *store);
void store_unlock(struct store *store);
/*
 * Return how often the lock was taken since the store was opened, background
 * threads left out.  Lock held.
 */
uint64_t store_holds(const struct store *store);
/* Leave the calling thread's holds out of store_holds(). */
void store_background(void);

/*
 * Let those who wait for the lock have it.  To be called between the pieces of
 * long work, without the lock: who has just released it would mostly get it
 * again before they do.  Returns soon in any case.  -EINTR: nobody waits for
 * the result of this thread's work any more, as store_on_yield() says.
 */
int store_yield(struct store *store);
/* Have fn asked by store_yield() whether the calling thread may give up. */
void store_on_yield(struct store *store, bool (*fn)(void));

/*
 * For tests: have fn called, under the lock, whenever the lock is released,
 * with the processor time in nanoseconds that its holder has spent since it
 * took it, and the number of blocks and records that it has looked at.  fn
 * NULL: no more.  -EOPNOTSUPP in a release build.  Lock NOT held.
 */
typedef void store_hold_fn(void *arg, int64_t ns, uint64_t work);
int store_on_unlock(struct store *store, store_hold_fn *fn, void *arg);

/*
 * Change the size that the store may grow to; 0: no limit.  Smaller than it is
 * already: it is full until enough is deleted.  Lock NOT held.  -EINVAL: too
 * small for anything.
 */
int store_resize(struct store *store, uint64_t max_size);

/* Give the store a new uuid.  Lock NOT held.  Durable on return. */
int store_renew_identity(struct store *store);

/*
 * Write a copy of the store's file, as of its last commit, to an empty regular
 * file, while the store is used by others; *ret_bytes: its length.  Space that
 * is freed meanwhile is not used again before the copy has ended.  progress is
 * called with the bytes done and all of them, and ends the copy, with its
 * result, if that is not 0.  The caller syncs the file.  Lock NOT held.  -EIO:
 * also if the store could not be written to meanwhile.  After an error what was
 * written is no store.
 */
struct copy_options {
	int (*progress)(void *arg, uint64_t done, uint64_t all);
	void *arg;
};
int store_copy(struct store *store, int fd, const struct copy_options *options,
               uint64_t *ret_bytes);

/* The next number of the store's counter; never repeats.  Lock held. */
uint64_t store_next_seq(struct store *store);

/*
 * Return the next number of one of the store's other counters, from `first`
 * upwards and below `end`; never repeats, survives a crash.  -ENOSPC: all of
 * them were given out.  Lock held.
 */
enum store_counter { COUNTER_INO, COUNTER_STATE, COUNTER_COUNT };
int store_count(struct store *store, enum store_counter counter, uint64_t first,
                uint64_t end, uint64_t *ret_number);
/* What a counter would give out next, unless it is at an end; and set it. */
uint64_t store_counter(const struct store *store, enum store_counter counter);
void store_set_counter(struct store *store, enum store_counter counter,
                       uint64_t next);

uint32_t store_chunk_size(const struct store *store); /* bytes */
uint64_t store_hash_seed(const struct store *store);
const uint8_t *store_uuid(const struct store *store); /* 16 bytes */
const char *store_path(const struct store *store);    /* as it was opened */
/* Where the store's directory is now: it may have been moved. */
void store_where(const struct store *store, char *ret_path, size_t size);
bool store_is_readonly(const struct store *store); /* it was opened so */
void store_stats(struct store *store, struct store_stats *ret_stats);

/*
 * Say that the block is damaged: a line of the log, for the first time that it
 * is met.  Lock held or not.  Always -EUCLEAN.
 */
int store_damaged(struct store *store, uint64_t number, const char *what);
/*
 * Has this thread met a damaged block since it was asked last?  Whoever ends a
 * request for damage then needs to say no more.
 */
bool store_damage_reported(void);

/* Seeded 63-bit hash of a name (XXH3). */
uint64_t store_hash(const struct store *store, const void *data, size_t len);

/*
 * Commit.  A group of changes is closed under the lock, written in one
 * transaction with a full sync, and dropped; changes made meanwhile gather in
 * the next group.  All changes made under one hold of the lock are in one set.
 *
 * A commit that fails is tried again, after a pause that grows, or when one is
 * asked for; nothing is forgotten meanwhile.  Those who waited for it get the
 * error, and so does who wants to change more than memory should hold.
 *
 * store_txg() names the open group (lock held).
 * store_commit_start() asks for a commit soon and does not wait.
 * store_sync() returns when everything changed before the call is on disk.
 * store_wait() returns when the group `txg` is on disk.  Lock not held.
 * store_when_durable() calls fn(arg, err) from the committer when the group
 * that gathers changes now is on disk, and starts the commit (lock held).
 */
uint64_t store_txg(struct store *store);
void store_commit_start(struct store *store);
int store_sync(struct store *store);
/*
 * The same where it is seldom asked for: and of the disk space that was taken
 * ahead no more is kept than has been promised.
 */
int store_settle(struct store *store);
int store_wait(struct store *store, uint64_t txg);
void store_when_durable(struct store *store, void (*fn)(void *arg, int err),
                        void *arg);

/*
 * Called by whoever is about to change something, before taking the lock:
 * slows the caller down when changes come faster than they can be committed.
 * -ENOSPC when the store is full.  What is not meant to grow (removals, changes
 * of attributes) passes false, and may use half of what writers leave.
 */
int store_throttle(struct store *store, bool grows);

/*
 * The same for a write of `bytes` of content: whoever writes much is stopped
 * earlier than others, who then find memory to go on while a commit runs.
 */
int store_throttle_write(struct store *store, size_t bytes);

/*
 * The same for work that gives back the space of what was deleted, a piece at
 * a time: it is never refused for want of room.  1: there is little room left,
 * so that the piece should be as small as can be.
 */
int store_pace(struct store *store);

/*
 * The hook that the layer above has called under the lock whenever a group is
 * about to be frozen, to write the records it kept in memory (table_put).
 */
void store_on_txg_close(struct store *store, void (*fn)(void *arg), void *arg);

/*
 * Note that such a record has changed in memory: the open group is
 * committed in time even if nothing else is in it.  Lock held.
 */
void store_changed(struct store *store);

/* ---- Trees -------------------------------------------------------------- */

/*
 * One copy-on-write B+tree.  A block numbered above `base` is private to this
 * tree and changed in place; any other is copied under a new number first, and
 * the old number goes on the deadlist `list`.
 * The struct belongs to the caller, who keeps it as a record of its own;
 * on_root is called when the root's number changes (it may be NULL).
 */
struct tree {
	struct store *store;
	uint64_t root; /* block number of the root node; 0: an empty tree */
	uint64_t base;
	uint64_t list;  /* deadlist for shared blocks that are dropped */
	uint64_t owner; /* account that new blocks are booked on */
	void (*on_root)(struct tree *tree, uint64_t old_root);
};

/* Keys order by ino, then kind, then off. */
struct key {
	uint64_t ino; /* below 2^36 */
	uint8_t kind; /* below 16 */
	uint64_t off;
};

enum { TREE_VALUE_MAX = 448 }; /* bytes; four such items fit a 2016-byte node */

/* An item as it lies in its node. */
struct item {
	struct key key;
	const uint8_t *value; /* valid until unlock or the tree's next change */
	uint32_t len;
};

int key_compare(const struct key *a, const struct key *b);

/* All of these: lock held. */

/* The item with exactly this key; -ENOENT. */
int tree_get(struct tree *tree, const struct key *key, struct item *ret_item);
/* The first item at or after key; -ENOENT when there is none. */
int tree_seek(struct tree *tree, const struct key *key, struct item *ret_item);
/* The last item at or before key; -ENOENT when there is none. */
int tree_seek_back(struct tree *tree, const struct key *key,
                   struct item *ret_item);
/* Insert the item or replace its value; len up to TREE_VALUE_MAX (-E2BIG). */
int tree_put(struct tree *tree, const struct key *key, const void *value,
             size_t len);
/* Remove the item; -ENOENT. */
int tree_del(struct tree *tree, const struct key *key);

/*
 * A place in a tree, for walking many items.  Valid until the lock is released
 * or the tree is changed; then seek again.
 */
enum { TREE_DEPTH_MAX = 12 };
struct cursor {
	struct tree *tree;
	int depth; /* of path[] in use; 0: at the end */
	struct {
		const struct node *node;
		uint32_t slot;
	} path[TREE_DEPTH_MAX];
};
/* To the first item at or after key. 0, or -ENOENT: past the last item. */
int cursor_seek(struct cursor *cursor, struct tree *tree, const struct key *key,
                struct item *ret_item);
/* The next item; -ENOENT past the last. */
int cursor_next(struct cursor *cursor, struct item *ret_item);

/*
 * What differs between two trees, in key order, entering only nodes that are
 * not the same block in both.  fn gets the item of each side, NULL where the
 * side has none; a nonzero result of fn ends the walk and is returned.
 * `from` is where to begin, so that a long walk can be cut in pieces: after
 * `limit` nodes were read the walk stops, sets *from to where to go on and
 * returns -EAGAIN.  limit 0: no limit.
 */
int tree_diff(struct tree *a, struct tree *b, struct key *from, uint32_t limit,
              int (*fn)(void *arg, const struct item *a, const struct item *b),
              void *arg);

/*
 * Free what only this tree holds: its blocks numbered above base, walked in
 * key order from *from, at most about `limit` nodes a call.  For each item of
 * a private leaf fn is called (to free the chunks it names, with tree_drop).
 * -EAGAIN: *from says where to go on, and everything before it is freed: the
 * caller keeps it as a record in the same set of changes.  0: all done, the
 * root included; the tree is then not to be used again.  A damaged node is
 * passed over and stays allocated, with what is below it.
 */
int tree_reap(struct tree *tree, struct key *from, uint32_t limit,
              void (*fn)(void *arg, const struct item *item), void *arg);

/*
 * Prove the tree sound: every node readable and well-formed, on its level, with
 * its keys in order and within what its parent says.  A damaged node is told
 * and passed over with all that is below it.
 */
struct tree_checker {
	/*
	 * Before a node is read: false leaves it out, with all below it (it was
	 * seen in another tree).  level is -1 for the root, not read yet.
	 * May be NULL.
	 */
	bool (*enter)(void *arg, uint64_t number, int level, bool is_private);
	/* Each item of each leaf; number is the leaf's.  May be NULL. */
	void (*item)(void *arg, uint64_t number, const struct item *item);
	/* `what` says in a few words what is wrong with the node. */
	void (*damage)(void *arg, uint64_t number, int level, const char *what);
	void *arg;
};
/*
 * 0: walked to the end, whatever was found.  `from` and `limit` are used as in
 * tree_diff: -EAGAIN says where to go on.
 */
int tree_check(struct tree *tree, struct key *from, uint32_t limit,
               const struct tree_checker *checker);

/*
 * The tree lets go of a block (a chunk its items named): freed if private,
 * else put on the deadlist.
 */
void tree_drop(struct tree *tree, uint64_t number);

/* ---- Chunks ------------------------------------------------------------- */

/*
 * A chunk is a piece of a file: up to store_chunk_size() bytes under a block
 * number.  Its bytes never change once its group is frozen; a chunk of the
 * group that gathers changes now may be changed in place (chunk_writable). A
 * struct chunk is a counted reference to the content in memory.
 */

/* A buffer of `capacity` bytes, len 0, one reference, no number. Any thread. */
struct chunk *chunk_alloc(struct store *store, size_t capacity);
struct chunk *chunk_ref(struct chunk *chunk);
void chunk_unref(struct chunk *chunk); /* takes NULL */
uint8_t *chunk_data(struct chunk *chunk);
uint32_t chunk_len(const struct chunk *chunk);
/* Set the length; bytes gained are zero.  May move the data; -ENOMEM. */
int chunk_resize(struct chunk *chunk, uint32_t len);
/*
 * The same within the capacity of a buffer that is not yet a block; bytes
 * gained are whatever was there: for the caller to fill, all of them.
 */
void chunk_set_len(struct chunk *chunk, uint32_t len);

/*
 * Make the buffer a block of the tree: takes a number and returns it.  The
 * store keeps its own reference.  `replaces` is the number of the chunk whose
 * place it takes, a hint for storing one as a delta of the other; 0: none.
 * Lock held.
 */
uint64_t chunk_add(struct tree *tree, struct chunk *chunk, uint64_t replaces);

/*
 * Say afterwards what chunk_add()'s `replaces` says, where only later it is
 * known (a file is renamed over another).  Of use until the chunk is saved.
 * Lock held.
 */
void chunk_replaces(struct store *store, uint64_t number, uint64_t replaces);

/*
 * Say that the buffer is a copy of the first `len` bytes of the chunk that it
 * is going to replace, and that this never changes again, but for the bytes
 * [from, to): such a chunk is stored by what has changed.
 */
void chunk_is_copy(struct chunk *chunk, uint32_t len, uint32_t from,
                   uint32_t to);
/* Say that the bytes [from, to) of a chunk have been changed in place. */
void chunk_changed(struct chunk *chunk, uint32_t from, uint32_t to);

/* A new number in `tree` for the same content as `number` has.  Lock held. */
int chunk_clone(struct tree *tree, uint64_t number, uint64_t *ret_number);

/*
 * The chunk if it is in memory, as a new reference, else NULL.  Lock held.
 * *ret_writable (may be NULL): it may be changed in place while the lock stays
 * held, provided its number is private to the caller's tree.
 * A chunk for which *ret_writable is false never changes again and may be read
 * without the lock for as long as the reference lives.
 */
struct chunk *chunk_find(struct store *store, uint64_t number,
                         bool *ret_writable);

/*
 * Have the disk begin to read these chunks, all at once, before they are loaded
 * one by one.  Lock NOT held.
 */
void chunk_prefetch(struct store *store, const uint64_t *numbers, size_t count);

/*
 * Read the chunk from the store, verify it and cache it.  Lock NOT held.
 * -ENOENT: it was freed meanwhile; look at the tree again.
 */
int chunk_load(struct store *store, uint64_t number, struct chunk **ret_chunk);

/* ---- Tables ------------------------------------------------------------- */

/*
 * Small ordered records, keyed by up to TABLE_KEY_MAX bytes in memcmp order.
 * What is put is seen by the next get; it reaches the disk with the set.
 */
enum table {
	TABLE_META = 1,
	TABLE_STATE,   /* by state number */
	TABLE_NAME,    /* by fork number and name */
	TABLE_TIME,    /* by fork number and time */
	TABLE_VERSION, /* by version */
	TABLE_TASK,    /* background work to resume */
	TABLE_HOLD,    /* joins that hold a version */
	TABLE_ORPHAN,  /* states with unlinked inodes to clean up */
	TABLE_SYMLINK, /* in the root, by inode number and by name */
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
/* The record, copied to *ret_record; -ENOENT. */
int table_get(struct store *store, enum table table, const void *key,
              size_t key_len, struct record *ret_record);
int table_put(struct store *store, enum table table, const void *key,
              size_t key_len, const void *value, size_t len);
/* Removing what is not there is not an error. */
int table_del(struct store *store, enum table table, const void *key,
              size_t key_len);
/* The first record whose key is at or after `key`; -ENOENT. */
int table_seek(struct store *store, enum table table, const void *key,
               size_t key_len, struct record *ret_record);
/* The first record whose key is after `key`; -ENOENT. */
int table_next(struct store *store, enum table table, const void *key,
               size_t key_len, struct record *ret_record);

/*
 * table_next() at a bounded cost.  *budget, at least 1, is counted down by the
 * records looked at, removed ones included.  -EAGAIN: it is used up, and the
 * key in *ret_record, that of a removed record, is how far the search came.
 */
int table_next_within(struct store *store, enum table table, const void *key,
                      size_t key_len, unsigned *budget,
                      struct record *ret_record);

/* ---- Deadlists --------------------------------------------------------- */

/*
 * A list is a set of block numbers with the stored size of each, and the
 * account of the bytes of the blocks its version made.  Lists live in the
 * store; additions gather in the group; long work on them is done by the
 * committer, a bounded piece in each commit, as one job at a time.
 */

/* Return about how many blocks the next commit will free.  Lock held. */
uint64_t store_freeing(const struct store *store);

/* Put a block number on a list.  Lock held. */
void list_add(struct store *store, uint64_t list, uint64_t number);

struct list_info {
	uint64_t entries;
	uint64_t bytes;        /* stored size of the blocks listed */
	uint64_t unique_bytes; /* stored size of the blocks charged to `list` */
};
/* As of the last commit.  A list never written is empty.  Lock held. */
int list_info(struct store *store, uint64_t list, struct list_info *ret_info);
/* Stored size of the entries numbered above `above`.  Lock held. */
int list_bytes_above(struct store *store, uint64_t list, uint64_t above,
                     uint64_t *ret_bytes);

enum list_job_kind {
	/* Free the blocks on `list` numbered above `above`; booked on `other`.
	 */
	LIST_FREE_ABOVE,
	/* Move all entries of `list` to `other`. */
	LIST_MOVE,
	/* Forget `list` and its account: its entries are not freed. */
	LIST_DROP,
};
struct list_job {
	enum list_job_kind kind;
	uint64_t list;
	uint64_t other;
	uint64_t above;
	uint32_t budget;       /* entries to handle in one commit */
	bool done;             /* result: nothing of it is left */
	uint64_t freed_blocks; /* result */
	uint64_t freed_bytes;  /* result */
	struct list_job *next; /* to be done in the same commits; or NULL */
};
/*
 * Run one piece of the job with the next commit and wait for that: returns
 * when job->done and the figures are set, those of the jobs chained to it by
 * `next` too.  Lock NOT held.
 */
int list_job_run(struct store *store, struct list_job *job);

/*
 * Changes of whole lists.  The next commit makes them in the order of the
 * calls, after all additions to lists.  list_op_check() bounds what one commit
 * does; longer lists are left to list_job_run().  All of these: lock held.
 */

/* Return about how many entries the list will have after the next commit. */
int list_estimate(struct store *store, uint64_t list, uint64_t *ret_entries);
/*
 * Return 0 if the next commit can handle so many entries more.  `alone`: nobody
 * else uses the store, and the commit may take longer.  -EAGAIN: ask again
 * after the next commit; -E2BIG: no commit can, because the entries are too
 * many or there is too little room to write what they change.
 */
int list_op_check(struct store *store, uint64_t entries, bool alone);
/* LIST_DROP.  `entries` is what list_estimate() returned. */
void list_drop(struct store *store, uint64_t list, uint64_t entries);

/*
 * Merge a version into its child: add account from_owner to owner; then, unless
 * old_list is 0, free the blocks on old_list numbered above `above`, booked on
 * owner, and move list `from` to list `to`.
 */
struct list_merge {
	uint64_t from_owner, owner;
	uint64_t old_list; /* the child's until now */
	uint64_t above;
	uint64_t from, to;
	uint64_t moved;   /* entries of `from`, about */
	uint64_t entries; /* to be freed and moved, about */
};
void list_merge(struct store *store, const struct list_merge *merge);

/* ---- Space -------------------------------------------------------------- */

/*
 * Where much was freed, put what is left into fewer pages: one piece of that,
 * committed.  -ENOENT: nothing is worth doing.  One thread calls it.  Lock NOT
 * held.
 */
int store_repack(struct store *store);

/* ---- Checking ----------------------------------------------------------- */

/*
 * A view is the store as of the last commit, seen through one read
 * transaction, whatever is changed meanwhile: for proving that everything in
 * it is as it should be.  Nothing of it is cached, and the store's lock is not
 * taken; one thread uses a view.  It takes 13 bytes of memory a block.
 *
 * Damage is not an error: it is reported, and what depends on it passed over.
 */
struct view;

struct damage {
	const char *kind;      /* one word: see coppice-check(1) */
	uint64_t block;        /* the number it is about; 0: none */
	uint64_t version;      /* whose tree or list it is in; 0: none's */
	const struct key *key; /* whereabouts in the tree, or NULL */
	const char *text;      /* what is wrong */
};

/* A nonzero result of a callback ends the work, which then returns it. */
struct view_options {
	bool data; /* read all chunks and compare them with their hashes */
	int (*found)(void *arg, const struct damage *damage);
	/* Now and then; `what` is one word.  May be NULL. */
	int (*progress)(void *arg, const char *what, uint64_t done,
	                uint64_t all);
	void *arg;
};

/* -EUCLEAN: so damaged (reported) that nothing more can be said. */
int view_open(struct store *store, const struct view_options *options,
              struct view **ret_view);
void view_close(struct view *view); /* takes NULL */

/* The first record at or after the key (after: behind it). -ENOENT. */
int view_record(struct view *view, enum table table, const void *key,
                size_t key_len, bool after, struct record *ret_record);
/* The counters as the view has them.  -EUCLEAN. */
int view_counters(struct view *view, uint64_t *ret_seq,
                  uint64_t ret_counters[COUNTER_COUNT]);

/* Look at every block, dedup reference and list by itself: to be done first. */
int view_scan(struct view *view);

/* One version's tree, and what of it belongs to whom. */
struct view_tree {
	uint64_t version;
	uint64_t root;
	uint64_t base;
	uint64_t top;         /* no block of it has a higher number */
	uint64_t parent_root; /* of the version it was forked from, or 0 */
	uint64_t lists[2];    /* together its deadlist; 0: none */
	bool alone;           /* not to be compared with its parent's */
	bool reaping;         /* alone, and what was before `from` is gone */
	struct key from;
	uint64_t (*chunk)(const struct item *item); /* that an item names */
};
/*
 * Prove the part of the tree that is its own; that what it has beside is its
 * parent's; and that what else its parent has is on its deadlist.  Each tree
 * of the store must be shown once.  Then, if `item` is not NULL, it is called
 * for each item that is not the same in the parent's tree, in key order (`old`
 * NULL: the parent has none with this key, and so on).
 */
int view_tree(struct view *view, const struct view_tree *tree,
              int (*item)(void *arg, const struct item *old,
                          const struct item *new),
              void *arg);
/*
 * Within view_tree(), and after it until the next: damage keeps items of this
 * inode (of some inode) from being told.
 */
bool view_uncertain(const struct view *view, uint64_t ino);
bool view_incomplete(const struct view *view);
/* There is a tree that cannot be shown: what it has will look like a leak. */
void view_unreadable_tree(struct view *view);

/* As tree_get() and tree_seek(); -EUCLEAN: damage in the way. */
int view_get(struct view *view, uint64_t root, const struct key *key,
             struct item *ret_item);
int view_seek(struct view *view, uint64_t root, const struct key *key,
              struct item *ret_item);

/* The list and the account of this number are somebody's. */
void view_list_known(struct view *view, uint64_t list);
/* When all trees were shown: what nobody has, and the counts of names. */
int view_finish(struct view *view);

/* ---- Repairing ---------------------------------------------------------- */

/*
 * The items in which two trees differ, as tree_diff() tells them, of what can
 * be read: a node that is damaged or missing is passed over like an empty one;
 * for one of the new tree, lost (which may be NULL) is told the lowest key that
 * it can have had.  A root of 0 is an empty tree.  Only after view_scan().
 */
int view_compare(struct view *view, uint64_t old_root, uint64_t new_root,
                 int (*fn)(void *arg, const struct item *old,
                           const struct item *new),
                 void (*lost)(void *arg, const struct key *low), void *arg);

/* The number under which a chunk's content is stored; 0: cannot be told. */
uint64_t view_content(struct view *view, uint64_t number);

/*
 * Make an empty store like this one (the same identity, seed and sizes, but no
 * limit), whose counters go on from these.  Errors as store_create().
 */
int store_create_like(const char *path, const struct store *store, uint64_t seq,
                      const uint64_t counters[COUNTER_COUNT]);
uint64_t store_max_size(const struct store *store); /* 0: no limit */
/*
 * Return true if one of the two meta pages of the store, which is open to be
 * read, is damaged.  Put the content of the other in its place.
 */
bool store_meta_damaged(const struct store *store);
int store_mend_meta(struct store *store);
/*
 * The directory in a store's in which it is made, until it is complete.  Not
 * read by store_open(), but for telling that it is there.
 */
#define STORE_UNFINISHED "unfinished"
/* Delete the store at the path, of which nobody has anything open. */
int store_remove(const char *path);
/* The same, but the directory stays. */
int store_remove_files(const char *path);
/*
 * The data of the closed store at the path, in the same file system, take the
 * place of this one's in one step, durably.  The old file stays under the name
 * that *ret_kept is set to (to be freed), and this store goes on seeing it.
 */
int store_replace(struct store *store, const char *path, char **ret_kept);

#endif
