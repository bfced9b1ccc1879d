/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The versions that no state names.  A part of snapshot.h: include that. */
#ifndef COPPICE_SNAPSHOT_LINEAGE_H
#define COPPICE_SNAPSHOT_LINEAGE_H

#include <stddef.h>
#include <stdint.h>

struct forest;

struct unnamed_version {
	uint64_t version;
	uint64_t parent; /* version; 0: none */
	int64_t created; /* when it froze, ns since the epoch */
};
struct lineage_walk {
	uint64_t at; /* 0 at first; then the last version that was read */
};
/*
 * Return up to `most` versions that no state names, as of the last commit, by
 * number.  0: these are the last; -EAGAIN: continue with another call, after a
 * release of the lock; -EUCLEAN.  Lock held.
 */
int lineage_unnamed(struct forest *forest, struct lineage_walk *walk,
                    struct unnamed_version *ret_versions, size_t most,
                    size_t *ret_count);

#endif
