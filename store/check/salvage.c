/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Comparing damaged trees, for a repair. */
#include <errno.h>

#include "stored_block.h"
#include "view.h"

enum { LEVEL_ITEM = -1 };

/* A walk through a tree as far as it can be read; damaged nodes are skipped. */
struct side {
	struct view *view;
	bool done;
	int level;       /* of the subtree ahead, or LEVEL_ITEM */
	uint64_t number; /* of the subtree */
	packed low;      /* nothing ahead has a lower key */
	void (*lost)(void *arg, const struct key *low);
	void *arg;
	bool any;    /* an item was met */
	packed last; /* key of the last item */
	int depth;
	struct {
		const uint8_t *data;
		uint32_t slot;
		uint8_t buffer[NODE_SIZE_MAX];
	} path[TREE_DEPTH_MAX];
};

static void side_next(struct side *side);

static void side_stand(struct side *side)
{
	const uint8_t *data = side->path[side->depth - 1].data;
	uint32_t slot = side->path[side->depth - 1].slot;
	packed key = node_key(data, slot);

	if (node_level(data)) {
		side->level = (int)node_level(data) - 1;
		side->number = node_child(data, slot);
		/* The first key of an inner node is no bound. */
		if (key > side->low)
			side->low = key;
		return;
	}
	side->level = LEVEL_ITEM;
	side->low = key;
	/* The item is out of order: no look-up would find it. */
	if (side->any && key <= side->last) {
		side->low = side->last;
		side_next(side);
		return;
	}
	side->any = true;
	side->last = key;
}

/* Move past the item or the subtree. */
static void side_next(struct side *side)
{
	while (side->depth) {
		const uint8_t *data = side->path[side->depth - 1].data;

		if (++side->path[side->depth - 1].slot < node_count(data)) {
			side_stand(side);
			return;
		}
		side->depth--;
	}
	side->done = true;
}

static void side_enter(struct side *side)
{
	const uint8_t *data = NULL;

	if (side->depth < TREE_DEPTH_MAX)
		data = view_node(side->view, side->number,
		                 side->path[side->depth].buffer);
	if (!data || !node_count(data) ||
	    (side->depth && (int)node_level(data) != side->level)) {
		struct key low = key_unpack(side->low);

		if (side->lost)
			side->lost(side->arg, &low);
		side_next(side);
		return;
	}
	side->path[side->depth].data = data;
	side->path[side->depth++].slot = 0;
	side_stand(side);
}

static void side_init(struct side *side, struct view *view, uint64_t root)
{
	const uint8_t *data;

	*side = (struct side){.view = view, .done = !root, .number = root};
	data = root ? view_node(view, root, side->path[0].buffer) : NULL;
	if (data)
		side->level = (int)node_level(data);
}

/*
 * Return the side to move, as tree_diff() chooses it: the one with the lower
 * key; if the keys are equal, the one with the higher level.
 */
static struct side *side_to_move(struct side *a, struct side *b)
{
	if (a->done || b->done)
		return a->done ? b : a;
	if (a->low != b->low)
		return a->low < b->low ? a : b;
	return a->level >= b->level ? a : b;
}

static int sides_tell(struct side *a, struct side *b,
                      int (*fn)(void *arg, const struct item *old,
                                const struct item *new),
                      void *arg)
{
	struct item old, new;
	int r = 0;

	if (a)
		node_get(a->path[a->depth - 1].data, a->path[a->depth - 1].slot,
		         &old);
	if (b)
		node_get(b->path[b->depth - 1].data, b->path[b->depth - 1].slot,
		         &new);
	if (!a || !b || old.len != new.len ||
	    memcmp(old.value, new.value, old.len))
		r = fn(arg, a ? &old : NULL, b ? &new : NULL);
	if (a)
		side_next(a);
	if (b)
		side_next(b);
	return r;
}

int view_compare(struct view *view, uint64_t old_root, uint64_t new_root,
                 int (*fn)(void *arg, const struct item *old,
                           const struct item *new),
                 void (*lost)(void *arg, const struct key *low), void *arg)
{
	struct side a, b, *side;
	int r = 0;

	if (old_root == new_root)
		return 0;
	side_init(&a, view, old_root);
	side_init(&b, view, new_root);
	b.lost = lost;
	b.arg = arg;
	while (!r && !(a.done && b.done)) {
		bool both = !a.done && !b.done;

		if (both && a.level != LEVEL_ITEM && a.level == b.level &&
		    a.number == b.number) {
			side_next(&a);
			side_next(&b);
			continue;
		}
		side = side_to_move(&a, &b);
		if (side->level != LEVEL_ITEM)
			side_enter(side);
		else if (both && a.low == b.low)
			r = sides_tell(&a, &b, fn, arg);
		else
			r = sides_tell(side == &a ? side : NULL,
			               side == &b ? side : NULL, fn, arg);
	}
	return r;
}

uint64_t view_content(struct view *view, uint64_t number)
{
	struct stored_block b;

	return stored_block_get(view->store, view->txn, number, &b) ? 0
	                                                            : b.target;
}
