/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_state.h"

#include <errno.h>

#include "coherence.h"
#include "control_property.h"
#include "escaped_name.h"
#include "time_name.h"
#include "tree_changes.h"
#include "util.h"

/* ---- Changes ------------------------------------------------------------ */

void state_change_name(struct state_change *change, uint64_t fork,
                       const char *name, bool fresh)
{
	struct changed_name *changed = &change->names[change->name_count++];

	changed->fork = fork;
	snprintf(changed->name, sizeof(changed->name), "%s", name);
	changed->fresh = fresh;
}

int state_change_result(struct control *c, struct state *state,
                        struct state_change *change)
{
	json_decref(change->full);
	change->full = control_full_name(c, state);
	change->number = state->number;
	change->version = state_version_id(state);
	return change->full ? 0 : fail(c, -ENOMEM, "out of memory");
}

void state_change_announce(struct control *c, const struct state_change *change)
{
	const struct changed_name *names = change->names;
	const struct fs_restored *restored = &change->restored;

	if (!c->mounts)
		return;
	if (change->exchanged) {
		/* In one step: no mount must see only one name exchanged. */
		struct changes changes = {.mounts = c->mounts, .links = true};
		node_t parent = names[0].fork ? NODE(names[0].fork, INO_SNAPDIR)
		                              : NODE_ROOT;

		changes_name(&changes, parent, names[0].name, parent);
		changes_name(&changes, parent, names[1].name, parent);
		coherence_announce_wait(&changes);
	} else {
		for (unsigned i = 0; i < change->name_count; i++)
			control_announce(c, names[i].fork, names[i].name,
			                 names[i].fresh);
	}
	if (restored->before.version &&
	    mounts_tree_changed(c->mounts, change->number,
	                        hold_tree(&restored->before),
	                        hold_tree(&restored->side.hold)) < 0)
		log_warning("mounts may show files of state %ju as they were "
		            "before it was restored",
		            (uintmax_t)change->number);
	if (change->gone)
		mounts_states_gone(c->mounts);
}

void state_change_release_trees(struct control *c, struct state_change *change)
{
	hold_release(c->forest, &change->restored.before);
	side_end(c->forest, &change->restored.side);
}

/*
 * Warn if the snapshot's name is also a position: the name finds another
 * snapshot once this one is deleted.
 */
static int warn_of_position(struct control *c, const char *name)
{
	char text[STATE_NAME_MAX * 2];

	if (!name_is_position(name))
		return 0;
	snprintf(text, sizeof(text),
	         "'~%s' names this snapshot while it exists, and is read as a "
	         "position afterwards",
	         name);
	return control_answer_add(c, "warning", name_escape(text));
}

/* Make a single change, announce it and answer with the state. */
static int change_alone(struct control *c, state_change_fn *change_fn,
                        struct state_change *change)
{
	int err;

	store_lock(c->store);
	err = change_fn(c, change);
	store_unlock(c->store);
	if (err < 0) {
		json_decref(change->full);
		return err;
	}
	state_change_announce(c, change);
	for (unsigned i = 0; err == 0 && i < change->name_count; i++) {
		if (change->names[i].fork && change->names[i].fresh)
			err = warn_of_position(c, change->names[i].name);
	}
	if (err < 0) {
		json_decref(change->full);
		return err;
	}
	return control_answer_state(c, change->full, change->number);
}

/* ---- fork --------------------------------------------------------------- */

/* Find the state "source" of the request; NULL: none is given. */
static int fork_source(struct control *c, struct state **ret_source)
{
	char name[STATE_NAME_MAX];
	int err = control_argument(c, "source", false, name);

	*ret_source = NULL;
	if (err == -ENOENT)
		return 0;
	if (err == 0) {
		err = state_resolve(c->forest, name, ret_source);
		if (err < 0)
			return control_fail_state(c, "fork", name, err);
	}
	return err;
}

