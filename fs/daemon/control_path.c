/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_path.h"

#include <errno.h>

int control_path(struct control *c, const char *state_key, const char *path_key,
                 bool needed, struct control_path *ret_path)
{
	int err = control_argument(c, state_key, needed, ret_path->state);

	if (err < 0)
		return err;
	err = control_bytes(c->request, path_key, ret_path->path,
	                    sizeof(ret_path->path));
	if (err == -ENOENT) {
		strcpy(ret_path->path, "/");
		return 0;
	}
	if (err == -ENAMETOOLONG)
		return fail(c, err, "\"%s\" is longer than a path can be",
		            path_key);
	return err < 0 ? fail(c, err, "\"%s\" is not a path", path_key) : 0;
}

static const char *path_reason(int err)
{
	switch (err) {
	case -ENOENT:
		return "there is no such file";
	case -ENOTDIR:
		return "something in front of a '/' is not a directory "
		       "(symlinks are not followed)";
	default:
		return control_reason(err);
	}
}

int control_fail_path(struct control *c, const char *verb,
                      const struct control_path *path, int err)
{
	if (c->error)
		return err;
	return fail(c, err, "cannot %s '%s:%s%s': %s", verb, path->state,
	            *path->path == '/' ? "" : "/", path->path,
	            path_reason(err));
}

int control_path_find(struct control *c, const char *verb,
                      const struct control_path *path, struct tree *tree,
                      uint64_t *ret_ino, struct inode *ret_inode)
{
	int err = tree_path_find(tree, path->path, ret_ino, ret_inode);

	return err < 0 ? control_fail_path(c, verb, path, err) : 0;
}

int control_hold(struct control *c, const char *verb, const char *name,
                 struct control_hold *ret_hold)
{
	struct state *state;
	int err = store_throttle(c->store, false);

	/* -EROFS: a hold writes nothing in a store that is open read-only. */
	if (err < 0 && err != -EROFS)
		return control_fail_state(c, verb, name, err);
	store_lock(c->store);
	err = state_resolve(c->forest, name, &state);
	if (err == 0)
		err = state_hold(state, &ret_hold->hold);
	if (err == 0) {
		ret_hold->number = state->number;
		ret_hold->readonly = state->flags & STATE_READONLY;
		state_full_name(c->forest, state, ret_hold->name);
	}
	store_unlock(c->store);
	return err < 0 ? control_fail_state(c, verb, name, err) : 0;
}

void control_release(struct control *c, struct control_hold *hold)
{
	store_lock(c->store);
	hold_release(c->forest, &hold->hold);
	store_unlock(c->store);
}
