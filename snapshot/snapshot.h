/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * States and their lineage: forks and snapshots by name, the versions they
 * point at, and the space that deleting them frees.
 *
 * The folders above see this header, item.h and property.h, and the helpers
 * duration.h, name.h, retention.h and size.h.
 * Unless a function says otherwise, the caller holds the store's lock, and a
 * returned struct is valid until the lock is released.
 */
#ifndef COPPICE_SNAPSHOT_H
#define COPPICE_SNAPSHOT_H

#include "item.h"
#include "property.h"
#include "store.h"

struct forest;  /* all states of one open store */
struct version; /* a root in the lineage: see version.h */

/* Links of a struct that a struct cache holds.  Private to snapshot/. */
struct cached {
	uint64_t key;
	struct cached *hash_next;
	struct cached *dirty_next;
	struct cached **dirty_at; /* the pointer to this; NULL: not dirty */
	bool used;                /* looked up since the last eviction round */
};

enum state_flags {
	STATE_READONLY = 1, /* a snapshot */
	STATE_DELETING = 2, /* a deleted fork that still has snapshots */
	STATE_TRASHED = 4,  /* deleted, and can come back: see trash.h */
	STATE_GONE = STATE_DELETING | STATE_TRASHED,
};

/* A named tree. */
struct state {
	uint64_t number; /* 24 bits and more; part of each st_ino */
	uint64_t fork;   /* of a snapshot: number of its fork; 0: a fork */
	uint32_t flags;
	int64_t created; /* ns since the epoch */
	uint64_t origin; /* number of the state it was made from; 0: none */
	char origin_name[NAME_LEN_MAX * 2 + 2]; /* its name at that time */
	char name[NAME_LEN_MAX + 1];
	uint64_t snapshots; /* number of snapshots of a fork */
	int64_t deleted;    /* STATE_TRASHED: when, in ns since the epoch */
	int64_t due;        /* STATE_TRASHED: when it is purged, same unit */
	struct version *version; /* private to snapshot/ */
	/* in memory only */
	uint64_t quota;   /* bytes; UINT64_MAX: none; private to quota.c */
	bool quota_known; /* `quota` has been read from the property */
	struct forest *forest;
	struct cached cached;
	bool gone; /* deleted */
};

/* A copy of what users see of a state. */
struct state_info {
	uint64_t number;
	uint64_t fork;
	bool readonly;
	char name[NAME_LEN_MAX + 1];
	char fork_name[NAME_LEN_MAX + 1]; /* of a snapshot's fork, or "" */
	char origin_name[NAME_LEN_MAX * 2 + 2];
	int64_t created;
	uint64_t version;
	uint64_t parent; /* version */
	uint64_t inodes;
	uint64_t bytes;     /* of file data, uncompressed */
	uint64_t exclusive; /* stored bytes that deleting it would free; as of
	                       the last commit */
	uint64_t snapshots;
	bool unchanged; /* since it was made or last forked */
	bool is_default;
};

/*
 * Make the first state, `main`, in a store that was just created: a root
 * directory with this owner and mode, and the directory that lists the forks.
 * There is no default state.  -EEXIST: the store has states.  Lock NOT held.
 */
int forest_create(struct store *store, uint32_t uid, uint32_t gid,
                  uint32_t mode);
/*
 * Open the states of a store and resume unfinished deletions in the
 * background.  Each state is read when it is first needed.  A store opened
 * read-only is not changed.  Lock NOT held.
 */
int forest_open(struct store *store, struct forest **ret_forest);
/*
 * Stop the background work and commit all changes.  Call this before
 * store_close().  Lock NOT held.  NULL is allowed.
 */
void forest_close(struct forest *forest);
struct store *forest_store(struct forest *forest);

/*
 * Check a name.  A fork's name has 1 to 255 bytes, none of them '/', NUL or a
 * control character; it does not begin with '.', and each '~' in it precedes
 * an '@' (the '~' of "~@", which begins a time, precedes a further '@').
 * A snapshot's name has no '~' at all, but may begin with '.' if it is not "."
 * or "..".  -EINVAL; -ENAMETOOLONG.
 */
