/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Information about a state. */
#include "forest.h"
#include "space.h"
#include "util.h"

#include <errno.h>

/*
 * Return true if the root directory is empty.  Any other inodes are then files
 * that were unlinked while open: no name leads to them.
 */
static bool tree_is_bare(struct tree *tree)
{
	const struct key root = {INO_ROOT, ITEM_INODE, 0};
	struct inode inode;
	struct item item;

	return !tree_get(tree, &root, &item) &&
	       !inode_decode(item.value, item.len, &inode) && !inode.size;
}

/*
 * Return true if more than `own` states that are kept name the version.
 * Snapshots that were deleted with their fork still count as refs, but keep
 * nothing: while there are any, refs are ignored.
 */
static bool refs_keep(struct forest *forest, const struct version *v,
                      uint64_t own)
{
	enum { REFS_MOST = 64 }; /* limit of the count */
	uint64_t trashed;

	if (forest->meta.deleting || forest->meta.trashed_snapshots ||
	    v->refs <= own)
		return false;
	trashed = trash_refs(forest, v->id, REFS_MOST);
	return trashed < REFS_MOST && v->refs > own + trashed;
}

bool state_has_equal(struct forest *forest, struct state *state)
{
	struct version *v = state->version;
	struct version *parent;
	bool unchanged;

	if (state->gone || state->snapshots)
		return false;
	if (state->flags & STATE_READONLY)
		return refs_keep(forest, v, 1) || v->same > 0;
	if (version_unchanged(v, &unchanged, &parent) || !unchanged)
		return false;
	return refs_keep(forest, parent, 0) || parent->same > 1;
}

bool state_is_redundant(struct forest *forest, struct state *state)
{
	if (state_has_equal(forest, state))
		return true;
	return !state->gone && !state->snapshots &&
	       !(state->flags & STATE_READONLY) &&
	       tree_is_bare(&state->version->tree);
}

/*
 * Return true if a head without a parent is as it was made.  Every change needs
 * an entry in the root directory first, which changes its ctime.
 */
static bool tree_is_untouched(struct tree *tree)
{
	const struct key root = {INO_ROOT, ITEM_INODE, 0};
	struct inode inode;
	struct item item;

	return !tree_get(tree, &root, &item) &&
	       !inode_decode(item.value, item.len, &inode) &&
	       inode.ctime.sec == inode.btime.sec &&
	       inode.ctime.nsec == inode.btime.nsec;
}

/*
 * Return true if the version is about to be merged with its only child.  It was
 * a changed head, which a hold froze (see state_hold()): a head that still has
 * its tree has changed since the last fork.
 */
static bool version_passes(const struct version *v)
{
	return !v->refs && v->children == 1;
}

int state_is_unchanged(const struct state *state, bool *ret_unchanged)
{
	struct version *v = state->version, *parent = NULL;
	int r;

	if (!(state->flags & STATE_READONLY) && v->parent) {
		r = version_unchanged(v, ret_unchanged, &parent);
		if (r < 0 || !*ret_unchanged || !version_passes(parent))
			return r;
		v = parent;
		*ret_unchanged = !v->parent && tree_is_untouched(&v->tree);
		return 0;
	}
	*ret_unchanged =
	        state->flags & STATE_READONLY || tree_is_untouched(&v->tree);
	return 0;
}

int state_info(struct forest *forest, struct state *state,
               struct state_info *ret_info)
{
	const struct version *v = state->version;
	struct state_info info = {
	        .number = state->number,
	        .fork = state->fork,
	        .readonly = state->flags & STATE_READONLY,
	        .created = state->created,
	        .snapshots = state->snapshots,
	        .is_default = state->number == forest->meta.default_state,
	};
	struct state *fork;
	int r;

	if (state->gone)
		return -ESTALE;
	info.version = v->id;
	info.parent = v->parent;
	info.inodes = v->inodes;
	info.bytes = v->blocks * 512;
	memcpy(info.name, state->name, sizeof(info.name));
	memcpy(info.origin_name, state->origin_name, sizeof(info.origin_name));
	if (state->fork) {
		r = state_load(forest, state->fork, &fork);
		if (r < 0)
			return r;
		memcpy(info.fork_name, fork->name, sizeof(info.fork_name));
	}
	r = state_is_unchanged(state, &info.unchanged);
	if (!r)
		r = state_frees(forest, state, &info.exclusive);
	if (!r)
		*ret_info = info;
	return r;
}
