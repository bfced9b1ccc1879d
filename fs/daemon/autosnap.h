/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Snapshots by time (-o autosnap=INTERVAL), and their expiry (-o keep=POLICY).
 *
 * One thread of the daemon serves all mounts with the option.  At the end of
 * each interval it snapshots the forks of a mount that have changed since their
 * newest snapshot, then deletes the snapshots that the policy does not keep.
 * Only snapshots whose names are times in UTC are deleted: this thread and
 * `coppice snap` without a name make such names.
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

/* How the thread works on the store; the pointers are the caller's. */
struct autosnap_options {
	struct fs *fs;
	struct mounts *mounts; /* caches to update, sessions to look up */
	uid_t uid;             /* the creator of the snapshots */
	/* Called around each job; begin() fails if the daemon is ending. */
	int (*begin)(void *arg);
	void (*end)(void *arg);
	void *arg;
};

/* Start the thread, without a rule.  -ENOMEM, -EAGAIN. */
int autosnap_create(const struct autosnap_options *options,
                    struct autosnap **ret_autosnap);
/* Add the rule of a mount.  -ENOMEM. */
int autosnap_add(struct autosnap *autosnap, const struct autosnap_rule *rule);
/* End the thread after the work that is under way.  Takes NULL. */
void autosnap_destroy(struct autosnap *autosnap);

/*
 * Do the work of one interval for a rule now, in the calling thread.  An error
 * of one fork does not stop the work on others; the first one is returned.  A
 * state that is gone meanwhile is no error.
 */
int autosnap_run(struct autosnap *autosnap, const struct autosnap_rule *rule);

#endif
