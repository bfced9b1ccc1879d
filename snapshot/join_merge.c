/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The three-way merge of one inode.
 *
 * Each aspect is merged for itself: content, mode, owner, times, each xattr,
 * and the names.  The names of a directory are one value, as it has one name;
 * those of other inodes are a set.
 */
#include "join_merge.h"
#include "array.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* The inode being merged, and the xattr in question. */
struct merge {
	struct join_inode *inode;
	unsigned faces;
	const struct join_ops *ops;
	const char *xattr;
};

/* Return 1 if two faces have the same in one aspect, 0, or an error. */
typedef int same_fn(struct merge *m, int a, int b);

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

int join_decide(const struct join_ops *ops, struct join_inode *inode,
                enum join_conflict kind)
{
	int side = ops->choose(ops->arg, inode, kind);

	if (side == JOIN_NOBODY)
		inode->conflicts |= kind;
	else
		inode->decided |= kind;
	return side;
}

/* ---- Aspects ------------------------------------------------------------ */

static const struct inode *inode_of(struct merge *m, int face)
{
	return &m->inode->faces[face].inode;
}

static int same_content(struct merge *m, int a, int b)
{
	const struct inode *left = inode_of(m, a), *right = inode_of(m, b);

	if ((left->mode ^ right->mode) & S_IFMT)
		return 0;
	if (S_ISREG(left->mode) || S_ISLNK(left->mode))
		return left->size != right->size
		               ? 0
		               : m->ops->same_content(m->ops->arg, m->inode, a,
		                                      b);
	return S_ISDIR(left->mode) || left->rdev == right->rdev;
}

static int same_mode(struct merge *m, int a, int b)
{
	return inode_of(m, a)->mode == inode_of(m, b)->mode;
}

static int same_owner(struct merge *m, int a, int b)
{
	return inode_of(m, a)->uid == inode_of(m, b)->uid &&
	       inode_of(m, a)->gid == inode_of(m, b)->gid;
}

static bool same_time(const struct timestamp *a, const struct timestamp *b)
{
	return a->sec == b->sec && a->nsec == b->nsec;
}

static int same_mtime(struct merge *m, int a, int b)
{
	return same_time(&inode_of(m, a)->mtime, &inode_of(m, b)->mtime);
}

static int same_names(struct merge *m, int a, int b)
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

static bool has_xattr(const struct join_face *face, const char *name)
{
	for (size_t i = 0; i < face->xattr_count; i++) {
		if (!strcmp(face->xattrs[i].name, name))
			return true;
	}
	return false;
}

static int same_xattr(struct merge *m, int a, int b)
{
	bool left = has_xattr(&m->inode->faces[a], m->xattr);
	bool right = has_xattr(&m->inode->faces[b], m->xattr);

	if (!left || !right)
		return left == right;
	return m->ops->same_xattr(m->ops->arg, m->inode, m->xattr, a, b);
}

static int same_xattrs(struct merge *m, int a, int b)
{
	const struct join_face *left = &m->inode->faces[a];
	int same = left->xattr_count == m->inode->faces[b].xattr_count;

	for (size_t i = 0; same > 0 && i < left->xattr_count; i++) {
		m->xattr = left->xattrs[i].name;
		same = same_xattr(m, a, b);
	}
	return same;
}

/* Return 1 if a base has what the face has, 0, or an error. */
static int in_base(struct merge *m, same_fn *same, int face)
{
	for (unsigned f = JOIN_BASE; f < m->faces; f++) {
		int r = m->inode->faces[f].present ? same(m, face, (int)f) : 0;

		if (r)
			return r;
	}
	return 0;
}

/*
 * Find the side that has changed an aspect; ours if neither or both have, in
 * the same way.  JOIN_NOBODY: a conflict.
 */
