/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plans of joins as JSON.  The request "join" with "plan" makes one; the user
 * edits it and passes it to a later "join" as "resolve".
 *
 *   {"plan": 1, "source": SIDE, "into": SIDE, "bases": [VERSION...],
 *    "rows": [{"path": ..., "op": ..., "inode": ..., "choose": ...}...]}
 *
 * where a SIDE is {"name": ..., "state": ..., "version": ..., "changes": ...}.
 */
#ifndef COPPICE_JOIN_REVIEW_H
#define COPPICE_JOIN_REVIEW_H

#include "control_verb.h"

struct join_choice {
	uint64_t ino; /* in the plan */
	int choice;   /* JOIN_OURS, JOIN_THEIRS or JOIN_BOTH */
	size_t row;   /* of the edited plan, from 1 on */
};

/* The choices of an edited plan.  All zero: none. */
struct join_review {
	struct join_choice *choices; /* in the order of inode numbers */
	size_t count, room;
};

/* Return the plan without its rows; NULL: no memory.  Lock NOT held. */
json_t *join_plan_json(struct control *c, const struct fs_join *what,
                       const struct fs_joined *joined);
/* Return the names of the choices that an inode permits, as an array. */
json_t *join_choices_json(const struct join_inode *inode);

/*
 * Read the choices of an edited plan, which must fit the one in `joined`.
 * Return 1 if there are choices, 0 if there are none.  On failure set the error
 * message; -EINVAL; -ESTALE: a side has changed.  Lock NOT held.
 */
int join_review_read(struct join_review *review, struct control *c,
                     json_t *edited, const struct fs_join *what,
                     const struct fs_joined *joined);
void join_review_release(struct join_review *review);
/* Return the choice for an inode, or JOIN_NOBODY. */
int join_review_choice(const struct join_review *review,
                       const struct join_inode *inode);

#endif
