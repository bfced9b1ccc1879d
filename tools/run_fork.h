/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A fork that coppice run makes for one command: made, joined and removed by
 * requests.  The functions complain themselves, unless they return a message.
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
	uint64_t version; /* with which it was made */
};

/* The treatment of a join whose target has changed meanwhile. */
enum run_policy {
	RUN_QUEUE, /* merge both */
	RUN_FIRST, /* refuse the join */
};

enum run_join {
	RUN_JOINED,
	RUN_CONFLICT, /* both have changed the same */
	RUN_REFUSED,  /* by RUN_FIRST */
	RUN_FAILED,   /* for another reason */
};

enum run_removal {
	RUN_IF_UNCHANGED, /* since it was made */
	RUN_IF_PLAIN,     /* it has no snapshots */
	RUN_ANYWAY,       /* with its snapshots */
};

/*
 * Make a fork of a state, of this name and with these properties, KEY=VALUE,
 * which have been checked.  Return an exit code.
 */
int run_fork_make(const char *store, const char *source, const char *name,
                  const struct option_list *set, struct run_fork *ret_fork);
void run_fork_release(struct run_fork *fork);

/*
 * Join the fork into the fork `into` in one step.  *ret_message: why it is not
 * joined, to be freed, or NULL.
 */
enum run_join run_fork_join(const struct run_fork *fork, const char *into,
                            enum run_policy policy, char **ret_message);

/*
 * Delete the fork, unless it has been deleted and its name been given to
 * another.  Return true if it was deleted.  *ret_message: the error, to be
 * freed, or NULL.
 */
bool run_fork_remove(const struct run_fork *fork, enum run_removal how,
                     char **ret_message);

#endif
