/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Snapshots by time (-o autosnap=INTERVAL), and their expiry (-o keep=POLICY).
 *
 * One thread of the daemon serves all mounts that ask for it.  At the end of
 * each interval it snapshots the forks of a mount that have changed since their
 * newest snapshot, and then deletes those snapshots that the policy does not
 * keep.  It deletes only snapshots whose names are times in UTC, as it makes
 * them and as `coppice snap` does.
 */
#ifndef COPPICE_AUTOSNAP_H
#define COPPICE_AUTOSNAP_H

#include "retention.h"
#include "session.h"

struct autosnap;

enum { AUTOSNAP_MIN_S = 6 }; /* the shortest interval */

/* The options of a mount. */
struct autosnap_rule {
	uint64_t session;      /* id; the rule ends with it */
	uint64_t state;        /* number of the fork; 0: all forks */
	int64_t interval;      /* ns */
	struct retention keep; /* without rules: nothing is deleted */
};

/* How the thread works on the store; the strings and fs are the caller's. */
struct autosnap_options {
	struct fs *fs;
	struct mounts
	        *mounts; /* whose caches are updated, and sessions asked */
	uid_t uid;       /* the creator of the snapshots */
	/* Called around each piece of work; begin() fails at the end. */
	int (*begin)(void *arg);
	void (*end)(void *arg);
	void *arg;
};

/* Start the thread, without a rule.  -ENOMEM, -EAGAIN. */
int autosnap_create(const struct autosnap_options *options,
                    struct autosnap **ret_autosnap);
/* Add the rule of a mount.  -ENOMEM. */
int autosnap_add(struct autosnap *autosnap, const struct autosnap_rule *rule);
/* End the thread.  No work is under way in begin().  Takes NULL. */
void autosnap_destroy(struct autosnap *autosnap);

/*
 * Do the work of one interval for a rule now, in the calling thread.  Return
 * the first error that a user would want to know of; the rest of the work is
 * done.
 */
int autosnap_run(struct autosnap *autosnap, const struct autosnap_rule *rule);

#endif
