/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * States and their lineage: forks and snapshots by name, the versions behind
 * them, and the giving back of space when they are deleted.
 *
 * This header and item.h are all that the folders above see of snapshot/.
 * Unless a function says otherwise the store's lock is held around it, and a
 * struct it hands out is valid until the lock is released.
 */
#ifndef COPPICE_SNAPSHOT_H
#define COPPICE_SNAPSHOT_H

#include "item.h"
#include "store.h"

struct forest; /* all states of one open store */

/* What a struct needs to be found by number in memory.  Inside snapshot/. */
struct cached {
	uint64_t key;
	struct cached *hash_next;
	struct cached *dirty_next;
	struct cached **dirty_at; /* what points here; NULL: not dirty */
	bool used;                /* looked up since the last sweep */
};

/*
 * A root in the lineage.  A head (freeze == 0) is written to by its one state;
 * a frozen version never changes again.  See DESIGN: the sharing rule.
 */
struct version {
	struct tree tree;  /* root, base, deadlist, account */
	uint64_t id;       /* its account and its first deadlist, too */
	uint64_t parent;   /* version id; 0: none */
	uint64_t freeze;   /* seq at which it froze; 0: a head */
	uint64_t kids;     /* versions whose parent this is */
	uint64_t kids_xor; /* their ids, xored: names the only one */
	uint64_t same;     /* kids that are heads and still have this root */
	uint64_t refs;     /* states and holds that name this version */
	int64_t created;   /* ns since the epoch; of a frozen one: when it froze
	                    */
	uint64_t inodes;   /* in the tree, the root directory included */
	uint64_t blocks;   /* 512-byte units its files have */
	/* in memory only */
	struct forest *forest;
	struct cached cached; /* dirty: the record must be written */
	bool changed;         /* a head known to differ from its parent */
	uint32_t pins;        /* states in memory that point here */
};

enum state_flags {
	STATE_READONLY = 1, /* a snapshot */
	STATE_DOOMED = 2,   /* a fork deleted before its snapshots could be */
};

/* A named tree. */
struct state {
	uint64_t number; /* 24 bits and more; in every st_ino of the state */
	uint64_t fork;   /* the fork whose snapshot this is; 0: a fork */
	uint32_t flags;
	int64_t created; /* ns since the epoch */
	uint64_t origin; /* state it was made from; 0: none */
	char origin_name[NAME_LEN_MAX * 2 + 2]; /* its name at that time */
	char name[NAME_LEN_MAX + 1];
	uint64_t snapshots; /* how many it has */
	struct version *version;
	/* in memory only */
	struct forest *forest;
	struct cached cached;
	bool gone; /* deleted */
};

/* What may be told of a state without keeping it. */
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
	uint64_t bytes;     /* of its files' data, uncompressed */
	uint64_t exclusive; /* stored bytes that deleting it would free; as of
	                       the last commit */
	uint64_t snapshots;
	bool unchanged; /* since it was made, or last forked */
	bool is_default;
};

/*
 * Make the first state, `main`, in a store that was just created: a root
 * directory with this owner and mode, and the directory that lists the forks.
 * There is no default state.  Lock NOT held.
 */
int forest_create(struct store *store, uint32_t uid, uint32_t gid,
                  uint32_t mode);
/*
 * Make the states known and resume in the background what was left undone.
 * Reads no state: each is read when it is first asked for.  A store opened
 * read-only is left as it is.  Lock NOT held.
 */
int forest_open(struct store *store, struct forest **ret_forest);
/*
 * Stops the background work and commits what the forest kept in memory; to be
 * called before store_close().  Lock NOT held.  Takes NULL.
 */
void forest_close(struct forest *forest);
struct store *forest_store(struct forest *forest);

/*
 * Names.  A fork's name has 1 to 255 bytes, none of them '/', NUL or a
 * control character; it does not begin with '.', and has a '~' only in front
 * of an '@' (for "~@", which begins a time, in front of a later one).
 * A snapshot's name has no '~' at all, but may begin with '.' if it is not "."
 * or "..".  -EINVAL; -ENAMETOOLONG.
 */
int name_check_fork(const char *name);
int name_check_snapshot(const char *name);
/*
 * Return true if a snapshot of this name would be found as FORK~NAME by its
 * name while it exists and by position once it is deleted.
 */
bool name_is_position(const char *name);

/*
 * By its number. -ESTALE: there is no such state any more.  When all numbers
 * have been given out, those of deleted states are given out again.
 */
int state_get(struct forest *forest, uint64_t number, struct state **ret_state);
/* By its own name in its fork (0: a fork by its name). -ENOENT. */
int state_find(struct forest *forest, uint64_t fork, const char *name,
               struct state **ret_state);
