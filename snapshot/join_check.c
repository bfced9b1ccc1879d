/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The checks of a round's results as a whole. */
#include "join_check.h"

#include <errno.h>
#include <sys/stat.h>

#include "array.h"
#include "join_aspect.h"
#include "join_beside.h"

/* ---- Parents ------------------------------------------------------------ */

/*
 * Return true if the inode can lose a name to the side.  A directory of both
 * sides whose name is decided cannot: its entries may not be in the plan.
 */
static bool can_drop(const struct join_inode *inode, int winner)
{
	return inode->names_of == JOIN_NOBODY ||
	       !S_ISDIR(inode->result.inode.mode) ||
	       !inode->faces[winner].present || !inode->faces[!winner].present;
}

/*
 * Let an inode lose a name to `winner`, the side that keeps it.  -ELOOP: see
 * can_drop().
 */
static int name_drop(struct join_plan *plan, struct join_inode *inode,
                     const struct join_name *name, int winner)
{
	const struct join_face *other = &inode->faces[winner];
	struct join_name *dropped;

	if (!can_drop(inode, winner))
		return -ELOOP;
	plan->again = true;
	if (inode->names_of == JOIN_NOBODY && other->present &&
	    !face_has_name(other, name) &&
	    (S_ISDIR(other->inode.mode) || inode->result.name_count < 2)) {
		inode->names_of = winner;
		return 0;
	}
	dropped = array_add(&inode->dropped, &inode->dropped_count,
	                    &inode->dropped_room);
	if (!dropped)
		return -ENOMEM;
	*dropped = *name;
	return 0;
}

/* Settle a name whose directory is not in the result. */
static int parent_missing(struct join_plan *plan, struct join_inode *inode,
                          struct join_inode *parent,
                          const struct join_name *name)
{
	bool ours = parent->faces[JOIN_OURS].present;
	int side;

	if (parent->presence != JOIN_NOBODY || parent->dropped_count ||
	    parent->pinned || ours == parent->faces[JOIN_THEIRS].present)
		return name_drop(plan, inode, name,
		                 face_has_name(&inode->faces[JOIN_OURS], name));
	side = inode->pinned && ours
	               ? JOIN_OURS
	               : join_decide(plan->ops, parent, JOIN_EDIT_DELETE, true);
	if (side == JOIN_NOBODY)
		return 0;
	if (side == JOIN_BOTH)
		side = ours ? JOIN_OURS : JOIN_THEIRS;
	parent->presence = side;
	parent->revived = parent->faces[side].present;
	plan->again = true;
	return 0;
}

static int check_parents(struct join_plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		struct join_inode *inode = plan->refs[i].inode;

		for (size_t n = 0;
		     inode->result.present && n < inode->result.name_count;
		     n++) {
			const struct join_name *name = &inode->result.names[n];
			struct join_inode *parent =
			        plan_find(plan, name->parent);
			int err = 0;

			if (parent && !parent->result.present)
				err = parent_missing(plan, inode, parent, name);
			if (err)
				return err;
		}
	}
	return 0;
}

/* ---- Names -------------------------------------------------------------- */

/* Settle two inodes that have the same name in the result. */
static int check_pair(struct join_plan *plan, const struct place *a,
                      const struct place *b)
{
	struct join_name name = {a->parent, a->name};
	bool a_is_ours = face_has_name(&a->inode->faces[JOIN_OURS], &name);
	struct join_inode *ours = a_is_ours ? a->inode : b->inode;
	struct join_inode *theirs = a_is_ours ? b->inode : a->inode;
	uint32_t types = ours->result.inode.mode ^ theirs->result.inode.mode;
	int side = join_decide(plan->ops, theirs,
	                       types & S_IFMT ? JOIN_TYPE : JOIN_ADD_ADD, true);

	if (side == JOIN_NOBODY)
		return 0;
	if (side == JOIN_BOTH)
		return join_move_beside(plan, theirs, &name);
	/* Another name of either inode may be gone already. */
	if (!can_drop(side == JOIN_OURS ? theirs : ours, side))
		side = !side;
	return name_drop(plan, side == JOIN_OURS ? theirs : ours, &name, side);
}

static int check_names(struct join_plan *plan)
{
	int err = 0;

	plan->places.count = 0;
	for (size_t i = 0; i < plan->count; i++) {
		struct join_inode *inode = plan->refs[i].inode;
		size_t count =
		        inode->result.present ? inode->result.name_count : 0;

		for (size_t n = 0; n < count; n++)
			if (places_add(&plan->places, &inode->result.names[n],
			               0, inode))
				return -ENOMEM;
	}
	places_sort(&plan->places);
	for (size_t i = 1; !err && i < plan->places.count; i++) {
		if (!place_compare(&plan->places.at[i - 1],
		                   &plan->places.at[i]))
			err = check_pair(plan, &plan->places.at[i - 1],
			                 &plan->places.at[i]);
	}
	return err;
}

/* ---- Cycles ------------------------------------------------------------- */

/* Return the parent of a directory in the result; 0: none. */
static int parent_of(struct join_plan *plan, uint64_t ino, uint64_t *ret_parent)
{
	struct join_inode *inode = plan_find(plan, ino);

	*ret_parent = 0;
	if (ino == INO_ROOT)
		return 0;
	if (!inode)
		return plan->ops->parent(plan->ops->arg, ino, ret_parent);
	if (inode->result.present && inode->result.name_count)
		*ret_parent = inode->result.names[0].parent;
	return 0;
}

/* Return 1 if the directory lies in itself, 0, or an error. */
static int is_in_itself(struct join_plan *plan, const struct join_inode *dir)
{
	uint64_t at = dir->ino, mark = 0, steps = 0, limit = 1;
	int err;

	for (;;) {
		err = parent_of(plan, at, &at);
		if (err || !at)
			return err;
		if (at == dir->ino)
			return 1;
		/* A cycle further up does not lead back to this directory. */
		if (at == mark)
			return 0;
		if (++steps == limit) {
			mark = at;
			limit *= 2;
		}
	}
}

/* Give all directories of a cycle the places that they have on one side. */
static int cycle_break(struct join_plan *plan, struct join_inode *dir)
{
	int side = join_decide(plan->ops, dir, JOIN_CYCLE, false);
	uint64_t at = dir->ino;
	int err = 0;

	if (side == JOIN_NOBODY)
		return 0;
	do {
		struct join_inode *inode = plan_find(plan, at);

		err = parent_of(plan, at, &at);
		if (inode && inode->faces[side].present &&
		    inode->names_of == JOIN_NOBODY) {
			inode->names_of = side;
			plan->again = true;
		}
	} while (!err && at != dir->ino);
	return err ? err : plan->again ? 0 : -ELOOP;
}

static int check_cycles(struct join_plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		struct join_inode *inode = plan->refs[i].inode;
		const struct join_face *ours = &inode->faces[JOIN_OURS];
		int in;

		if (!inode->result.present || !inode->result.name_count ||
		    !S_ISDIR(inode->result.inode.mode) ||
		    (ours->present &&
		     face_has_name(ours, &inode->result.names[0])))
			continue;
		in = is_in_itself(plan, inode);
		if (in > 0)
			in = cycle_break(plan, inode);
		/* A decision takes effect in the next round. */
		if (in || plan->again)
			return in;
	}
	return 0;
}

int join_check(struct join_plan *plan)
{
	int err = check_parents(plan);

	if (!err && !plan->again)
		err = check_names(plan);
	if (!err && !plan->again)
		err = check_cycles(plan);
	return err;
}
