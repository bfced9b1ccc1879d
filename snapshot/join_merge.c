/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The three-way merge of one inode.
 *
 * Each aspect is merged separately: content, mode, owner, times, each xattr,
 * and the names.  A directory's name is one value; the names of other inodes
 * are a set.
 */
#include "join_merge.h"
#include "array.h"
#include "join_aspect.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* ---- Names -------------------------------------------------------------- */

static bool names_equal(const struct join_name *a, const struct join_name *b)
{
	return a->parent == b->parent && !strcmp(a->name, b->name);
}

static bool is_dropped(const struct join_inode *inode,
                       const struct join_name *name)
{
	for (size_t i = 0; i < inode->dropped_count; i++) {
		if (names_equal(&inode->dropped[i], name))
			return true;
	}
	return false;
}

/* Add a name to the result, or the name that replaces it. */
static int result_name(struct merge *m, const struct join_name *name)
{
	struct join_face *result = &m->inode->result;
	struct join_name *added, now = *name;

	if (is_dropped(m->inode, &now))
		return 0;
	for (size_t i = 0; i < m->inode->move_count; i++) {
		if (names_equal(&m->inode->moves[i].from, &now))
			now.name = m->inode->moves[i].to;
	}
	if (is_dropped(m->inode, &now))
		return 0;
	added = array_add(&result->names, &result->name_count,
	                  &result->name_room);
	if (!added)
		return -ENOMEM;
	*added = now;
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

/* Take all names of both sides. */
static int names_unite(struct merge *m)
{
	const struct join_face *theirs = &m->inode->faces[JOIN_THEIRS];
	int err = names_take(m, JOIN_OURS);

	for (size_t i = 0; !err && i < theirs->name_count; i++) {
		if (!face_has_name(&m->inode->faces[JOIN_OURS],
		                   &theirs->names[i]))
			err = result_name(m, &theirs->names[i]);
	}
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
 * Take the names that a side has added and, for ours, those that both sides
 * have.  *ret_added: the side has added a name; *ret_lost: the other side has
 * removed one; *ret_unclear: only some of the bases have a name.
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
	for (int s = JOIN_OURS; s <= JOIN_THEIRS; s++)
		m->inode->changed[s] |=
		        added[s] || lost[!s] ? JOIN_CHANGED_NAMES : 0;
	if (unclear || (added[0] && added[1] && (!present || both_removed(m))))
		kind = JOIN_RENAME_RENAME;
	else if (!m->inode->result.name_count && !m->inode->dropped_count)
		kind = JOIN_RENAME_DELETE;
	if (err || !kind)
		return err;
	side = join_decide(m->ops, m->inode, kind, true);
	if (side == JOIN_BOTH)
		return names_unite(m);
	return names_take(m, side == JOIN_THEIRS ? JOIN_THEIRS : JOIN_OURS);
}

static int names_merge(struct merge *m)
{
	int side, err;

	if (m->inode->names_of != JOIN_NOBODY)
		return names_take(m, m->inode->names_of);
	if (!S_ISDIR(face_inode(m, JOIN_OURS)->mode) &&
	    !aspect_names(m, JOIN_OURS, JOIN_THEIRS))
		return links_merge(m);
	err = aspect_decide(m, aspect_names, JOIN_CHANGED_NAMES,
	                    JOIN_RENAME_RENAME, &side);
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

/* Take one xattr from the side that has changed it, unless that removed it. */
static int xattr_merge(struct merge *m, const char *name)
{
	struct join_face *result = &m->inode->result;
	struct join_xattr *added;
	int side, err;

	m->xattr = name;
	err = aspect_decide(m, aspect_xattr, JOIN_CHANGED_XATTR, JOIN_XATTR,
	                    &side);
	if (err || !face_has_xattr(&m->inode->faces[side], name))
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
		if (!face_has_xattr(ours, theirs->xattrs[i].name))
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
	const struct inode *ours = face_inode(m, JOIN_OURS);
	const struct inode *theirs = face_inode(m, JOIN_THEIRS);
	struct inode *result = &m->inode->result.inode;
	bool chosen = m->inode->decided & (JOIN_EDIT_EDIT | JOIN_ADD_ADD) &&
	              !m->inode->merged;
	int side, err = aspect_pick(m, aspect_mtime, 0, &side);

	result->mtime = side != JOIN_NOBODY ? face_inode(m, side)->mtime
	                : chosen            ? face_inode(m, content)->mtime
	                         : *later(&ours->mtime, &theirs->mtime);
	result->atime = *later(&ours->atime, &theirs->atime);
	return err;
}

/* Merge a regular file that both sides have changed by lines, if possible. */
static int lines_merge(struct merge *m)
{
	struct join_inode *inode = m->inode;
	int r;

	if (!m->ops->merge || m->faces != JOIN_BASE + 1 ||
	    !inode->faces[JOIN_BASE].present ||
	    !S_ISREG(face_inode(m, JOIN_OURS)->mode) ||
	    !S_ISREG(face_inode(m, JOIN_BASE)->mode))
		return 0;
	if (inode->merge == JOIN_MERGE_UNTRIED) {
		r = m->ops->merge(m->ops->arg, inode, &inode->merged_size);
		if (r < 0)
			return r;
		inode->merge = r ? JOIN_MERGE_DONE : JOIN_MERGE_CONFLICT;
	}
	inode->merged = inode->merge == JOIN_MERGE_DONE;
	if (inode->merged)
		inode->decided |= JOIN_EDIT_EDIT;
	return 0;
}

static int content_merge(struct merge *m)
{
	struct join_inode *inode = m->inode;
	unsigned present, have;
	int side, err = aspect_pick(m, aspect_content, JOIN_CHANGED_CONTENT,
	                            &side);

	if (!err && side == JOIN_NOBODY)
		err = lines_merge(m);
	if (err)
		return err;
	if (side == JOIN_NOBODY && !inode->merged) {
		count_bases(m, NULL, &present, &have);
		side = join_decide(m->ops, inode,
		                   present ? JOIN_EDIT_EDIT : JOIN_ADD_ADD,
		                   true);
	}
	inode->beside = side == JOIN_BOTH;
	inode->content = side == JOIN_THEIRS ? JOIN_THEIRS : JOIN_OURS;
	inode->result.inode.size =
	        inode->merged ? inode->merged_size
	                      : face_inode(m, inode->content)->size;
	inode->result.inode.rdev = face_inode(m, inode->content)->rdev;
	return times_merge(m, inode->content);
}

/* Merge an inode that both sides have. */
static int both_merge(struct merge *m)
{
	struct inode *result = &m->inode->result.inode;
	int side = JOIN_OURS, err;

	*result = *face_inode(m, JOIN_OURS);
	err = content_merge(m);
	if (!err)
		err = aspect_decide(m, aspect_mode, JOIN_CHANGED_MODE,
		                    JOIN_MODE, &side);
	if (err)
		return err;
	result->mode = face_inode(m, side)->mode;
	err = aspect_decide(m, aspect_owner, JOIN_CHANGED_OWNER, JOIN_OWNER,
	                    &side);
	if (err)
		return err;
	result->uid = face_inode(m, side)->uid;
	result->gid = face_inode(m, side)->gid;
	err = xattrs_merge(m);
	if (!err)
		err = names_merge(m);
	if (!err && !m->inode->result.name_count && m->inode->ino != INO_ROOT)
		m->inode->result.present = false;
	return err;
}

/* Take the inode of one side. */
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

/* Record which aspects of an inode its only side has changed. */
static int one_compare(struct merge *m, int side)
{
	static const struct {
		aspect_fn *same;
		enum join_change change;
	} aspects[] = {
	        {aspect_content, JOIN_CHANGED_CONTENT},
	        {aspect_mode, JOIN_CHANGED_MODE},
	        {aspect_owner, JOIN_CHANGED_OWNER},
	        {aspect_xattrs, JOIN_CHANGED_XATTR},
	        {aspect_names, JOIN_CHANGED_NAMES},
	};

	for (size_t i = 0; i < sizeof(aspects) / sizeof(*aspects); i++) {
		int same = aspect_in_base(m, aspects[i].same, side);

		if (same < 0)
			return same;
		m->inode->changed[side] |= same ? 0 : aspects[i].change;
	}
	return 0;
}

/* Merge an inode that only one side has. */
static int one_merge(struct merge *m, int side)
{
	unsigned present, have, *changed = m->inode->changed;
	int named, err;

	count_bases(m, NULL, &present, &have);
	changed[present ? !side : side] |= JOIN_CHANGED_PRESENCE;
	if (!present)
		return side_take(m, side);
	err = one_compare(m, side);
	if (err)
		return err;
	if (!changed[side] && present == m->faces - JOIN_BASE)
		return side_take(m, !side);
	named = join_decide(m->ops, m->inode,
	                    changed[side] == JOIN_CHANGED_NAMES
	                            ? JOIN_RENAME_DELETE
	                            : JOIN_EDIT_DELETE,
	                    true);
	if (named == JOIN_BOTH)
		named = side;
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
	inode->changed[JOIN_OURS] = inode->changed[JOIN_THEIRS] = 0;
	inode->merged = inode->beside = false;
	inode->result.present = true;
	if (inode->pinned)
		return side_take(&m, JOIN_OURS);
	if (inode->presence != JOIN_NOBODY)
		return side_take(&m, inode->presence);
	if (ours && theirs)
		return both_merge(&m);
	if (ours || theirs)
		return one_merge(&m, ours ? JOIN_OURS : JOIN_THEIRS);
	inode->result.present = false;
	return 0;
}