/*
 * By anything that names a state: a fork's name; FORK~SNAPSHOT;
 * FORK/.snap/SNAPSHOT; FORK~N, the N-th newest snapshot (1 is the newest);
 * FORK~@TIME, the newest at or before the end of the time, which is ISO 8601 (a
 * date, or date and time to the minute or second, or the time alone, of today;
 * local unless it ends in Z), or `today`, `yesterday`; or -N with a unit s, m,
 * h, d, w, or `now`, which are moments.  A name that is there wins over a
 * number or time of the same spelling. -ENOENT; -EINVAL: not a name or not a
 * time. Finding a position among many snapshots lets go of the lock now and
 * then: no pointer from before is good for anything afterwards.  The same holds
 * for state_at_position() and state_source().  -EINTR: see store_yield().
 */
int state_resolve(struct forest *forest, const char *name,
                  struct state **ret_state);
/*
 * The two halves of state_resolve(): by name alone, and by position alone
 * (FORK~N, FORK~@TIME).  A position means another snapshot as soon as one is
 * made or deleted, so nothing is deleted or renamed by one.
 */
int state_named(struct forest *forest, const char *name,
                struct state **ret_state);
int state_at_position(struct forest *forest, const char *name,
                      struct state **ret_state);
/*
 * Find the source that a new fork's name asks for: the longest existing prefix
 * in front of an '@' (any form that state_resolve takes), or for a name without
 * '@' the default state.  *ret_state is NULL for such a name if there is no
 * default state: it asks for a new tree.  -ENOENT.
 */
int state_source(struct forest *forest, const char *name,
                 struct state **ret_state);
/*
 * FORK or FORK~SNAPSHOT (where a fork is called just that,
 * FORK/.snap/SNAPSHOT): a name that resolves to the state.
 */
void state_full_name(struct forest *forest, const struct state *state,
                     char out[NAME_LEN_MAX * 2 + 2]);

/*
 * Iterate in name order: the first state of the fork (0: of the forks) with a
 * name after `after` (NULL or "": the first of all).  -ENOENT at the end.  Lets
 * go of the lock now and then where many have just been deleted.
 */
int state_next(struct forest *forest, uint64_t fork, const char *after,
               struct state **ret_state);

/*
 * The numbers of a fork's snapshots (fork 0: of the forks), a piece at a time,
 * without reading the states.  *walk is all zeroes but for the fork at first.
 * Fill in up to STATE_WALK_PIECE numbers.  0: there are no more; -EAGAIN: go on
 * with another call, in another hold of the lock.  States that come or go
 * between the calls may be in it or not.
 */
enum { STATE_WALK_PIECE = 256 };
struct state_walk {
	uint64_t fork;
	uint8_t key[TABLE_KEY_MAX]; /* how far it came */
	size_t key_len;
};
int state_walk(struct forest *forest, struct state_walk *walk,
               uint64_t ret_numbers[STATE_WALK_PIECE], size_t *ret_count);

/*
 * -EEXIST (also: a symlink has the name), -EINVAL, -ENAMETOOLONG; constant
 * time. When all numbers have been given out, making a state lets go of the
 * lock now and then, to search for one that is free: no pointer from before is
 * good for anything afterwards.  -ENOSPC: there is none; -ESTALE: the source
 * has gone; -EINTR: see store_yield().
 */
int state_fork(struct forest *forest, struct state *source, const char *name,
               struct state **ret_state);
/*
 * Make a fork with a new tree, whose root directory has these attributes.
 * Errors as of state_fork().
 */
int state_create(struct forest *forest, const char *name,
                 const struct inode *root, struct state **ret_state);
/* A snapshot of a fork (-EROFS: of a snapshot). */
int state_snapshot(struct forest *forest, struct state *fork, const char *name,
                   struct state **ret_state);
int state_rename(struct forest *forest, struct state *state, const char *name);
/*
 * Delete the name at once, the space in the background.  -ENOTEMPTY: a fork
 * that has snapshots (`recursive` deletes them too); -EBUSY: the default
 * state is among them, which must first be another.  What was open in it is
 * -ESTALE from then on.  Constant time, with any number of snapshots.
 */
int state_delete(struct forest *forest, struct state *state, bool recursive);
/*
 * Return true if a state that stays has the same tree, and this one has no
 * snapshots.  False when in doubt: a record cannot be read; snapshots of some
 * fork are just being deleted with it.
 */
bool state_has_twin(struct forest *forest, struct state *state);
/*
 * Return true if nothing would be lost by deleting it: it has a twin, or is a
 * fork with no snapshots and nothing in it.
 */
bool state_is_redundant(struct forest *forest, struct state *state);

/* The state that names without '@' fork.  -ENOENT: there is none. */
int state_default(struct forest *forest, struct state **ret_state);
/* NULL: none. */
int state_set_default(struct forest *forest, struct state *state);
int state_info(struct forest *forest, struct state *state,
               struct state_info *ret_info);
uint64_t forest_count(struct forest *forest); /* states, snapshots included */

/*
 * The tree to write to: -EROFS for a snapshot.  Marks the version as changed.
 */
int state_edit(struct state *state, struct tree **ret_tree);

/* The mode, owner and times of the directory that lists all forks. */
int forest_root_inode(struct forest *forest, struct inode *ret_inode);
int forest_set_root_inode(struct forest *forest, const struct inode *inode);

/* ---- Symlinks ----------------------------------------------------------- */

