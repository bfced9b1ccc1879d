/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The arguments that select the states of a request: "grep" (a text in the name
 * or description), "where" (an array of KEY=VALUE, or KEY: the property is
 * set), "since" and "until" (times of creation in ns since the epoch, both
 * included), "unchanged", and "joined" (a state was joined into the selected
 * one).  A state must match all of them.
 */
#ifndef COPPICE_CONTROL_FILTER_H
#define COPPICE_CONTROL_FILTER_H

#include "control_verb.h"

struct control_filter {
	struct control *c;
	bool any; /* the request has at least one of the arguments */
	bool grep, unchanged, joined;
	char text[STATE_NAME_MAX]; /* of grep */
	const json_t *where;
	int64_t since, until;
};

/*
 * Read the arguments of the request, which must outlive the filter.  If one is
 * bad, set the error message and return -EINVAL.
 */
int control_filter_init(struct control_filter *filter, struct control *c);
/* Return true if the filter selects the state.  Lock held. */
bool control_filter_match(const struct control_filter *filter,
                          struct state *state);

#endif