int name_check_fork(const char *name);
int name_check_snapshot(const char *name);
/*
 * Return true if FORK~NAME finds a snapshot of this name while it exists, and
 * is read as a position once it is deleted.
 */
bool name_is_position(const char *name);

/*
 * Find a state by its number.  -ESTALE: no state has it any more.  When all
 * numbers have been used, those of deleted states are used again.
 */
int state_get(struct forest *forest, uint64_t number, struct state **ret_state);
/* Find a snapshot by its name in its fork, or a fork (fork 0).  -ENOENT. */
int state_find(struct forest *forest, uint64_t fork, const char *name,
               struct state **ret_state);
/*
 * Find a state by any form of a name: a fork's name; FORK~SNAPSHOT;
 * FORK/.snap/SNAPSHOT; FORK~N, the N-th newest snapshot (1 is the newest);
 * FORK~@TIME, the newest at or before the end of the time, which is ISO 8601 (a
 * date, or date and time to the minute or second, or the time alone, of today;
 * local unless it ends in Z), or `today`, `yesterday`; or -N with a unit s, m,
 * h, d, w, or `now`, which are moments.  An existing name takes precedence over
 * a number or time of the same spelling.  -ENOENT; -EINVAL: neither a name nor
 * a time.  Finding a position among many snapshots releases the lock from time
 * to time: pointers obtained before the call are invalid afterwards.  The same
 * holds for state_at_position() and state_source().  -EINTR: see store_yield().
 */
int state_resolve(struct forest *forest, const char *name,
                  struct state **ret_state);
/*
 * The two halves of state_resolve(): by name alone, and by position alone
 * (FORK~N, FORK~@TIME).  A position means another snapshot as soon as one is
 * made or deleted, so deletions and renames do not accept positions.
 */
int state_named(struct forest *forest, const char *name,
                struct state **ret_state);
int state_at_position(struct forest *forest, const char *name,
                      struct state **ret_state);
/*
 * Find the source that a new fork's name asks for: the longest existing prefix
 * before an '@' (any form that state_resolve() takes), or for a name
 * without '@' the default state.  *ret_state is NULL if the name has no '@' and
 * there is no default state: the name asks for a new tree.  -ENOENT.
 */
int state_source(struct forest *forest, const char *name,
                 struct state **ret_state);
/*
 * Write a name that resolves to the state: FORK or FORK~SNAPSHOT, or
 * FORK/.snap/SNAPSHOT if a fork has the name FORK~SNAPSHOT.
 */
void state_full_name(struct forest *forest, const struct state *state,
                     char out[NAME_LEN_MAX * 2 + 2]);

/*
 * Iterate in name order: return the first snapshot of the fork (0: the first
 * fork) whose name is above `after` (NULL or "": the first of all).  -ENOENT at
 * the end.  Releases the lock from time to time if many were just deleted.
 */
int state_next(struct forest *forest, uint64_t fork, const char *after,
               struct state **ret_state);

/*
 * Return the numbers of a fork's snapshots (fork 0: of the forks), up to
 * STATE_WALK_PIECE in a call, without reading the states.  All fields of *walk
 * but the fork are 0 at first.  0: the walk is complete; -EAGAIN: continue with
 * another call, after a release of the lock.  States that are made or deleted
 * between the calls may be included or not.
 */
enum { STATE_WALK_PIECE = 256 };
struct state_walk {
	uint64_t fork;
	uint8_t key[TABLE_KEY_MAX]; /* of the last record that was read */
	size_t key_len;
};
int state_walk(struct forest *forest, struct state_walk *walk,
               uint64_t ret_numbers[STATE_WALK_PIECE], size_t *ret_count);

/*
 * Return the numbers of a fork's snapshots from the oldest on, in the way of
 * state_walk(): those made after `after` (INT64_MIN at first; the walk advances
 * it) and before `before`, but none of the `keep` newest.  The cost is that of
 * the snapshots returned, once the times of all have been read.
 */