static int pick(struct merge *m, same_fn *same, int *ret_side)
{
	int r = same(m, JOIN_OURS, JOIN_THEIRS), ours, theirs;

	*ret_side = JOIN_OURS;
	if (r)
		return r < 0 ? r : 0;
	ours = in_base(m, same, JOIN_OURS);
	if (ours < 0)
		return ours;
	theirs = in_base(m, same, JOIN_THEIRS);
	if (theirs < 0)
		return theirs;
	if (ours == theirs)
		*ret_side = JOIN_NOBODY;
	else if (ours)
		*ret_side = JOIN_THEIRS;
	return 0;
}

/* Do what pick() does, and have a conflict decided. */
static int pick_or_decide(struct merge *m, same_fn *same,
                          enum join_conflict kind, int *ret_side)
{
	int err = pick(m, same, ret_side);

	if (!err && *ret_side == JOIN_NOBODY)
		*ret_side = join_decide(m->ops, m->inode, kind);
	if (!err && *ret_side == JOIN_NOBODY)
		*ret_side = JOIN_OURS;
	return err;
}

/* ---- Names -------------------------------------------------------------- */

static int result_name(struct merge *m, const struct join_name *name)
{
	struct join_face *result = &m->inode->result;
	struct join_name *added;

	for (size_t i = 0; i < m->inode->dropped_count; i++) {
		if (m->inode->dropped[i].parent == name->parent &&
		    !strcmp(m->inode->dropped[i].name, name->name))
			return 0;
	}
	added = array_add(&result->names, &result->name_count,
	                  &result->name_room);
	if (!added)
		return -ENOMEM;
	*added = *name;
	return 0;
}

/* Take the names of one face. */
static int names_take(struct merge *m, int side)
{
	const struct join_face *face = &m->inode->faces[side];
	int err = 0;

	m->inode->result.name_count = 0;
	for (size_t i = 0; !err && i < face->name_count; i++)
		err = result_name(m, &face->names[i]);
	return err;
}

/* Count the bases that have the inode, and those that have the name. */
static void count_bases(struct merge *m, const struct join_name *name,
                        unsigned *ret_present, unsigned *ret_have)
{
	*ret_present = *ret_have = 0;
	for (unsigned f = JOIN_BASE; f < m->faces; f++) {
		const struct join_face *face = &m->inode->faces[f];

		*ret_present += face->present;
		*ret_have += face->present && name && face_has_name(face, name);
	}
}

/*
 * Take the names that one side has and the other does not, if the side has
 * added them.  *ret_added, *ret_lost: it has added one; the other one has
 * removed one.
 */
static int names_of_one(struct merge *m, int side, bool *ret_added,
                        bool *ret_lost, bool *ret_unclear)
{
	const struct join_face *face = &m->inode->faces[side];
	const struct join_face *other = &m->inode->faces[!side];
	int err = 0;

	for (size_t i = 0; !err && i < face->name_count; i++) {
		unsigned present, have;

		if (face_has_name(other, &face->names[i])) {
			if (side == JOIN_OURS)
				err = result_name(m, &face->names[i]);
			continue;
		}
		count_bases(m, &face->names[i], &present, &have);
		if (!have) {
			*ret_added = true;
			err = result_name(m, &face->names[i]);
		} else if (have == present) {
			*ret_lost = true;
		} else {
			*ret_unclear = true;
		}
	}
	return err;
}

/* Return true if both sides have removed the same name of a base. */
static bool both_removed(struct merge *m)
{
	for (unsigned f = JOIN_BASE; f < m->faces; f++) {
		const struct join_face *face = &m->inode->faces[f];

		for (size_t i = 0; i < face->name_count; i++) {
			if (!face_has_name(&m->inode->faces[JOIN_OURS],
			                   &face->names[i]) &&
			    !face_has_name(&m->inode->faces[JOIN_THEIRS],
			                   &face->names[i]))
				return true;
		}
	}
	return false;
}

