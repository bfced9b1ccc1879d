/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs `list`, `show` and `stat`. */
#ifndef COPPICE_CONTROL_LIST_H
#define COPPICE_CONTROL_LIST_H

#include "control_verb.h"

int control_list(struct control *c);
int control_show(struct control *c);
int control_stat(struct control *c);

/* A position in the list of all states, or of one fork's snapshots. */
struct list_position {
	bool forks;     /* list forks */
	bool snapshots; /* list snapshots: of each fork, or of one */
	/* The last row: the snapshot of the fork, or if "" the fork itself. */
	char fork[NAME_LEN_MAX + 1];
	char snapshot[NAME_LEN_MAX + 1];
	bool in_fork; /* the fork's own row was returned */
};

/* Return the next state of the list; -ENOENT: there is none.  Lock held. */
int list_position_next(struct control *c, struct list_position *position,
                       struct state **ret_state);
json_t *control_time(int64_t ns);

/* Return a time, in ns since the epoch, as text in UTC. */
json_t *control_time(int64_t ns);

#endif
