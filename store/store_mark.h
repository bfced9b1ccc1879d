/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Processes that read a store beside the one that writes to it.  A part of
 * store.h: include that.
 *
 * Such a process opens the store with store_options.beside.  It sees the last
 * commit; each hold of its lock begins with a check for a newer one.  To read a
 * version in several holds, it marks the version's number.  The process that
 * writes claims the number before it frees the version's blocks:
 *
 * 1. A mark and a claim exclude each other; both end with their process.
 * 2. The reader marks the version that it has found by a state's name, and then
 *    looks at the last commit: does the state still name the version?
 * 3. The writer claims a version that no state names any more in memory, and
 *    keeps the claim until the commit in which none does.
 * 4. If the mark was first, the writer frees nothing until it is removed.
 * 5. If the claim was first, the mark is refused; after the claim has ended,
 *    the reader does not find the name in the last commit.  So the state is
 *    gone.
 */
#ifndef COPPICE_STORE_MARK_H
#define COPPICE_STORE_MARK_H

#include <stdbool.h>
#include <stdint.h>

struct store;

/*
 * Set the function that is called at the beginning of a hold of the lock that
 * sees a newer commit than the hold before.  By then, the nodes in memory are
 * forgotten.  Only a store opened with `beside` calls the function.
 */
void store_on_newer(struct store *store, void (*fn)(void *arg), void *arg);

/*
 * Set *ret_commit to the number of the commit that is seen.  Return false if
 * there is a newer one, which LMDB does not let readers see yet.  Lock held.
 */
bool store_view(struct store *store, uint64_t *ret_commit);

/* Mark a number, from 1 on.  -EBUSY: it is claimed.  Lock held or not. */
int store_mark(struct store *store, uint64_t number);
void store_unmark(struct store *store, uint64_t number);

/* Return true if other processes read the store. */
bool store_has_readers(const struct store *store);
/* Return true if one of them has marked the number. */
bool store_is_marked(const struct store *store, uint64_t number);

/*
 * Claim a number until the open group is on disk.  This process may claim it
 * repeatedly.  -EBUSY: it is marked; -EAGAIN: there are too many claims, try
 * again after the next commit; -ENOMEM.  Lock held.
 */
int store_claim(struct store *store, uint64_t number);
/* Take the last claim back, made in this hold of the lock. */
void store_unclaim(struct store *store);

#endif
