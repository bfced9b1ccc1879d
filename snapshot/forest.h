/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of snapshot/ share: struct forest, and the functions on
 * versions, states and background work that the folders above do not see.
 *
 * Locks: the store's lock guards everything but struct gc's marked fields,
 * which gc->lock guards.  gc->lock is taken after the store's, or alone.
 */
#ifndef COPPICE_FOREST_H
#define COPPICE_FOREST_H

#include <pthread.h>
#include <stdatomic.h>

#include "cache.h"
#include "snapshot.h"

enum {
	STATE_NUMBER_END = 1 << 27, /* what a node number has room for */
	STATES_CACHED = 8192,       /* more than these in memory are swept */
	VERSIONS_CACHED = 16384,
	EVICTED_TRIM = 1 << 17, /* after so many, free memory goes back */
	STATES_DIRTY = 2048,    /* so many are written before the next commit */
	VERSIONS_DIRTY = 512,
	FULL_NAME_MAX = NAME_LEN_MAX * 2 + 2,
	TASK_KEY_LEN = 9,
};

/* Work of the background thread: see gc.c. */
enum task_kind {
	TASK_TIDY = 1, /* the lists of a merge; by the version that went */
	TASK_CLEAR,    /* snapshots of a fork being deleted; by its number */
	TASK_REAP,     /* a leaf; by version */
	TASK_MERGE,    /* an inner version; by version */
	TASK_DROP,     /* a list nobody has any more; by list */
	TASK_STUCK,    /* a version that cannot be read; never tried again */
	TASK_KINDS,
};

/* One record for what is counted over all states. */
struct forest_meta {
	uint64_t states; /* snapshots included, deleting ones not */
	uint64_t tasks;
	uint64_t deleting; /* snapshots still to be deleted with their fork */
	uint64_t default_state; /* number; 0: none */
};

/* The background thread. */
struct gc {
	pthread_t thread;
	bool runs;
	uint32_t limit; /* nodes a piece; the thread's own */
	bool tight;     /* the store is nearly full; its own */
	uint64_t holds; /* of the store's lock by others, when it had it last */
	bool alone;     /* there have been none since */
	/*
	 * Where to look for the next task of a kind (UINT64_MAX: there is none)
	 * and the next snapshot to clear, so that the records removed before
	 * are not stepped over each time.  Guarded by the store's lock.
	 */
	uint64_t first_task[TASK_KINDS];
	uint8_t cleared[TABLE_KEY_MAX];
	uint32_t cleared_len;

	pthread_mutex_t lock;
	pthread_cond_t wake; /* for the thread: pending or stop */
	pthread_cond_t idle; /* from the thread: quiet or failed */
	bool pending;        /* gc->lock: there may be work */
	bool quiet;          /* gc->lock: it has found none */
	bool stop;           /* gc->lock */
	int err;             /* gc->lock: why it pauses, else 0 */
};

struct forest {
	struct store *store;
	bool readonly;
	struct cache versions;
	struct cache states;
	struct state *deleted; /* deleted, freed in a later hold */
	size_t evicted; /* states and versions, since memory was trimmed */
	struct positions *positions; /* see position.c; used last is first */
	struct forest_meta meta;
	bool meta_dirty;
	struct inode root; /* the directory that lists the forks */
	struct forest_watch watch;
	uint64_t number_end; /* numbers of states are below this */
	_Atomic bool reuses; /* numbers of deleted states are given out */
	bool (*keeps)(void *arg, uint64_t number); /* forest_set_keeper() */
	void *keeps_arg;
	struct gc gc;
};

/* ---- version.c ---------------------------------------------------------- */

enum { VERSION_LEN_MAX = 120 };
size_t version_encode(const struct version *v, uint8_t out[VERSION_LEN_MAX]);
/* All but id and what is in memory only. -EUCLEAN. */
int version_decode(const void *data, size_t len, struct version *v);

/* By its id.  -ENOENT. */
int version_find(struct forest *forest, uint64_t id,
                 struct version **ret_version);
/* By an id that a record names: that it is missing is damage, -EUCLEAN. */
int version_load(struct forest *forest, uint64_t id,
                 struct version **ret_version);
/*
 * A head that goes on from `from`'s tree, with a new id, list and account; not
 * yet known to the forest: version_attach() or free() is next.
 */
int version_new_head(struct forest *forest, const struct version *from,
                     struct version **ret_version);
/*
 * A head with no parent and a tree of this root directory alone; otherwise as
 * version_new_head(), but for version_attach(), which it does not need.
 */
int version_new_root(struct forest *forest, const struct inode *root,
                     struct version **ret_version);
/* The new head becomes a child of the frozen version. Cannot fail. */
void version_attach(struct version *head, struct version *parent);
/*
 * Freeze the head at this seq.  No block is added to its tree after the seq
 * was taken: the caller holds the lock all the while.
 */
void version_freeze(struct version *head, uint64_t seq);
/* Its record must be written. */
void version_mark(struct version *v);
/* Take it out of the tables and of memory; detached from its kin before. */
int version_remove(struct version *v);
/*
 * Has the head still the tree it was forked with?  Then *ret_parent (may be
 * NULL) is the version that has the same one.
 */
int version_unchanged(struct version *head, bool *ret_unchanged,
                      struct version **ret_parent);

/* ---- state.c ------------------------------------------------------------ */

enum { STATE_LEN_MAX = 900 };
size_t state_encode(const struct state *s, uint8_t out[STATE_LEN_MAX]);
/* *ret_version: id of its version, 0: none.  -EUCLEAN. */
int state_decode(const void *data, size_t len, struct state *s,
                 uint64_t *ret_version);

