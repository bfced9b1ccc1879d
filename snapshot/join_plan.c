/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Planning a join.
 *
 * The results of all inodes are computed anew in rounds.  Each round ends with
 * checks of the whole: every parent must exist, no two inodes may have one
 * name, no directory may lie in itself.  A choice that settles a violation is
 * kept with the inode, and there is another round.  A decision is never taken
 * back, so the rounds end.
 */
#include "join_plan.h"
#include "array.h"
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

/* A name in one face, or in the results. */
struct place {
	uint64_t parent;
	const char *name;
	unsigned face;
	struct join_inode *inode;
};

struct join_plan {
	unsigned faces;
	struct plan_ref *refs; /* ascending, once the plan is made */
	size_t count, room;
	struct place *places;
	size_t place_count, place_room;
	struct arena *arena;
	const struct join_ops *ops;
	bool again; /* a decision was taken in this round */
};

struct plan_ref {
	uint64_t ino;
	struct join_inode *inode;
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
		free(inode);
	}
	while (plan->arena) {
		struct arena *arena = plan->arena;

		plan->arena = arena->next;
		free(arena);
	}
	free(plan->refs);
	free(plan->places);
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

/* Copy a string into the plan.  NULL: no memory. */
static const char *string_add(struct join_plan *plan, const char *text,
                              size_t len)
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
	const char *copy = string_add(plan, name, len);

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
	const char *copy = string_add(plan, name, len);

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

static int place_compare(const void *a, const void *b)
{
	const struct place *left = a, *right = b;
	int order = number_order(left->parent, right->parent);

	if (!order)
		order = strcmp(left->name, right->name);
	return order ? order : number_order(left->face, right->face);
}

static int place_add(struct join_plan *plan, const struct join_name *name,
                     unsigned face, struct join_inode *inode)
{
	struct place *place =
	        array_add(&plan->places, &plan->place_count, &plan->place_room);

	if (!place)
		return -ENOMEM;
	*place = (struct place){name->parent, name->name, face, inode};
	return 0;
}

static struct join_inode *
place_find(struct join_plan *plan, const struct join_name *name, unsigned face)
{
	struct place want = {name->parent, name->name, face, NULL}, *found;

	if (!plan->place_count)
		return NULL;
	found = bsearch(&want, plan->places, plan->place_count, sizeof(want),
	                place_compare);
	return found ? found->inode : NULL;
}

/* ---- Inodes that stand for others --------------------------------------- */

/* List the names of all faces, with the parents' numbers in ours. */
static int places_list(struct join_plan *plan)
{
	plan->place_count = 0;
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
				if (place_add(plan, &face->names[n], f, inode))
					return -ENOMEM;
			}
		}
	}
	array_sort(plan->places, plan->place_count, place_compare);
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
			                : place_find(plan, &face->names[n], f);

			if (other && can_stand(new, side, other))
				return other;
		}
	}
	return NULL;
}

/* Go through the directories from the top down: a round is one level. */
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
		/* The names of what was united are found in the next round. */
	}
	return 0;
}

/* ---- Checks of the whole ------------------------------------------------ */

/*
 * Return true if the inode can lose a name to the side.  A directory of both
 * sides cannot go: entries in it may not be in the plan.
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

/* A name's directory is not in the result. */
static int parent_missing(struct join_plan *plan, struct join_inode *inode,
                          struct join_inode *parent,
                          const struct join_name *name)
{
	bool ours = parent->faces[JOIN_OURS].present;
	int side;

	if (parent->presence != JOIN_NOBODY || parent->dropped_count ||
	    ours == parent->faces[JOIN_THEIRS].present)
		return name_drop(plan, inode, name,
		                 face_has_name(&inode->faces[JOIN_OURS], name));
	side = join_decide(plan->ops, parent, JOIN_EDIT_DELETE);
	if (side == JOIN_NOBODY)
		return 0;
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

/* Two inodes have the same name in the result. */
static int check_pair(struct join_plan *plan, const struct place *a,
                      const struct place *b)
{
	struct join_name name = {a->parent, a->name};
	bool a_is_ours = face_has_name(&a->inode->faces[JOIN_OURS], &name);
	struct join_inode *ours = a_is_ours ? a->inode : b->inode;
	struct join_inode *theirs = a_is_ours ? b->inode : a->inode;
	uint32_t types = ours->result.inode.mode ^ theirs->result.inode.mode;
	int side = join_decide(plan->ops, theirs,
	                       types & S_IFMT ? JOIN_TYPE : JOIN_ADD_ADD);

	if (side == JOIN_NOBODY)
		return 0;
	/* One of the two may have lost another name before. */
	if (!can_drop(side == JOIN_OURS ? theirs : ours, side))
		side = !side;
	return name_drop(plan, side == JOIN_OURS ? theirs : ours, &name, side);
}

static int check_names(struct join_plan *plan)
{
	int err = 0;

	plan->place_count = 0;
	for (size_t i = 0; i < plan->count; i++) {
		struct join_inode *inode = plan->refs[i].inode;
		size_t count =
		        inode->result.present ? inode->result.name_count : 0;

		for (size_t n = 0; n < count; n++)
			if (place_add(plan, &inode->result.names[n], 0, inode))
				return -ENOMEM;
	}
	array_sort(plan->places, plan->place_count, place_compare);
	for (size_t i = 1; !err && i < plan->place_count; i++) {
		if (!place_compare(&plan->places[i - 1], &plan->places[i]))
			err = check_pair(plan, &plan->places[i - 1],
			                 &plan->places[i]);
	}
	return err;
}

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
	int side = join_decide(plan->ops, dir, JOIN_CYCLE);
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
		/* The places that the decision gives come with a new round. */
		if (in || plan->again)
			return in;
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
 * Keep what lies in a directory that is kept against the other side's
 * deletion.
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
	if (!err && !plan->again)
		err = check_parents(plan);
	if (!err && !plan->again)
		err = check_names(plan);
	if (!err && !plan->again)
		err = check_cycles(plan);
	return err;
}

int plan_make(struct join_plan *plan, const struct join_ops *ops)
{
	int err, conflicts = 0, rounds = 0;

	plan->ops = ops;
	array_sort(plan->refs, plan->count, number_compare);
	err = plan_unite(plan);
	while (!err) {
		err = plan_round(plan);
		if (!err && !plan->again)
			break;
		if (!err && ++rounds == ROUNDS_MAX)
			err = -ELOOP;
	}
	for (size_t i = 0; !err && i < plan->count; i++)
		conflicts += plan->refs[i].inode->conflicts != 0;
	return err ? err : conflicts;
}
