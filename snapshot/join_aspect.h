/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The aspects of an inode that is merged: content, mode, owner, time, names and
 * each xattr.  Two faces are compared in one of them, and the side that has
 * changed it is picked.  Private to the planner: join_plan.h.
 */
#ifndef COPPICE_SNAPSHOT_JOIN_ASPECT_H
#define COPPICE_SNAPSHOT_JOIN_ASPECT_H

#include "join_plan.h"

/* The inode being merged, and the xattr in question. */
struct merge {
	struct join_inode *inode;
	unsigned faces;
	const struct join_ops *ops;
	const char *xattr;
};

/* Return 1 if two faces have the same in one aspect, 0, or an error. */
typedef int aspect_fn(struct merge *m, int a, int b);
aspect_fn aspect_content, aspect_mode, aspect_owner, aspect_mtime, aspect_names,
        aspect_xattr, aspect_xattrs;

/* Return what a face has of the inode itself. */
const struct inode *face_inode(struct merge *m, int face);
bool face_has_xattr(const struct join_face *face, const char *name);

/* Return 1 if a base has what the face has, 0, or an error. */
int aspect_in_base(struct merge *m, aspect_fn *same, int face);
/*
 * Find the side that has changed an aspect; ours if neither or both have, in
 * the same way.  JOIN_NOBODY: a conflict.  `change` (enum join_change; 0: none)
 * is noted for each side that has.
 */
int aspect_pick(struct merge *m, aspect_fn *same, unsigned change,
                int *ret_side);
/* Do what aspect_pick() does, and have a conflict decided; else it is ours. */
int aspect_decide(struct merge *m, aspect_fn *same, enum join_change change,
                  enum join_conflict kind, int *ret_side);

/*
 * Return the side that is chosen in a conflict, which is noted, or JOIN_BOTH if
 * `both` is true.
 */
int join_decide(const struct join_ops *ops, struct join_inode *inode,
                enum join_conflict kind, bool both);

#endif
