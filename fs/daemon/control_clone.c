/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The request "clone": copy a subtree within the store. */
#include "control_clone.h"

#include <errno.h>

#include "coherence.h"
#include "control_path.h"

/* The directory and name of the copy. */
struct place {
	node_t parent;
	const char *name; /* points into the path */
};

static int fail_target(struct control *c, const struct control_path *to,
                       int err)
{
	switch (err) {
	case -EINTR:
		return c->ended = err;
	case -EEXIST:
		return fail(c, err, "cannot clone to '%s:%s': it exists",
		            to->state, to->path);
	case -EROFS:
		return fail(c, err,
		            "cannot clone to '%s:%s': it is in a "
		            "snapshot",
		            to->state, to->path);
	case -EINVAL:
		return fail(c, err,
		            "cannot clone to '%s:%s': not a possible "
		            "name",
		            to->state, to->path);
	case -ESTALE:
		return fail(c, err,
		            "cannot clone to '%s:%s': a state was deleted or "
		            "replaced meanwhile",
		            to->state, to->path);
	default:
		return control_fail_path(c, "clone to", to, err);
	}
}

/* Cut the last component off the path; it must not be empty. */
static int path_cut(struct control *c, const struct control_path *to,
                    char dir[TREE_PATH_SIZE], char name[TREE_PATH_SIZE])
{
	size_t len = strlen(to->path), at;

	while (len && to->path[len - 1] == '/')
		len--;
	for (at = len; at && to->path[at - 1] != '/';)
		at--;
	if (at == len)
		return fail_target(c, to, -EEXIST);
	snprintf(dir, TREE_PATH_SIZE, "%.*s", (int)at, to->path);
	snprintf(name, TREE_PATH_SIZE, "%.*s", (int)(len - at), to->path + at);
	return 0;
}

/* Find the node of a path.  Lock held. */
static int find_node(struct control *c, const char *verb,
                     const struct control_path *path, node_t *ret_node)
{
	struct state *state;
	struct inode inode;
	uint64_t ino;
	int err = state_resolve(c->forest, path->state, &state);

	if (err < 0)
		return control_fail_state(c, verb, path->state, err);
	err = control_path_find(c, verb, path, state_tree(state), &ino, &inode);
	if (!err)
		*ret_node = NODE(state->number, ino);
	return err;
}

static void clone_announce(struct mounts *mounts, const struct place *place,
                           node_t node)
{
	struct changes changes = {.mounts = mounts, .fresh = true};

	changes_name(&changes, place->parent, place->name, node);
	coherence_announce_wait(&changes);
}

/* The request; `to` is split into dir and name. */
struct request {
	struct control_path from, to, dir;
	char name[TREE_PATH_SIZE];
};

static int request_read(struct control *c, struct request *q)
{
	int err = control_path(c, "source", "source_path", true, &q->from);

	if (!err)
		err = control_path(c, "to", "to_path", true, &q->to);
	if (!err)
		err = path_cut(c, &q->to, q->dir.path, q->name);
	if (!err)
		strcpy(q->dir.state, q->to.state);
	return err;
}

int control_clone(struct control *c)
{
	struct request q;
	struct place place = {.name = q.name};
	struct fs_cloned cloned;
	node_t node = 0;
	int err = request_read(c, &q);

	if (err)
		return err;
	store_lock(c->store);
	err = find_node(c, "clone", &q.from, &node);
	if (!err)
		err = find_node(c, "clone to", &q.dir, &place.parent);
	store_unlock(c->store);
	if (err)
		return err;
	err = fs_clone(c->fs, node, place.parent, q.name, &cloned);
	if (err)
		return fail_target(c, &q.to, err);
	if (c->mounts)
		clone_announce(c->mounts, &place, cloned.node);
	if (json_object_set_new(c->answer, "entries",
	                        json_integer((json_int_t)cloned.entries)) < 0 ||
	    json_object_set_new(
	            c->answer, "inode",
	            json_integer((json_int_t)NODE_INO(cloned.node))) < 0)
		return fail(c, -ENOMEM, "out of memory");
	return 0;
}

/* ---- As a part of a batch ----------------------------------------------- */

/* Switch to the prepared tree.  -EAGAIN: the tree must be prepared first. */
static int change_switch(struct control *c, const struct request *q,
                         struct state *to, struct state *from,
                         struct state_change *change)
{
	struct fs_tree_ids ids;
	int err = fs_tree_ids(to, from, &ids);

	if (!err && !fs_prepared_fits(change->prepared, &ids)) {
		fs_prepared_want(change->prepared, &ids, to->number);
		return -EAGAIN;
	}
	if (!err)
		err = fs_prepared_switch(c->fs, change->prepared, to,
		                         &change->restored);
	return err && err != -EAGAIN ? fail_target(c, &q->to, err) : err;
}

int control_clone_change(struct control *c, struct state_change *ret)
{
	struct state *from, *to;
	struct request q;
	int err = request_read(c, &q);

	if (err)
		return err;
	err = state_resolve(c->forest, q.from.state, &from);
	if (err)
		return control_fail_state(c, "clone", q.from.state, err);
	err = state_resolve(c->forest, q.to.state, &to);
	if (err)
		return control_fail_state(c, "clone to", q.to.state, err);
	err = change_switch(c, &q, to, from, ret);
	return err ? err : state_change_result(c, to, ret);
}

int control_clone_prepare(struct control *c, struct fs_prepared *prepared)
{
	struct fs_joined *trees = &prepared->trees;
	uint64_t from = 0, parent = 0;
	struct inode inode;
	struct request q;
	int err = request_read(c, &q);

	if (err)
		return err;
	store_lock(c->store);
	err = control_path_find(c, "clone", &q.from, hold_tree(&trees->theirs),
	                        &from, &inode);
	if (!err)
		err = control_path_find(c, "clone to", &q.dir,
		                        hold_tree(&trees->now.before), &parent,
		                        &inode);
	store_unlock(c->store);
	if (err)
		return err;
	err = fs_prepare_clone(c->fs, prepared, from, parent, q.name);
	return err ? fail_target(c, &q.to, err) : 0;
}