struct state_age_walk {
	uint64_t fork;
	int64_t after, before; /* ns since the epoch */
	uint64_t keep;
};
int state_walk_oldest(struct forest *forest, struct state_age_walk *walk,
                      uint64_t ret_numbers[STATE_WALK_PIECE],
                      size_t *ret_count);

/* ---- Changing states ---------------------------------------------------- */

/*
 * Fork a state, or a snapshot in the trash.  Constant time.  -EEXIST: a state
 * or a symlink has the name; -EINVAL, -ENAMETOOLONG; -ENOSPC: no number is
 * free; -ESTALE: the source was deleted; -EINTR: see store_yield().  When all
 * numbers have been used, the search for a free one releases the lock from time
 * to time: pointers obtained before the call are invalid afterwards.
 */
int state_fork(struct forest *forest, struct state *source, const char *name,
               struct state **ret_state);
/*
 * Make a fork with a new tree, whose root directory has these attributes.
 * Errors as of state_fork().
 */
int state_create(struct forest *forest, const char *name,
                 const struct inode *root, struct state **ret_state);
/*
 * Make a snapshot of a fork.  Errors as of state_fork(); -EROFS: `fork` is a
 * snapshot.
 */
int state_snapshot(struct forest *forest, struct state *fork, const char *name,
                   struct state **ret_state);
int state_rename(struct forest *forest, struct state *state, const char *name);
/*
 * Delete the name at once and free the space in the background.  Constant time,
 * with any number of snapshots.  -ENOTEMPTY: a fork that has snapshots
 * (`recursive` deletes them too); -EBUSY: the default state, or one that a tag
 * holds (see state_find_tag()), would be deleted.
 * Open files of the state fail with -ESTALE afterwards.
 */
int state_delete(struct forest *forest, struct state *state, bool recursive);
/*
 * Delete the name at once, and keep the state in the trash for the time of
 * forest_trash_time(): see trash.h.  Constant time; errors as of
 * state_delete().
 */
int state_trash(struct forest *forest, struct state *state, bool recursive);
/* Delete a state in the trash for good.  Constant time. */
int state_purge(struct forest *forest, struct state *state);
/*
 * Delete all states for good that are in the trash now.  *ret_count: how many
 * there were.  Lock NOT held.  -EINTR: see store_yield().
 */
int forest_empty_trash(struct forest *forest, uint64_t *ret_count);
/*
 * Return true if a state that is kept has the same tree, and this one has no
 * snapshots.  Return false in doubt: if a record cannot be read, or while the
 * snapshots of any fork are being deleted with it.
 */
bool state_has_equal(struct forest *forest, struct state *state);
/*
 * Return true if deleting the state would lose nothing: it has an equal, or is
 * a fork with no snapshots and nothing in it.
 */
bool state_is_redundant(struct forest *forest, struct state *state);

/*
 * Return whether nothing has changed in the state since it was made, or since
 * it was last snapshotted or forked.  Always true of a snapshot.
 */
int state_is_unchanged(const struct state *state, bool *ret_unchanged);

/* Return the state that names without '@' fork.  -ENOENT: there is none. */
int state_default(struct forest *forest, struct state **ret_state);
/* Set the default state; NULL: none.  -EROFS; -ESTALE: it was deleted. */
int state_set_default(struct forest *forest, struct state *state);
int state_info(struct forest *forest, struct state *state,
               struct state_info *ret_info);
/* Return the number of states, snapshots included. */
uint64_t forest_count(struct forest *forest);

/* ---- Trees -------------------------------------------------------------- */

/* Return the tree to read from. */
struct tree *state_tree(struct state *state);
/* Return the tree to write to and mark it as changed.  -EROFS: a snapshot. */
int state_edit(struct state *state, struct tree **ret_tree);
/* Return the number of inodes in the tree, the root directory included. */
uint64_t state_inodes(const struct state *state);
/* Return the number of 512-byte units that the files have. */
uint64_t state_blocks(const struct state *state);
/* Add to the two numbers, modulo 2^64: a decrease is a negative addend. */
void state_count(struct state *state, uint64_t inodes, uint64_t blocks);
/* Return the id of the version, and of its parent (0: none). */
uint64_t state_version_id(const struct state *state);
uint64_t state_parent_id(const struct state *state);
/* Return when the version was made or frozen, in ns since the epoch. */
int64_t state_version_created(const struct state *state);

