/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The aspects of an inode that is merged. */
#include "join_aspect.h"

#include <string.h>
#include <sys/stat.h>

bool face_has_name(const struct join_face *face, const struct join_name *name)
{
	for (size_t i = 0; i < face->name_count; i++) {
		if (face->names[i].parent == name->parent &&
		    !strcmp(face->names[i].name, name->name))
			return true;
	}
	return false;
}

const char *join_conflict_name(enum join_conflict kind)
{
	static const char *const names[JOIN_CONFLICTS] = {
	        "edit/edit", "edit/delete", "rename/rename", "rename/delete",
	        "add/add",   "type",        "mode",          "owner",
	        "xattr",     "cycle"};

	for (unsigned i = 0; i < JOIN_CONFLICTS; i++) {
		if (kind & 1U << i)
			return names[i];
	}
	return "none";
}

const char *join_change_name(enum join_change kind)
{
	static const char *const names[JOIN_CHANGES] = {
	        "presence", "content", "name", "mode", "owner", "xattr"};

	for (unsigned i = 0; i < JOIN_CHANGES; i++) {
		if (kind & 1U << i)
			return names[i];
	}
	return "none";
}

int join_decide(const struct join_ops *ops, struct join_inode *inode,
                enum join_conflict kind, bool both)
{
	int side;

	if (both)
		inode->both |= kind;
	side = ops->choose(ops->arg, inode, kind);
	if (!both && side == JOIN_BOTH)
		side = JOIN_NOBODY;
	if (side == JOIN_NOBODY)
		inode->conflicts |= kind;
	else
		inode->decided |= kind;
	return side;
}

/* ---- Comparing faces ---------------------------------------------------- */

const struct inode *face_inode(struct merge *m, int face)
{
	return &m->inode->faces[face].inode;
}

int aspect_content(struct merge *m, int a, int b)
{
	const struct inode *left = face_inode(m, a), *right = face_inode(m, b);

	if ((left->mode ^ right->mode) & S_IFMT)
		return 0;
	if (S_ISREG(left->mode) || S_ISLNK(left->mode))
		return left->size != right->size
		               ? 0
		               : m->ops->same_content(m->ops->arg, m->inode, a,
		                                      b);
	return S_ISDIR(left->mode) || left->rdev == right->rdev;
}

int aspect_mode(struct merge *m, int a, int b)
{
	return face_inode(m, a)->mode == face_inode(m, b)->mode;
}

int aspect_owner(struct merge *m, int a, int b)
{
	return face_inode(m, a)->uid == face_inode(m, b)->uid &&
	       face_inode(m, a)->gid == face_inode(m, b)->gid;
}

static bool same_time(const struct timestamp *a, const struct timestamp *b)
{
	return a->sec == b->sec && a->nsec == b->nsec;
}

int aspect_mtime(struct merge *m, int a, int b)
{
	return same_time(&face_inode(m, a)->mtime, &face_inode(m, b)->mtime);
}

int aspect_names(struct merge *m, int a, int b)
{
	const struct join_face *left = &m->inode->faces[a];
	const struct join_face *right = &m->inode->faces[b];

	if (left->name_count != right->name_count)
		return 0;
	for (size_t i = 0; i < left->name_count; i++) {
		if (!face_has_name(right, &left->names[i]))
			return 0;
	}
	return 1;
}

bool face_has_xattr(const struct join_face *face, const char *name)
{
	for (size_t i = 0; i < face->xattr_count; i++) {
		if (!strcmp(face->xattrs[i].name, name))
			return true;
	}
	return false;
}

int aspect_xattr(struct merge *m, int a, int b)
{
	bool left = face_has_xattr(&m->inode->faces[a], m->xattr);
	bool right = face_has_xattr(&m->inode->faces[b], m->xattr);

	if (!left || !right)
		return left == right;
	return m->ops->same_xattr(m->ops->arg, m->inode, m->xattr, a, b);
}

int aspect_xattrs(struct merge *m, int a, int b)
{
	const struct join_face *left = &m->inode->faces[a];
	int same = left->xattr_count == m->inode->faces[b].xattr_count;

	for (size_t i = 0; same > 0 && i < left->xattr_count; i++) {
		m->xattr = left->xattrs[i].name;
		same = aspect_xattr(m, a, b);
	}
	return same;
}

/* ---- Picking a side ----------------------------------------------------- */

int aspect_in_base(struct merge *m, aspect_fn *same, int face)
{
	for (unsigned f = JOIN_BASE; f < m->faces; f++) {
		int r = m->inode->faces[f].present ? same(m, face, (int)f) : 0;

		if (r)
			return r;
	}
	return 0;
}

int aspect_pick(struct merge *m, aspect_fn *same, unsigned change,
                int *ret_side)
{
	int r = same(m, JOIN_OURS, JOIN_THEIRS), ours, theirs;

	*ret_side = JOIN_OURS;
	if (r)
		return r < 0 ? r : 0;
	ours = aspect_in_base(m, same, JOIN_OURS);
	if (ours < 0)
		return ours;
	theirs = aspect_in_base(m, same, JOIN_THEIRS);
	if (theirs < 0)
		return theirs;
	m->inode->changed[JOIN_OURS] |= ours ? 0 : change;
	m->inode->changed[JOIN_THEIRS] |= theirs ? 0 : change;
	if (ours == theirs)
		*ret_side = JOIN_NOBODY;
	else if (ours)
		*ret_side = JOIN_THEIRS;
	return 0;
}

int aspect_decide(struct merge *m, aspect_fn *same, enum join_change change,
                  enum join_conflict kind, int *ret_side)
{
	int err = aspect_pick(m, same, change, ret_side);

	if (!err && *ret_side == JOIN_NOBODY)
		*ret_side = join_decide(m->ops, m->inode, kind, false);
	if (!err && *ret_side == JOIN_NOBODY)
		*ret_side = JOIN_OURS;
	return err;
}
