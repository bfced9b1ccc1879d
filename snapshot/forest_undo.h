/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Several changes of states in one hold of the store's lock that happen all or
 * not at all.  A part of snapshot.h: include that.  Lock held throughout.
 *
 * All that describes states is in records: names, properties, lineage, tasks.
 * At the beginning the structs in memory are written to their records, so that
 * both agree.  From then on the store saves each record before it is changed.
 * To undo the changes, it restores the records, and the structs that were
 * changed are read from them again, as after a restart.  Because the lock is
 * held from beginning to end, no other thread sees a part of the changes, and
 * all are in one transaction group: the disk has all of them or none.
 */
#ifndef COPPICE_FOREST_UNDO_H
#define COPPICE_FOREST_UNDO_H

#include <stdbool.h>
#include <stdint.h>

struct forest;
struct state;

/*
 * Begin changes that can be undone: functions of snapshot.h that make, rename
 * and delete states, change properties and tags, and set the default state and
 * the root's inode; and side_begin() and side_switch(), if the holds are
 * released before the end.  Files must not be changed.  Until forest_undo_end()
 * those functions return -EAGAIN where they would have to release the lock.
 * -ENOMEM, -EROFS: nothing has begun.
 */
int forest_undo_begin(struct forest *forest);
/*
 * End the changes.  With `undo`, everything is as it was at the beginning,
 * except that numbers drawn since are not drawn again; else the changes stay.
 * Pointers that were obtained since the beginning are invalid afterwards.
 */
void forest_undo_end(struct forest *forest, bool undo);
/*
 * Undo the changes, and freeze the heads again that they have frozen.  So all
 * versions that state_hold() held since the beginning still have the same trees
 * and ids, and can be held by version_hold_id() before the lock is released;
 * those of states that were made since are gone.  -ENOMEM, -ENOSPC: undone, but
 * not all heads are frozen.
 */
int forest_undo_frozen(struct forest *forest);

/*
 * Begin changes of records that records_end() undoes if one of them fails.
 * Only records are undone.  After forest_undo_begin() nothing is begun, because
 * everything is undone by forest_undo_end().  -ENOMEM: nothing has begun.  For
 * the sources of snapshot/; the lock is not released before records_end().
 */
int records_begin(struct forest *forest, bool *ret_begun);
/* End the changes; a negative `err` undoes them, which needs no memory. */
void records_end(struct forest *forest, bool begun, int err);

/* Return true if the version was made since forest_undo_begin(). */
bool forest_undo_made(const struct forest *forest, uint64_t version);

/* Note that the head of a state is frozen.  For the sources of snapshot/. */
int forest_undo_froze(struct forest *forest, const struct state *state);

#endif