/* Get or set mode, owner and times of the directory that lists all forks. */
int forest_root_inode(struct forest *forest, struct inode *ret_inode);
int forest_set_root_inode(struct forest *forest, const struct inode *inode);

/* ---- Symlinks ----------------------------------------------------------- */

enum { SYMLINK_TARGET_MAX = 1023 };
/* Symlinks have inode numbers below this, from the counter of inodes. */
#define SYMLINK_INO_END (UINT64_C(1) << 35)

/* A symlink in the directory that lists the forks. */
struct symlink {
	uint64_t ino;
	struct inode inode; /* its size is the target's length */
	char name[NAME_LEN_MAX + 1];
	char target[SYMLINK_TARGET_MAX + 1];
};

/* Find a symlink by its inode number.  -ESTALE. */
int symlink_get(struct forest *forest, uint64_t ino, struct symlink *ret);
/* Find a symlink by its name.  -ENOENT. */
int symlink_find(struct forest *forest, const char *name, struct symlink *ret);
/* Return the lowest inode number of a symlink above `after`.  -ENOENT. */
int symlink_next(struct forest *forest, uint64_t after, uint64_t *ret_ino);
/*
 * Make a symlink of an inode, a name and a target, and set link->ino.  -EEXIST:
 * a fork or a symlink has the name; -EINVAL, -ENAMETOOLONG: no fork could have
 * it; -ENOSPC.
 */
int symlink_create(struct forest *forest, struct symlink *link);
/* Write the changed inode. */
int symlink_save(struct forest *forest, const struct symlink *link);
int symlink_delete(struct forest *forest, const struct symlink *link);
/* Rename, replacing another symlink of the name.  -EEXIST: a fork has it. */
int symlink_rename(struct forest *forest, struct symlink *link,
                   const char *name);
/* Exchange the names of two symlinks. */
int symlink_exchange(struct forest *forest, struct symlink *a,
                     struct symlink *b);

/* ---- Watching ----------------------------------------------------------- */

/*
 * Callbacks for caches of names.  They run with the lock held after each
 * deletion or rename of a state.  The snapshots that are deleted with their
 * fork can no longer be found from then on, but are reported one by one from
 * the background thread.
 */
struct forest_watch {
	void (*deleted)(void *arg, const struct state *state);
	void (*renamed)(void *arg, const struct state *state,
	                const char *old_name);
	void *arg;
};
void forest_set_watch(struct forest *forest, const struct forest_watch *watch);

/* ---- Numbers ------------------------------------------------------------ */

/*
 * Draw the numbers of the next `count` states, so that making them in the same
 * hold of the lock neither releases the lock to search for a number nor fails
 * for lack of one.  Numbers that are not used remain for later states.  The
 * lock may be released and taken again meanwhile.  -ENOSPC: not so many are
 * free; -ENOMEM; -EINTR: see store_yield().  Lock held; not after
 * forest_undo_begin().
 */
int forest_reserve_numbers(struct forest *forest, size_t count);
/*
 * Set a callback that runs with the lock held before the number of a deleted
 * state is used again.  It returns true if anything may still refer to the
 * deleted state by the number; otherwise it drops what it has cached for it.
 */
void forest_set_keeper(struct forest *forest,
                       bool (*keeps)(void *arg, uint64_t number), void *arg);
/*
 * Return true if the numbers of deleted states are used again, or are about to
 * be.  Lock not needed.
 */
bool forest_reuses_numbers(const struct forest *forest);
/*
 * Return a number, never 0, that differs (but for one chance in 2^30) between
 * two states that had the same number one after the other.
 */
uint32_t state_generation(const struct state *state);

/* ---- Space -------------------------------------------------------------- */

/* Wait until all deleted versions are freed, durably.  Lock NOT held. */
int forest_drain(struct forest *forest);
/* Return how many deleted versions are still to be freed. */
uint64_t forest_backlog(struct forest *forest);