/* Merge the names of an inode that is no directory, as a set. */
static int links_merge(struct merge *m)
{
	bool added[2] = {0}, lost[2] = {0}, unclear = false;
	enum join_conflict kind = 0;
	unsigned present, have;
	int side, err;

	count_bases(m, NULL, &present, &have);
	m->inode->result.name_count = 0;
	err = names_of_one(m, JOIN_OURS, &added[0], &lost[0], &unclear);
	if (!err)
		err = names_of_one(m, JOIN_THEIRS, &added[1], &lost[1],
		                   &unclear);
	if (unclear || (added[0] && added[1] && (!present || both_removed(m))))
		kind = JOIN_RENAME_RENAME;
	else if (!m->inode->result.name_count && !m->inode->dropped_count)
		kind = JOIN_RENAME_DELETE;
	if (err || !kind)
		return err;
	side = join_decide(m->ops, m->inode, kind);
	return names_take(m, side == JOIN_THEIRS ? JOIN_THEIRS : JOIN_OURS);
}

static int names_merge(struct merge *m)
{
	int side, err;

	if (m->inode->names_of != JOIN_NOBODY)
		return names_take(m, m->inode->names_of);
	if (!S_ISDIR(inode_of(m, JOIN_OURS)->mode) &&
	    !same_names(m, JOIN_OURS, JOIN_THEIRS))
		return links_merge(m);
	err = pick_or_decide(m, same_names, JOIN_RENAME_RENAME, &side);
	return err ? err : names_take(m, side);
}

/* ---- Xattrs ------------------------------------------------------------- */

static int xattrs_take(struct merge *m, int side)
{
	const struct join_face *face = &m->inode->faces[side];
	struct join_face *result = &m->inode->result;

	result->xattr_count = 0;
	for (size_t i = 0; i < face->xattr_count; i++) {
		struct join_xattr *added =
		        array_add(&result->xattrs, &result->xattr_count,
		                  &result->xattr_room);

		if (!added)
			return -ENOMEM;
		*added = (struct join_xattr){face->xattrs[i].name,
		                             (enum join_side)side};
	}
	return 0;
}

/* Take one xattr from the side that has changed it, if that has it. */
static int xattr_merge(struct merge *m, const char *name)
{
	struct join_face *result = &m->inode->result;
	struct join_xattr *added;
	int side, err;

	m->xattr = name;
	err = pick_or_decide(m, same_xattr, JOIN_XATTR, &side);
	if (err || !has_xattr(&m->inode->faces[side], name))
		return err;
	added = array_add(&result->xattrs, &result->xattr_count,
	                  &result->xattr_room);
	if (!added)
		return -ENOMEM;
	*added = (struct join_xattr){name, (enum join_side)side};
	return 0;
}

static int xattrs_merge(struct merge *m)
{
	const struct join_face *ours = &m->inode->faces[JOIN_OURS];
	const struct join_face *theirs = &m->inode->faces[JOIN_THEIRS];
	int err = 0;

	m->inode->result.xattr_count = 0;
	for (size_t i = 0; !err && i < ours->xattr_count; i++)
		err = xattr_merge(m, ours->xattrs[i].name);
	for (size_t i = 0; !err && i < theirs->xattr_count; i++) {
		if (!has_xattr(ours, theirs->xattrs[i].name))
			err = xattr_merge(m, theirs->xattrs[i].name);
	}
	return err;
}

/* ---- Inodes ------------------------------------------------------------- */

static const struct timestamp *later(const struct timestamp *a,
                                     const struct timestamp *b)
{
	if (a->sec != b->sec)
		return a->sec > b->sec ? a : b;
	return a->nsec > b->nsec ? a : b;
}

