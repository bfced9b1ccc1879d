/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The aspects of an inode that is merged: content, mode, owner, time, names and
 * each xattr.  Each is compared between faces, and the side that has changed it
 * is picked.  Private to the planner: join_plan.h.
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

/* Return 1 if two faces are the same in an aspect, else 0, or an error. */
typedef int aspect_fn(struct merge *m, int a, int b);
aspect_fn aspect_content, aspect_mode, aspect_owner, aspect_mtime, aspect_names,
        aspect_xattr, aspect_xattrs;

/* Return the attributes that the inode has in a face. */
const struct inode *face_inode(struct merge *m, int face);
bool face_has_xattr(const struct join_face *face, const char *name);

/* Return 1 if the face is the same as that of any base, else 0, or an error. */
int aspect_in_base(struct merge *m, aspect_fn *same, int face);
/*
 * Find the side that has changed an aspect; ours if both sides are the same.
 * JOIN_NOBODY: a conflict.  If the sides differ, `change` (enum join_change; 0:
 * none) is added to `changed` of each side that has changed the aspect.
 */
int aspect_pick(struct merge *m, aspect_fn *same, unsigned change,
                int *ret_side);
/* Call aspect_pick(), and decide a conflict; ours if that is left open. */
int aspect_decide(struct merge *m, aspect_fn *same, enum join_change change,
                  enum join_conflict kind, int *ret_side);

/*
 * Record a conflict in the inode, and return the side that ops->choose() picks:
 * JOIN_NOBODY if the conflict is left open; JOIN_BOTH only if `both` is true.
 */
int join_decide(const struct join_ops *ops, struct join_inode *inode,
                enum join_conflict kind, bool both);

#endif