/*
 * Figures of states as of the last commit, in bytes of stored blocks, without
 * reading trees.  A chunk whose content is stored under another number counts
 * as 0 bytes.  While deleted states are being reclaimed, the figures may be
 * lower.
 */
struct space;
int space_create(struct forest *forest, struct space **ret_space);
void space_destroy(struct space *space);
/* Empty the set of states. */
void space_clear(struct space *space);
/*
 * Add a state, which may be in the trash, to the set; one that is in it already
 * is ignored.  -ESTALE.
 */
int space_add(struct space *space, const struct state *state);
/*
 * Return the bytes that deleting the states of the set together would free.
 * Afterwards the set can only be emptied.  Releases the lock from time to time:
 * pointers obtained before the call are invalid afterwards.  -EINTR: see
 * store_yield().
 */
int space_frees(struct space *space, uint64_t *ret_bytes);
/*
 * Return the bytes that the state references: its tree and all chunks that the
 * tree names.  Releases the lock likewise.  -ESTALE.  Sums are kept for other
 * states until space_destroy(): commit all changes before the first call, and
 * make the calls for all states soon after each other.
 */
int space_referenced(struct space *space, uint64_t number, uint64_t *ret_bytes);

/* ---- Checking ----------------------------------------------------------- */

/* An inconsistency in the store. */
struct finding {
	const char *kind;  /* one word: see coppice-check(1) */
	const char *state; /* full name of an affected state, or NULL */
	const char *path;  /* of the file in the state, or NULL */
	uint64_t ino;      /* of the file; 0: none */
	uint64_t version;  /* 0: none */
	uint64_t block;    /* 0: none */
	const char *text;  /* description for people */
};

/* A callback's nonzero result ends the check, which then returns it. */
struct check_options {
	bool data; /* read all file contents, too */
	int (*found)(void *arg, const struct finding *finding);
	/* Called from time to time; `what` is one word.  May be NULL. */
	int (*progress)(void *arg, const char *what, uint64_t done,
	                uint64_t all);
	void *arg;
};

/*
 * Check the whole store as of its last commit; it may be written to meanwhile.
 * No forest needs to be open.  0: the check is complete, and all findings were
 * reported.  Lock NOT held.
 */
int forest_check(struct store *store, const struct check_options *options);

/* ---- Repairing ---------------------------------------------------------- */

/* A callback's nonzero result ends the repair, which then returns it. */
struct repair_options {
	bool dry_run; /* report what would be done, and do nothing */
	/* Reports a finding, as forest_check() does. */
	int (*found)(void *arg, const struct finding *finding);
	/* Reports what is (or would be) lost or changed: coppice-check(1). */
	int (*done)(void *arg, const struct finding *finding);
	int (*progress)(void *arg, const char *what, uint64_t done,
	                uint64_t all); /* may be NULL */
	void *arg;
};

struct repair_result {
	uint64_t found; /* 0: there was nothing to do */
	uint64_t done;
	char *kept; /* path of the damaged data, or NULL; the caller frees it */
};

/*
 * Copy what can be read of a damaged store to a new one, check the new one, and
 * replace the old data with it durably, in one step.  The store was opened
 * read-only, and no forest is open in it.  Until the last step only a directory
 * inside the store's is written, so there must be space for a second copy.
 * -EUCLEAN: the damage is too great; -ENODATA: no fork can be read; -ENOSPC.
 * After a failure the store is unchanged.  The store must be closed afterwards:
 * it still refers to the old data.
 */
int forest_repair(struct store *store, const struct repair_options *options,
                  struct repair_result *ret_result);

#include "counterpart.h"
#include "file_content.h"
#include "forest_undo.h"
#include "history.h"
#include "join_plan.h"
#include "join_record.h"
#include "lineage.h"
#include "file_search.h"
#include "quota.h"
#include "state_diff.h"
#include "state_hold.h"
#include "state_side.h"
#include "sweep.h"
#include "trash.h"
#include "tree_path.h"
#include "tree_read.h"

#endif
