/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The trash: deleted states that can come back.  A part of snapshot.h: include
 * that.  Lock held unless a function says otherwise.
 *
 * A state in the trash has STATE_TRASHED.  It has no name and cannot be found
 * or used, but keeps everything else: its number, version, properties and
 * joins, and a fork its snapshots.  Its deletion sets the time at which it is
 * due: the background thread then deletes it for good, or earlier if the store
 * is nearly full.
 */
#ifndef COPPICE_SNAPSHOT_TRASH_H
#define COPPICE_SNAPSHOT_TRASH_H

#include <stddef.h>
#include <stdint.h>

#include "item.h"
#include "store.h"

struct forest;
struct space;
struct state;

#define TRASH_TIME_MAX (INT64_C(100) * 366 * 86400) /* seconds */

/*
 * Set how long a state that is deleted from now on stays in the trash; 0: it is
 * deleted for good at once.  The time is kept in the store.  -EINVAL; -EROFS.
 */
int forest_set_trash_time(struct forest *forest, int64_t seconds);
/* Return that time in ns. */
int64_t forest_trash_time(const struct forest *forest);

/* A walk through the trash. */
struct trash_walk {
	uint8_t key[TABLE_KEY_MAX];
	size_t key_len; /* 0 at first */
};
/* Begin a walk with the states that are due at this time, in ns, or later. */
void trash_walk_from(struct trash_walk *walk, int64_t due);
/* Return when the state that the walk returned last is due. */
int64_t trash_walk_due(const struct trash_walk *walk);
/*
 * Return the next state in the trash, in the order in which they are due.
 * -ENOENT: there is none.
 */
int trash_next(struct forest *forest, struct trash_walk *walk,
               struct state **ret_state);
/*
 * Find the state in the trash that had this name in its fork (0: among the
 * forks) and was deleted last.  -ENOENT.
 */
int trash_find(struct forest *forest, uint64_t fork, const char *name,
               struct state **ret_state);
/*
 * Find a deleted state by the full name that it had, as state_named() finds
 * others: one in the trash, or a snapshot of a fork in the trash.  Of several,
 * the one that was deleted last.  -ENOENT.
 */
int trash_named(struct forest *forest, const char *name,
                struct state **ret_state);
/* Find a state in the trash by its number.  -ENOENT. */
int trash_get(struct forest *forest, uint64_t number, struct state **ret_state);
/* Return true if a snapshot of this fork is in the trash on its own. */
bool trash_has_snapshots(struct forest *forest, uint64_t fork);

/*
 * Bring a state back from the trash, under a new name (NULL: its own).  A fork
 * comes with its snapshots.  -EEXIST: the name is taken; -EINVAL,
 * -ENAMETOOLONG: no such state could have it; -ENOTDIR: the fork of the
 * snapshot is deleted; -ESTALE: the state is not in the trash.
 */
int state_undelete(struct forest *forest, struct state *state,
                   const char *name);
/*
 * Insert or remove the records by which a state in the trash is found.  For
 * delete.c and for repair.
 */
int trash_records_put(struct store *store, const struct state *state);
int trash_records_del(struct store *store, const struct state *state);
/*
 * Write the keys that a state in the trash has in TABLE_TRASH, and return their
 * number: 3, or 2 for a fork, which has none by its version.
 */
enum { TRASH_KEYS = 3 };
size_t trash_keys(const struct state *state,
                  struct record ret_keys[TRASH_KEYS]);
/*
 * Return how many snapshots in the trash name the version, or `most` if there
 * are at least so many.
 */
uint64_t trash_refs(struct forest *forest, uint64_t version, uint64_t most);
/*
 * Return the next snapshot of the fork that is in the trash on its own.
 * *at has the fork's number at first, in 8 bytes.  -ENOENT.
 */
int trash_next_of_fork(struct forest *forest, struct record *at,
                       struct state **ret_state);
/* Return how many states are in the trash, snapshots with their fork as one. */
uint64_t forest_trash_count(struct forest *forest);
/*
 * Add the state in the trash to a set, with its snapshots, as space_add() does.
 * Releases the lock from time to time.  -ESTALE.
 */
int trash_measure(struct forest *forest, struct space *space, uint64_t number);

#endif
