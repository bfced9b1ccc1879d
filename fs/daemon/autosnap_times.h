/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The snapshots of a fork that autosnap may delete, from the oldest to the
 * newest: kept in memory, so that an interval costs the same however many there
 * are.
 */
#ifndef COPPICE_AUTOSNAP_TIMES_H
#define COPPICE_AUTOSNAP_TIMES_H

#include "retention.h"
#include "snapshot.h"

struct autosnap_times {
	uint64_t fork;
	int64_t fork_created; /* another fork may get the number */
	bool loaded;
	uint64_t others; /* snapshots of the fork that are not among them */
	struct autosnap_time *at;
	size_t len, capacity;
};

struct autosnap_time {
	int64_t created;
	uint64_t number;
};

/* Add the newest one, with its fork's counts as they are with it.  -ENOMEM. */
int autosnap_times_add(struct autosnap_times *times,
                       const struct state *snapshot);
/*
 * Read the snapshots of the fork unless all are known.  Lock NOT held.
 * -ESTALE: the fork is gone; -EINTR.
 */
int autosnap_times_load(struct autosnap_times *times, struct forest *forest);
/*
 * Return the numbers of those that the policy does not keep, up to `most`, from
 * the oldest on, in an array to be freed.  -ENOMEM.
 */
int autosnap_times_expired(const struct autosnap_times *times,
                           const struct retention *policy, int64_t now,
                           size_t most, uint64_t **ret_numbers,
                           size_t *ret_count);
/* Remove one that was deleted. */
void autosnap_times_del(struct autosnap_times *times, uint64_t number);
void autosnap_times_release(struct autosnap_times *times);

#endif
