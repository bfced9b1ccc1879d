/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which states a request is about: "grep" (a text in the name or description),
 * "where" (an array of KEY=VALUE, or KEY: the property is set), "since" and
 * "until" (times of creation in ns since the epoch, both included),
 * "unchanged", and "joined" (something was joined into it).  A state must match
 * all of them.
 */
#ifndef COPPICE_CONTROL_FILTER_H
#define COPPICE_CONTROL_FILTER_H

#include "control_verb.h"

struct control_filter {
	struct control *c;
	bool any; /* there is something to match */
	bool grep, unchanged, joined;
	char text[STATE_NAME_MAX]; /* of grep */
	const json_t *where;
	int64_t since, until;
};

int control_filter_init(struct control_filter *filter, struct control *c);
/* Lock held. */
bool control_filter_match(const struct control_filter *filter,
                          struct state *state);

#endif
