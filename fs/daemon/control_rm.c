/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_rm.h"

#include <errno.h>

#include "control_list.h"
#include "escaped_name.h"
#include "session.h"
#include "util.h"

/* The deleted state, or the reason why it was not deleted. */
struct removal {
	char own[NAME_LEN_MAX + 1];
	uint64_t fork, number;
	json_t *full;
	char held[NAME_LEN_MAX * 2 + 2]; /* the state that a tag holds, or "" */
	char tag[TAG_MAX + 1];
	bool kept; /* see has_changed() */
};

/* Return true if "number" and "created", where given, are the state's. */
static bool is_meant(struct control *c, const struct state *state)
{
	json_t *number = json_object_get(c->request, "number");
	json_t *created = json_object_get(c->request, "created");
	json_t *is = created ? control_time(state->created) : NULL;
	bool same = (!number ||
	             (uint64_t)json_integer_value(number) == state->number) &&
	            (!created || json_equal(created, is));

	json_decref(is);
	return same;
}

/*
 * Return true if the request has "if_unchanged", the version that the fork was
 * made with, and the fork has changed since, or may have.  Lock held.
 */
static bool has_changed(struct control *c, struct state *state)
{
	json_t *version = json_object_get(c->request, "if_unchanged");
	struct state_info info;

	return version &&
	       (state_info(c->forest, state, &info) < 0 || !info.unchanged ||
	        (uint64_t)json_integer_value(version) != info.version);
}

/* Delete the state, or set removal->kept.  Lock held. */
static int rm_locked(struct control *c, const char *name,
                     struct removal *removal)
{
	bool recursive = control_flag(c, "recursive");
	struct state *state, *held;
	int err = control_find_named(c, "delete", name, &state);

	if (err < 0)
		return err;
	if (!is_meant(c, state))
		return -ENOENT;
	memcpy(removal->own, state->name, sizeof(removal->own));
	removal->fork = state->fork;
	removal->number = state->number;
	removal->full = control_full_name(c, state);
	removal->kept = has_changed(c, state);
	if (removal->kept)
		return 0;
	err = control_flag(c, "now") ? fs_state_destroy(c->fs, state, recursive)
	                             : fs_state_delete(c->fs, state, recursive);
	if (err == -EBUSY &&
	    state_find_tag(state, recursive, &held, removal->tag) == 0)
		state_full_name(c->forest, held, removal->held);
	return err;
}

static int rm_fail(struct control *c, const char *name,
                   const struct removal *removal, int err)
{
	if (err == -ENOTEMPTY)
		return fail(c, err, "cannot delete '%s': it has snapshots",
		            name);
	if (err == -EBUSY && *removal->held)
		return fail(c, err,
		            "cannot delete '%s': the tag '%s' holds '%s' (see "
		            "'coppice release')",
		            name, removal->tag, removal->held);
	if (err == -EBUSY)
		return fail(c, err,
		            "cannot delete '%s': it is the default state (see "
		            "'coppice default')",
		            name);
	return control_fail_state(c, "delete", name, err);
}

int control_rm_change(struct control *c, struct state_change *ret)
{
	struct removal removal = {0};
	char name[STATE_NAME_MAX];
	int err = control_argument(c, "name", true, name);

	if (err < 0)
		return err;
	err = rm_locked(c, name, &removal);
	if (err < 0) {
		json_decref(removal.full);
		return rm_fail(c, name, &removal, err);
	}
	state_change_name(ret, removal.fork, removal.own, false);
	ret->gone = true;
	ret->full = removal.full;
	ret->number = removal.number;
	return 0;
}

int control_rm(struct control *c)
{
	struct removal removal = {0};
	char name[STATE_NAME_MAX];
	json_t *version = json_object_get(c->request, "if_unchanged");
	int err = control_argument(c, "name", true, name);

	if (err < 0)
		return err;
	if (version && !json_is_integer(version))
		return fail(c, -EINVAL, "\"if_unchanged\" is not a version");
	store_lock(c->store);
	err = rm_locked(c, name, &removal);
	store_unlock(c->store);
	if (err < 0) {
		json_decref(removal.full);
		return rm_fail(c, name, &removal, err);
	}
	if (!removal.kept)
		control_announce(c, removal.fork, removal.own, false);
	if (!removal.kept && c->mounts)
		mounts_states_gone(c->mounts);
	err = control_answer_state(c, removal.full, removal.number);
	if (!err && json_object_set_new(c->answer, "deleted",
	                                json_boolean(!removal.kept)) < 0)
		err = fail(c, -ENOMEM, "out of memory");
	return err;
}