int control_fork_change(struct control *c, struct state_change *ret)
{
	const json_t *mode = json_object_get(c->request, "mode");
	struct state *source, *fork;
	char name[STATE_NAME_MAX];
	int err = control_argument(c, "name", true, name);

	if (err == 0)
		err = control_check_set(c, false);
	if (err == 0)
		err = fork_source(c, &source);
	if (err < 0)
		return err;
	err = fs_state_fork(c->fs, source, name,
	                    json_is_integer(mode)
	                            ? (mode_t)json_integer_value(mode) & 0777
	                            : 0755,
	                    &c->cred, &fork);
	if (err == -ENOENT && strchr(name, '@'))
		return fail(c, err,
		            "cannot make '%s': no part before an '@' is the "
		            "name of a state",
		            name);
	if (err == 0)
		err = control_apply_set(c, fork);
	if (err < 0)
		return control_fail_state(c, "make", name, err);
	state_change_name(ret, 0, name, true);
	return state_change_result(c, fork, ret);
}

/* Fail if there is no space for the state that the verb adds. */
static int need_space(struct control *c, const char *verb, const char *key)
{
	char name[STATE_NAME_MAX];
	int err = store_throttle(c->store, true);

	if (err < 0 && control_bytes(c->request, key, name, sizeof(name)) == 0)
		return control_fail_state(c, verb, name, err);
	return 0;
}

int control_fork(struct control *c)
{
	struct state_change change = {0};
	int err = need_space(c, "make", "name");

	if (err == 0)
		err = change_alone(c, control_fork_change, &change);
	if (err == 0)
		err = control_answer_add(
		        c, "version", json_integer((json_int_t)change.version));
	return err;
}

/* ---- snap --------------------------------------------------------------- */

/* Make the snapshot.  An empty name is replaced by the time. */
static int snapshot_make(struct control *c, const char *fork_name,
                         char name[STATE_NAME_MAX], struct state **ret_snapshot)
{
	bool by_time = !*name;
	struct state *fork;
	int err;

	for (unsigned again = 0;; again++) {
		/* fs_state_snapshot() may have released the lock. */
		err = state_resolve(c->forest, fork_name, &fork);
		if (err < 0)
			return control_fail_state(c, "snapshot", fork_name,
			                          err);
		if (fork->flags & STATE_READONLY)
			return fail(c, -EINVAL,
			            "cannot snapshot '%s': it is a snapshot",
			            fork_name);
		if (by_time)
			time_name_now(again, name);
		err = fs_state_snapshot(c->fs, fork, name, &c->cred,
		                        ret_snapshot);
		if (err != -EEXIST || !by_time)
			break;
	}
	return err < 0 ? control_fail_state(c, "make snapshot", name, err) : 0;
}

int control_snap_change(struct control *c, struct state_change *ret)
{
	char fork_name[STATE_NAME_MAX], name[STATE_NAME_MAX];
	struct state *snapshot;
	int err = control_argument(c, "fork", true, fork_name);

	if (err < 0)
		return err;
	err = control_argument(c, "name", false, name);
	if (err == -ENOENT)
		*name = 0;
	else if (err < 0)
		return err;
	else if (!*name)
		return control_fail_state(c, "make snapshot", name, -EINVAL);
	err = control_check_set(c, true);
	if (err == 0)
		err = snapshot_make(c, fork_name, name, &snapshot);
	if (err < 0)
		return err;
	err = control_apply_set(c, snapshot);
	if (err < 0)
		return control_fail_state(c, "make snapshot", name, err);
	state_change_name(ret, snapshot->fork, name, true);
	return state_change_result(c, snapshot, ret);
}

int control_snap(struct control *c)
{
	struct state_change change = {0};
	int err = need_space(c, "snapshot", "fork");

	return err < 0 ? err : change_alone(c, control_snap_change, &change);
}

/* ---- rename ------------------------------------------------------------- */

int control_rename_change(struct control *c, struct state_change *ret)
{
	char name[STATE_NAME_MAX], to[STATE_NAME_MAX];
	char old[NAME_LEN_MAX + 1];
	struct state *state;
	int err = control_argument(c, "name", true, name);

	if (err == 0)
		err = control_argument(c, "to", true, to);
	if (err < 0)
		return err;
	err = control_find_named(c, "rename", name, &state);
	if (err < 0)
		return control_fail_state(c, "rename", name, err);
	memcpy(old, state->name, sizeof(old));
	err = fs_state_rename(c->fs, state, to);
	if (err < 0)
		return control_fail_state(c, "rename to", to, err);
	if (strcmp(old, to) != 0) {
		state_change_name(ret, state->fork, old, false);
		state_change_name(ret, state->fork, to, true);
	}
	return state_change_result(c, state, ret);
}

int control_rename(struct control *c)
{
	struct state_change change = {0};

	return change_alone(c, control_rename_change, &change);
}
