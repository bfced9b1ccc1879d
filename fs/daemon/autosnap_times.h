/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The snapshots of a fork that autosnap may delete, from the oldest to the
 * newest.  They are kept in memory, so that an interval need not read them all.
 */
#ifndef COPPICE_AUTOSNAP_TIMES_H
#define COPPICE_AUTOSNAP_TIMES_H

#include "retention.h"
#include "snapshot.h"

struct autosnap_times {
	uint64_t fork;
	int64_t fork_created; /* ns; another fork may get the number */
	bool loaded;
	uint64_t others; /* snapshots of the fork that are not in `at` */
	struct autosnap_time *at;
	size_t len, capacity;
};

struct autosnap_time {
	int64_t created; /* ns */
	uint64_t number;
};

/* Add the fork's newest snapshot if the list is loaded.  -ENOMEM. */
int autosnap_times_add(struct autosnap_times *times,
                       const struct state *snapshot);
/*
 * Read the snapshots of the fork unless all are known.  Lock NOT held.
 * -ESTALE: the fork is gone; -EINTR: see store_yield(); -ENOMEM.
 */
int autosnap_times_load(struct autosnap_times *times, struct forest *forest);
/*
 * Return the numbers of at most `most` snapshots that the policy does not keep,
 * the oldest first, in an array to be freed.  `now` is in ns.  -ENOMEM.
 */
int autosnap_times_expired(const struct autosnap_times *times,
                           const struct retention *policy, int64_t now,
                           size_t most, uint64_t **ret_numbers,
                           size_t *ret_count);
/* Remove a deleted snapshot.  An unknown number is ignored. */
void autosnap_times_del(struct autosnap_times *times, uint64_t number);
void autosnap_times_release(struct autosnap_times *times);

#endif
