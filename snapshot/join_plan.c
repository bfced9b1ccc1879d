/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Planning a join.
 *
 * The results of all inodes are recomputed in rounds.  Each round ends with
 * checks of the whole: every parent must exist, no two inodes may have one
 * name, no directory may lie in itself.  A choice that settles a violation is
 * kept with the inode, and there is another round.  A decision is never taken
 * back, so the rounds end.
 */
#include "join_plan.h"
#include "array.h"
#include "join_beside.h"
#include "join_check.h"
#include "join_merge.h"
#include "util.h"

#include <errno.h>
#include <sys/stat.h>

enum { ARENA_BLOCK = 1 << 16, ROUNDS_MAX = 1000 };

struct arena {
	struct arena *next;
	size_t used, size;
	char bytes[];
};

/* ---- Building ----------------------------------------------------------- */

int plan_create(unsigned bases, struct join_plan **ret_plan)
{
	struct join_plan *plan = calloc(1, sizeof(*plan));

	if (!plan)
		return -ENOMEM;
	plan->faces = JOIN_BASE + bases;
	*ret_plan = plan;
	return 0;
}

static void face_release(struct join_face *face)
{
	free(face->names);
	free(face->xattrs);
}

void plan_destroy(struct join_plan *plan)
{
	if (!plan)
		return;
	for (size_t i = 0; i < plan->count; i++) {
		struct join_inode *inode = plan->refs[i].inode;

		for (unsigned f = 0; f < plan->faces; f++)
			face_release(&inode->faces[f]);
		face_release(&inode->result);
		free(inode->dropped);
		free(inode->moves);
		free(inode);
	}
	while (plan->arena) {
		struct arena *arena = plan->arena;

		plan->arena = arena->next;
		free(arena);
	}
	free(plan->refs);
	places_release(&plan->places);
	free(plan);
}

struct join_inode *plan_add(struct join_plan *plan, uint64_t ino)
{
	struct join_inode *inode =
	        calloc(1, sizeof(*inode) + plan->faces * sizeof(*inode->faces));
	struct plan_ref *ref =
	        inode ? array_add(&plan->refs, &plan->count, &plan->room)
	              : NULL;

	if (!ref) {
		free(inode);
		return NULL;
	}
	*ref = (struct plan_ref){ino, inode};
	inode->ino = ino;
	inode->presence = inode->names_of = JOIN_NOBODY;
	return inode;
}

const char *plan_string(struct join_plan *plan, const char *text, size_t len)
{
	struct arena *arena = plan->arena;
	char *copy;

	if (!arena || arena->size - arena->used <= len) {
		size_t size = MAX((size_t)ARENA_BLOCK, len + 1);

		arena = malloc(sizeof(*arena) + size);
		if (!arena)
			return NULL;
		*arena = (struct arena){.next = plan->arena, .size = size};
		plan->arena = arena;
	}
	copy = arena->bytes + arena->used;
	memcpy(copy, text, len);
	copy[len] = 0;
	arena->used += len + 1;
	return copy;
}

int face_add_name(struct join_plan *plan, struct join_face *face,
                  uint64_t parent, const char *name, size_t len)
{
	struct join_name *added;
	const char *copy = plan_string(plan, name, len);

	if (!copy)
		return -ENOMEM;
	added = array_add(&face->names, &face->name_count, &face->name_room);
	if (!added)
		return -ENOMEM;
	*added = (struct join_name){parent, copy};
	return 0;
}

int face_add_xattr(struct join_plan *plan, struct join_face *face,
                   const char *name, size_t len, enum join_side side)
{
	struct join_xattr *added;
	const char *copy = plan_string(plan, name, len);

	if (!copy)
		return -ENOMEM;
	added = array_add(&face->xattrs, &face->xattr_count, &face->xattr_room);
	if (!added)
		return -ENOMEM;
	*added = (struct join_xattr){copy, side};
	return 0;
}

/* ---- Finding ------------------------------------------------------------ */

struct join_inode *plan_find(struct join_plan *plan, uint64_t ino)
{
	struct plan_ref *ref = array_find(plan->refs, plan->count, ino);
	struct join_inode *inode = ref ? ref->inode : NULL;

	while (inode && inode->stands_for)
		inode = inode->stands_for;
	return inode;
}

struct join_inode *plan_inode(struct join_plan *plan, size_t n)
{
	return n < plan->count ? plan->refs[n].inode : NULL;
}

/* ---- Inodes that stand for others --------------------------------------- */

/* List the names of all faces, with the parents' numbers in ours. */
static int places_list(struct join_plan *plan)
{
	plan->places.count = 0;
	for (size_t i = 0; i < plan->count; i++) {
		struct join_inode *inode = plan->refs[i].inode;

		for (unsigned f = 0; !inode->stands_for && f < plan->faces;
		     f++) {
			struct join_face *face = &inode->faces[f];

			for (size_t n = 0; n < face->name_count; n++) {
				struct join_inode *parent =
				        plan_find(plan, face->names[n].parent);

				if (parent)
					face->names[n].parent = parent->ino;
				if (places_add(&plan->places, &face->names[n],
				               f, inode))
					return -ENOMEM;
			}
		}
	}
	places_sort(&plan->places);
	return 0;
}

