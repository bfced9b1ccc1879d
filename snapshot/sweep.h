/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sweeping: freeing the blocks that a nameless version with several children
 * has, and none of the children.  A part of snapshot.h: include that.
 *
 * Such a version becomes hollow: its tree can no longer be read, so it is not
 * the base of joins any more.
 */
#ifndef COPPICE_SNAPSHOT_SWEEP_H
#define COPPICE_SNAPSHOT_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct forest;

/* A version that is swept. */
struct swept {
	uint64_t version;
	uint64_t bytes; /* freed by it, stored, as of the last commit */
	bool was_hollow;
	const uint64_t *forks; /* numbers of those made from the version */
	size_t forks_len;
};
/*
 * Sweep all versions, with dry_run only report them.  A version that is held,
 * also by a join, and one with a child that is being deleted are left out.
 * The sweep can be interrupted at any point, and be repeated.  fn is called for
 * each version; a nonzero result ends the sweep, which then returns it.  Lock
 * NOT held.  -EROFS; -EINTR: see store_yield().
 */
int forest_sweep(struct forest *forest, bool dry_run,
                 int (*fn)(void *arg, const struct swept *swept), void *arg);

#endif