enum { SYMLINK_TARGET_MAX = 1023 };
/* All of their inode numbers, from the counter of inodes, are below this. */
#define SYMLINK_INO_END (UINT64_C(1) << 35)

/* A symlink in the directory that lists the forks. */
struct symlink {
	uint64_t ino;
	struct inode inode; /* its size is the target's length */
	char name[NAME_LEN_MAX + 1];
	char target[SYMLINK_TARGET_MAX + 1];
};

/* By its inode number.  -ESTALE. */
int symlink_get(struct forest *forest, uint64_t ino, struct symlink *ret);
/* By its name.  -ENOENT. */
int symlink_find(struct forest *forest, const char *name, struct symlink *ret);
/* The number of the first with a higher one.  -ENOENT. */
int symlink_next(struct forest *forest, uint64_t after, uint64_t *ret_ino);
/*
 * Make one of an inode, a name and a target; numbers it.  -EEXIST: a fork or a
 * symlink has the name; -EINVAL, -ENAMETOOLONG: no fork could have it; -ENOSPC.
 */
int symlink_create(struct forest *forest, struct symlink *link);
/* The inode was changed. */
int symlink_save(struct forest *forest, const struct symlink *link);
int symlink_delete(struct forest *forest, const struct symlink *link);
/* In the place of another that has the name.  -EEXIST: a fork has it. */
int symlink_rename(struct forest *forest, struct symlink *link,
                   const char *name);
/* Their names change places. */
int symlink_exchange(struct forest *forest, struct symlink *a,
                     struct symlink *b);

/* ---- Watching ----------------------------------------------------------- */

/*
 * Called with the lock held after a state was deleted or renamed, by whatever
 * way, so that those who cache names can forget them.  The snapshots of a fork
 * that was deleted with them are gone with it, but are reported one by one
 * from the background thread.
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
 * `keeps` is called with the lock held before the number of a deleted state is
 * given out again.  It returns true if somebody may still mean the deleted one
 * by the number; else it forgets what it remembers under it.
 */
void forest_set_keeper(struct forest *forest,
                       bool (*keeps)(void *arg, uint64_t number), void *arg);
/*
 * Return true if the numbers of deleted states are given out again, or are
 * about to be.  Lock not needed.
 */
bool forest_reuses_numbers(const struct forest *forest);
/*
 * Return a number, never 0, that differs (but for one chance in 2^30) between
 * two states that had the same number one after the other.
 */
uint32_t state_generation(const struct state *state);

/* ---- Space -------------------------------------------------------------- */

/* Wait until all background reclaiming is done and durable. Lock NOT held. */
int forest_drain(struct forest *forest);
/* How many deleted versions still wait to be reclaimed. */
uint64_t forest_backlog(struct forest *forest);

/* ---- Checking ----------------------------------------------------------- */

/* Something that is not as it should be. */
struct finding {
	const char *kind;  /* one word: see coppice-check(1) */
	const char *state; /* full name of a state it touches, or NULL */
	const char *path;  /* of the file in the state, or NULL */
	uint64_t ino;      /* of the file; 0: none */
	uint64_t version;  /* 0: none */
	uint64_t block;    /* 0: none */
	const char *text;  /* what is wrong */
};

/* A nonzero result of a callback ends the check, which then returns it. */
struct check_options {
	bool data; /* read all files, too */
	int (*found)(void *arg, const struct finding *finding);
	/* Now and then; `what` is one word.  May be NULL. */
	int (*progress)(void *arg, const char *what, uint64_t done,
	                uint64_t all);
	void *arg;
};

/*
 * Look at everything in the store as of its last commit, whatever is done to
 * it meanwhile.  No forest needs to be open.  0: all was looked at, and what is
 * wrong was told.  Lock NOT held.
 */
int forest_check(struct store *store, const struct check_options *options);

/* ---- Repairing ---------------------------------------------------------- */

/* A nonzero result of a callback ends the repair, which then returns it. */
struct repair_options {
	bool dry_run; /* only tell what would be done */
	/* What is wrong, as forest_check() tells it. */
	int (*found)(void *arg, const struct finding *finding);
	/* What is (would be) lost or changed: see coppice-check(1). */
	int (*done)(void *arg, const struct finding *finding);
	int (*progress)(void *arg, const char *what, uint64_t done,
	                uint64_t all); /* may be NULL */
	void *arg;
};

struct repair_result {
	uint64_t found; /* 0: there was nothing to do */
	uint64_t done;
	char *kept; /* where the damaged data are now, or NULL; to be freed */
};

/*
 * Make a new store of what can be read of this one, which was opened read-only
 * and in which nobody has a forest open; check it; and put it in this one's
 * place, durably, in one step.  Until then nothing is changed but for a
 * directory of its own in the store's, so there must be room for a second copy.
 * -EUCLEAN: it is damaged too much for that; -ENODATA: no fork of it can be
 * read; -ENOSPC.  Whenever it fails all is as it was.
 * The store must be closed afterwards: it still sees the old data.
 */
int forest_repair(struct store *store, const struct repair_options *options,
                  struct repair_result *ret_result);

#endif
