/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The fork that coppice run makes for one command: making, joining and removing
 * it by requests.  The functions print errors unless they return a message.
 */
#ifndef COPPICE_RUN_FORK_H
#define COPPICE_RUN_FORK_H

#include <stdbool.h>
#include <stdint.h>

struct option_list;

struct run_fork {
	const char *store; /* the caller's */
	char *name;        /* NULL: it was not made */
	uint64_t number;
	uint64_t version; /* its version when it was made */
};

/* How to join into a fork that has changed meanwhile. */
enum run_policy {
	RUN_QUEUE, /* merge both */
	RUN_FIRST, /* refuse the join */
};

enum run_join {
	RUN_JOINED,
	RUN_CONFLICT, /* not joined: there are conflicts */
	RUN_REFUSED,  /* not joined because of RUN_FIRST */
	RUN_FAILED,   /* not joined for another reason */
};

enum run_removal {
	RUN_IF_UNCHANGED, /* if it has not changed since it was made */
	RUN_IF_PLAIN,     /* if it has no snapshots */
	RUN_ANYWAY,       /* always, with its snapshots */
};

/*
 * Make a fork of a state, with this name and these properties (KEY=VALUE,
 * already checked).  Return an exit code.
 */
int run_fork_make(const char *store, const char *source, const char *name,
                  const struct option_list *set, struct run_fork *ret_fork);
void run_fork_release(struct run_fork *fork);

/*
 * Join the fork into the fork `into` in one step.  *ret_message: the reason if
 * it is not joined, which the caller frees, or NULL.
 */
enum run_join run_fork_join(const struct run_fork *fork, const char *into,
                            enum run_policy policy, char **ret_message);

/*
 * Delete the fork, unless its name belongs to another one by now.  Return true
 * if it was deleted.  *ret_message: the error, which the caller frees, or NULL.
 */
bool run_fork_remove(const struct run_fork *fork, enum run_removal how,
                     char **ret_message);

#endif