/* A string of len bytes, of which there may be max, and no NUL among them. */
void get_string(struct reader *r, uint64_t len, size_t max, char *out);

enum { TIME_KEY_LEN = 24 };
size_t name_key(uint8_t key[TABLE_KEY_MAX], uint64_t fork, const char *name);
void time_key(uint8_t key[TIME_KEY_LEN], uint64_t fork, int64_t time,
              uint64_t number);
int64_t time_of_key(const uint8_t key[TIME_KEY_LEN]);

/* Of that number and nothing else; not yet known to the forest. */
struct state *state_alloc(struct forest *forest, uint64_t number);
/* Its record must be written. */
void state_mark(struct state *s);
/* The state names this version, or none, in memory: refs are not touched. */
void state_point(struct state *s, struct version *version);

/* By its number, a fork being deleted or a snapshot of one too.  -ENOENT. */
int state_load(struct forest *forest, uint64_t number,
               struct state **ret_state);
/* Of a fork (deleting or not): its newest snapshot, or the newest at or before
 * the time.  -ENOENT. */
int state_newest(struct forest *forest, uint64_t fork, int64_t at,
                 struct state **ret_state);
/*
 * Return the snapshot that a record of TABLE_TIME is about.  -ENOENT: it is
 * another fork's; -EUCLEAN: it cannot be read.
 */
int state_of_time(struct forest *forest, uint64_t fork,
                  const struct record *record, struct state **ret_state);
/* Free what was deleted in an earlier hold of the lock. */
void deleted_free(struct forest *forest);
/* Take memory back to its limits; for a fresh hold of the lock. */
void forest_evict(struct forest *forest);
/* How many of those it takes to get through everything. */
size_t forest_evictions(const struct forest *forest);
bool forest_crowded(const struct forest *forest);
/* Have it swept if there are a good many too many. */
void forest_wake_evictor(struct forest *forest);

/* ---- position.c --------------------------------------------------------- */

/*
 * The n-th newest snapshot of a fork, or the newest at or before a time.
 * -ENOENT; -EAGAIN: more is to be read than one hold of the lock is for, and a
 * piece of it has been: let go of the lock and call again.
 */
int position_nth(struct forest *forest, uint64_t fork, uint64_t n,
                 struct state **ret_state);
int position_at(struct forest *forest, uint64_t fork, int64_t time,
                struct state **ret_state);
/* A time that no snapshot of the fork is newer than.  -ENOENT: it has none. */
int position_bound(struct forest *forest, uint64_t fork, int64_t *ret_time);
/* A snapshot has been made, the newest of its fork; or is about to go. */
void positions_add(struct forest *forest, const struct state *snapshot);
void positions_del(struct forest *forest, const struct state *snapshot);
/* The fork goes. */
void positions_forget(struct forest *forest, uint64_t fork);
void positions_release(struct forest *forest); /* all of them */

/* ---- delete.c ----------------------------------------------------------- */

/*
 * Delete up to `most` snapshots of a fork being deleted, and the fork's record
 * when none is left.  -EAGAIN: there are more.
 */
int fork_clear(struct forest *forest, uint64_t fork, uint32_t most);

/* ---- symlink.c ---------------------------------------------------------- */

enum {
	SYMLINK_LEN_MAX = 1440,
	SYMLINK_BY_INO = 1, /* first bytes of keys */
	SYMLINK_BY_NAME = 2,
	SYMLINK_KEY_LEN = 9,
};
size_t symlink_encode(const struct symlink *link, uint8_t out[SYMLINK_LEN_MAX]);
/* All but ino.  -EUCLEAN. */
int symlink_decode(const void *data, size_t len, struct symlink *link);
void symlink_key(uint8_t key[SYMLINK_KEY_LEN], uint64_t ino);
size_t symlink_name_key(uint8_t key[TABLE_KEY_MAX], const char *name);

/* ---- number.c ----------------------------------------------------------- */

/*
 * Return a number for a new state.  -ENOSPC: there is none.  1: one was found,
 * and the lock was let go of meanwhile: no pointer from before is good for
 * anything.  -EINTR: see store_yield().
 */
int number_draw(struct forest *forest, uint64_t *ret_number);
/* Lower STATE_NUMBER_END, for tests: before the first number is drawn. */
void forest_limit_numbers(struct forest *forest, uint64_t end);

/* ---- name.c ------------------------------------------------------------- */

/*
 * Parse a time as it stands behind "~@".  One that is not exact counts to its
 * end: a day, a minute, a second to the last moment of it.  -EINVAL.
 */
int name_parse_time(const char *text, int64_t now, int64_t *ret_time);

/* ---- gc.c --------------------------------------------------------------- */

int task_put(struct forest *forest, enum task_kind kind, uint64_t id,
             const void *value, size_t len);
int task_del(struct forest *forest, enum task_kind kind, uint64_t id);
/*
 * The version is about to be left with so many refs and kids: note the work
 * that makes.  To be called before the change, which must follow if it
 * succeeds; work that turns out not to be there does no harm.
 */
int gc_note(struct version *v, uint64_t refs, uint64_t kids);
int gc_start(struct forest *forest);
void gc_stop(struct forest *forest);
/* There may be something to do. */
void gc_wake(struct forest *forest);

/* ---- forest.c ----------------------------------------------------------- */

/* Write what is kept in memory only to the tables. */
void forest_flush(struct forest *forest);
/* The record of the forest itself must be written.  Lock held. */
void meta_mark(struct forest *forest);

#endif
