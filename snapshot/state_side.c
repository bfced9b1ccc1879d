/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Side heads.
 *
 * A side head has no refs and a task to reap it from the beginning, which its
 * hold defers.  The task is needless after the switch, and is dropped when its
 * turn comes.  Without refs the head is not counted in the parent's `same`.
 */
#include "state_side.h"
#include "forest.h"
#include "util.h"

#include <errno.h>

int side_begin(struct state *source, struct state_side *ret_side)
{
	struct forest *forest = source->forest;
	struct state_hold hold = {0};
	int r = forest->readonly ? -EROFS : state_hold(source, &hold);

	if (r < 0)
		return r;
	r = side_begin_at(&hold, ret_side);
	hold_release(forest, &hold);
	return r;
}

int side_begin_at(const struct state_hold *at, struct state_side *ret_side)
{
	struct version *parent = at->version, *head = NULL;
	struct forest *forest = parent->forest;
	int r = forest->readonly ? -EROFS : 0;

	if (!r)
		r = version_new_head(forest, parent, &head);
	if (!r)
		r = gc_note(head, 0, 0);
	/* The parent may be a frozen side head, without a task to merge it. */
	if (!r)
		r = gc_note(parent, parent->refs, parent->children + 1);
	if (r < 0) {
		free(head);
		return r;
	}
	version_attach(head, parent);
	head->refs = 0;
	head->changed = true;
	if (head->tree.root)
		parent->same--;
	version_hold(head, &ret_side->hold);
	ret_side->parent = parent->id;
	return 0;
}

int side_create(struct forest *forest, const struct inode *root,
                struct state_side *ret_side)
{
	struct version *head;
	int r = forest->readonly ? -EROFS
	                         : version_new_root(forest, root, &head);

	if (r < 0)
		return r;
	cache_add(&forest->versions, &head->cached);
	version_mark(head);
	version_hold(head, &ret_side->hold);
	ret_side->parent = 0;
	head->refs = 0;
	/* Without the task, a check of the store reports the version. */
	return gc_note(head, 0, 0);
}

void side_freeze(struct state_side *side)
{
	struct version *head = side->hold.version;

	head->freeze = store_next_seq(head->forest->store);
	head->created = now_ns();
	version_mark(head);
}

void side_state(const struct state_side *side, const struct state *fork,
                struct state *ret_state)
{
	struct version *head = side->hold.version;

	*ret_state = (struct state){.forest = head->forest,
	                            .quota = UINT64_MAX,
	                            .quota_known = true};
	if (fork)
		*ret_state = *fork;
	ret_state->version = head;
	ret_state->flags = 0;
}

bool side_is_current(const struct state_side *side, struct state *fork)
{
	return state_is_at(fork, side->parent);
}

/* Count the head as unchanged if it is: it is about to get a ref. */
static int side_recount(struct version *head)
{
	struct version *parent;
	int r = version_load(head->forest, head->parent, &parent);

	if (r < 0)
		return r;
	if (head->tree.root && head->tree.root == parent->tree.root) {
		head->changed = false;
		parent->same++;
		version_mark(parent);
	}
	return 0;
}

int side_check_quota(const struct state_side *side, struct state *fork)
{
	const struct version *head = side->hold.version;

	return quota_check_total(fork, head->inodes, head->blocks);
}

int side_switch(struct state_side *side, struct state *fork)
{
	struct version *head = side->hold.version, *old = fork->version;
	struct version *parent = NULL;
	bool unchanged;
	int r;

	if (fork->gone)
		return -ESTALE;
	if (fork->flags & STATE_READONLY)
		return -EROFS;
	r = version_unchanged(old, &unchanged, &parent);
	if (!r)
		r = gc_note(old, old->refs - 1, old->children);
	if (!r)
		r = side_recount(head);
	if (r < 0)
		return r;
	if (unchanged) {
		parent->same--;
		version_mark(parent);
	}
	old->refs--;
	version_mark(old);
	head->refs = 1;
	version_mark(head);
	state_point(fork, head);
	state_mark(fork);
	return 0;
}

void side_end(struct forest *forest, struct state_side *side)
{
	hold_release(forest, &side->hold);
}