static int times_merge(struct merge *m, int content)
{
	const struct inode *ours = inode_of(m, JOIN_OURS);
	const struct inode *theirs = inode_of(m, JOIN_THEIRS);
	struct inode *result = &m->inode->result.inode;
	int side, err = pick(m, same_mtime, &side);

	result->mtime = side != JOIN_NOBODY ? inode_of(m, side)->mtime
	                : m->inode->decided & (JOIN_EDIT_EDIT | JOIN_ADD_ADD)
	                        ? inode_of(m, content)->mtime
	                        : *later(&ours->mtime, &theirs->mtime);
	result->atime = *later(&ours->atime, &theirs->atime);
	return err;
}

/* Merge an inode that both sides have. */
static int both_merge(struct merge *m)
{
	struct inode *result = &m->inode->result.inode;
	unsigned present, have;
	int side = JOIN_OURS, err;

	count_bases(m, NULL, &present, &have);
	*result = *inode_of(m, JOIN_OURS);
	err = pick_or_decide(m, same_content,
	                     present ? JOIN_EDIT_EDIT : JOIN_ADD_ADD, &side);
	if (err)
		return err;
	m->inode->content = (enum join_side)side;
	result->size = inode_of(m, side)->size;
	result->rdev = inode_of(m, side)->rdev;
	err = times_merge(m, side);
	if (!err)
		err = pick_or_decide(m, same_mode, JOIN_MODE, &side);
	if (err)
		return err;
	result->mode = inode_of(m, side)->mode;
	err = pick_or_decide(m, same_owner, JOIN_OWNER, &side);
	if (err)
		return err;
	result->uid = inode_of(m, side)->uid;
	result->gid = inode_of(m, side)->gid;
	err = xattrs_merge(m);
	if (!err)
		err = names_merge(m);
	if (!err && !m->inode->result.name_count && m->inode->ino != INO_ROOT)
		m->inode->result.present = false;
	return err;
}

/* Take the inode as one side has it. */
static int side_take(struct merge *m, int side)
{
	const struct join_face *face = &m->inode->faces[side];
	struct join_face *result = &m->inode->result;
	int err;

	result->present = face->present;
	result->inode = face->inode;
	m->inode->content = (enum join_side)side;
	if (!face->present)
		return 0;
	err = xattrs_take(m, side);
	if (!err)
		err = names_take(m, side);
	if (!result->name_count && m->inode->ino != INO_ROOT)
		result->present = false;
	return err;
}

/* Merge an inode that only one side has. */
static int one_merge(struct merge *m, int side)
{
	static same_fn *const edits[] = {same_content, same_mode, same_owner,
	                                 same_xattrs};
	unsigned present, have;
	enum join_conflict kind;
	int same = 1, named;

	count_bases(m, NULL, &present, &have);
	if (!present)
		return side_take(m, side);
	for (size_t i = 0; same > 0 && i < sizeof(edits) / sizeof(*edits); i++)
		same = in_base(m, edits[i], side);
	named = same < 0 ? 0 : in_base(m, same_names, side);
	if (same < 0 || named < 0)
		return same < 0 ? same : named;
	if (same && named && present == m->faces - JOIN_BASE)
		return side_take(m, !side);
	kind = same && !named ? JOIN_RENAME_DELETE : JOIN_EDIT_DELETE;
	named = join_decide(m->ops, m->inode, kind);
	if (named == side) {
		m->inode->revived = true;
		m->inode->presence = side;
	}
	return side_take(m, named == JOIN_NOBODY ? JOIN_OURS : named);
}

int join_merge(struct join_inode *inode, unsigned faces,
               const struct join_ops *ops)
{
	struct merge m = {.inode = inode, .faces = faces, .ops = ops};
	bool ours = inode->faces[JOIN_OURS].present;
	bool theirs = inode->faces[JOIN_THEIRS].present;

	inode->conflicts = 0;
	inode->result.present = true;
	if (inode->presence != JOIN_NOBODY)
		return side_take(&m, inode->presence);
	if (ours && theirs)
		return both_merge(&m);
	if (ours || theirs)
		return one_merge(&m, ours ? JOIN_OURS : JOIN_THEIRS);
	inode->result.present = false;
	return 0;
}