/* Return the only side that has the inode, if no base has it. */
static int side_of_new(const struct join_plan *plan,
                       const struct join_inode *inode)
{
	bool ours = inode->faces[JOIN_OURS].present;

	for (unsigned f = JOIN_BASE; f < plan->faces; f++) {
		if (inode->faces[f].present)
			return JOIN_NOBODY;
	}
	if (inode->stands_for || ours == inode->faces[JOIN_THEIRS].present)
		return JOIN_NOBODY;
	return ours ? JOIN_OURS : JOIN_THEIRS;
}

/* Return true if `new`, which only `side` has, can stand for the other. */
static bool can_stand(const struct join_inode *new, int side,
                      const struct join_inode *other)
{
	const struct join_face *theirs = &other->faces[!side];

	return other != new && !other->faces[side].present && theirs->present &&
	       !((theirs->inode.mode ^ new->faces[side].inode.mode) & S_IFMT);
}

/* Make one inode of the two; it has the number that ours has. */
static void inodes_unite(struct join_plan *plan, struct join_inode *new,
                         int side, struct join_inode *other)
{
	struct join_inode *keep = side == JOIN_OURS ? new : other;
	struct join_inode *part = side == JOIN_OURS ? other : new;

	for (unsigned f = 0; f < plan->faces; f++) {
		if (part->faces[f].present && !keep->faces[f].present) {
			keep->faces[f] = part->faces[f];
			part->faces[f] = (struct join_face){0};
		}
	}
	part->stands_for = keep;
}

/* Find an inode for which the new one stands, by its names. */
static struct join_inode *counterpart(struct join_plan *plan,
                                      struct join_inode *new, int side)
{
	const struct join_face *face = &new->faces[side];

	for (size_t n = 0; n < face->name_count; n++) {
		for (unsigned f = 0; f < plan->faces; f++) {
			struct join_inode *other =
			        (int)f == side
			                ? NULL
			                : places_find(&plan->places,
			                              &face->names[n], f);

			if (other && can_stand(new, side, other))
				return other;
		}
	}
	return NULL;
}

/* Unite inodes that stand for others, from the top directory down. */
static int plan_unite(struct join_plan *plan)
{
	bool any = true;

	while (any) {
		int err = places_list(plan);

		if (err)
			return err;
		any = false;
		for (size_t i = 0; i < plan->count; i++) {
			struct join_inode *new = plan->refs[i].inode, *other;
			int side = side_of_new(plan, new);

			if (side == JOIN_NOBODY)
				continue;
			other = counterpart(plan, new, side);
			if (!other || other->stands_for)
				continue;
			inodes_unite(plan, new, side, other);
			any = true;
		}
		/* The next round unites the entries of united directories. */
	}
	return 0;
}

/* ---- All of it ---------------------------------------------------------- */

static bool parent_revived(struct join_plan *plan,
                           const struct join_inode *inode, int side)
{
	const struct join_face *face = &inode->faces[side];

	for (size_t n = 0; n < face->name_count; n++) {
		struct join_inode *parent =
		        plan_find(plan, face->names[n].parent);

		if (parent && parent->revived && !parent->faces[!side].present)
			return true;
	}
	return false;
}

/*
 * Keep the entries of a directory that is kept although the other side has
 * deleted it.
 */
static void plan_revive(struct join_plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		struct join_inode *inode = plan->refs[i].inode;
		bool ours = inode->faces[JOIN_OURS].present;
		int side = ours ? JOIN_OURS : JOIN_THEIRS;

		if (inode->stands_for || inode->revived ||
		    inode->result.present || inode->dropped_count ||
		    inode->presence != JOIN_NOBODY ||
		    ours == inode->faces[JOIN_THEIRS].present ||
		    !parent_revived(plan, inode, side))
			continue;
		inode->presence = side;
		inode->revived = plan->again = true;
	}
}

static int plan_round(struct join_plan *plan)
{
	int err = 0;

	plan->again = false;
	for (size_t i = 0; !err && i < plan->count; i++) {
		struct join_inode *inode = plan->refs[i].inode;

		if (!inode->stands_for)
			err = join_merge(inode, plan->faces, plan->ops);
	}
	if (!err)
		plan_revive(plan);
	return err || plan->again ? err : join_check(plan);
}

static void plan_pin(struct join_plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		struct join_inode *inode = plan->refs[i].inode;

		inode->pinned = !inode->stands_for &&
		                plan->ops->pin(plan->ops->arg, inode);
	}
}

int plan_make(struct join_plan *plan, const struct join_ops *ops)
{
	int err, conflicts = 0, rounds = 0;

	plan->ops = ops;
	array_sort(plan->refs, plan->count, number_compare);
	err = plan_unite(plan);
	if (!err && ops->pin)
		plan_pin(plan);
	while (!err) {
		err = plan_round(plan);
		if (!err && !plan->again)
			break;
		if (!err && ++rounds == ROUNDS_MAX)
			err = -ELOOP;
	}
	if (!err)
		err = join_split(plan);
	for (size_t i = 0; !err && i < plan->count; i++)
		conflicts += plan->refs[i].inode->conflicts != 0;
	return err ? err : conflicts;
}
