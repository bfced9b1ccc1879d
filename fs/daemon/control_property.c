/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_property.h"

#include <errno.h>

#include "escaped_name.h"
#include "util.h"

enum { PIECE = 64 }; /* states changed in one hold of the lock */

/* ---- Changing ----------------------------------------------------------- */

struct change;

/*
 * Check that a change can be made, or make it.  On failure set the error
 * message and return a negative errno.  Lock held.
 */
typedef int change_fn(struct change *change, struct state *state,
                      const char *name);

/* The change that a request makes to each of its states. */
struct change {
	struct control *c;
	char what[PROPERTY_KEY_MAX + 1]; /* a key or a tag */
	char value[PROPERTY_VALUE_MAX + 2];
	change_fn *check, *apply;
};

/* Call a function of the change for all states, a piece at a time. */
static int change_each(struct change *change, const json_t *names,
                       change_fn *fn)
{
	struct control *c = change->c;
	size_t count = json_array_size(names);
	char name[STATE_NAME_MAX];
	struct state *state;
	int err = 0;

	for (size_t i = 0; err == 0 && i < count;) {
		store_lock(c->store);
		do {
			err = control_name_at(c, names, i, name);
			if (err == 0)
				err = state_resolve(c->forest, name, &state);
			if (err == 0)
				err = fn(change, state, name);
		} while (err == 0 && ++i % PIECE && i < count);
		store_unlock(c->store);
		store_yield(c->store);
	}
	return err < 0 ? control_fail_state(c, "change", name, err) : 0;
}

static int change_run(struct change *change, bool grows)
{
	struct control *c = change->c;
	const json_t *names = json_object_get(c->request, "names");
	int err = store_throttle(c->store, grows);

	if (!json_is_array(names))
		return fail(c, -EINVAL, "the request has no \"names\"");
	if (err < 0)
		return fail(c, err, "cannot change properties: %s",
		            control_reason(err));
	err = change_each(change, names, change->check);
	if (err == 0 && !control_flag(c, "dry_run"))
		err = change_each(change, names, change->apply);
	return err;
}

/* Read the argument that names a property or a tag. */
static int change_argument(struct change *change, const char *key)
{
	int err = control_bytes(change->c->request, key, change->what,
	                        sizeof(change->what));

	if (err == -ENOENT)
		return fail(change->c, -EINVAL, "the request has no \"%s\"",
		            key);
	if (err < 0)
		return fail(change->c, -EINVAL,
		            "\"%s\" is not a text of at most %d bytes", key,
		            PROPERTY_KEY_MAX);
	return 0;
}

/* Set the message for an error of property_set() and property_unset(). */
static int property_fail(struct change *change, const char *name, int err)
{
	if (err == -ENOSPC)
		return fail(change->c, err,
		            "cannot set '%s' of '%s': a state has at most %d "
		            "properties",
		            change->what, name, PROPERTIES_MAX);
	return fail(change->c, err, "cannot change '%s' of '%s': %s",
	            change->what, name, control_reason(err));
}

static int set_check(struct change *change, struct state *state,
                     const char *name)
{
	_cleanup_free_ char *stored = malloc(PROPERTY_VALUE_MAX + 1);
	const char *reason;

	if (!stored)
		return -ENOMEM;
	if (property_check(state->fork, change->what, change->value, stored,
	                   &reason) == 0)
		return 0;
	return fail(change->c, -EINVAL, "cannot set '%s' of '%s': %s",
	            change->what, name, reason);
}

static int set_apply(struct change *change, struct state *state,
                     const char *name)
{
	_cleanup_free_ char *stored = malloc(PROPERTY_VALUE_MAX + 1);
	const char *reason;
	int err = stored ? property_check(state->fork, change->what,
	                                  change->value, stored, &reason)
	                 : -ENOMEM;

	if (err == 0)
		err = property_set(state, change->what, stored);
	return err < 0 ? property_fail(change, name, err) : 0;
}

static int unset_check(struct change *change, struct state *state,
                       const char *name)
{
	_cleanup_free_ struct property *old = malloc(sizeof(*old));
	char unused[PROPERTY_VALUE_MAX + 1];
	const char *reason;
	int err;

	if (!old)
		return -ENOMEM;
	/* All other properties can be unset. */
	if (!strcmp(change->what, "creator")) {
		property_check(state->fork, change->what, "", unused, &reason);
		return fail(change->c, -EINVAL, "cannot unset '%s' of '%s': %s",
		            change->what, name, reason);
	}
	err = property_get(state, change->what, old);
	if (err == -ENODATA || (err == 0 && old->inherited))
		return fail(change->c, -ENODATA,
		            "cannot unset '%s' of '%s': it is not set%s",
		            change->what, name,
		            err == 0 ? " there, but inherited" : "");
	return err < 0 ? property_fail(change, name, err) : 0;
}

static int unset_apply(struct change *change, struct state *state,
                       const char *name)
{
	int err = property_unset(state, change->what);

	/* The state may have been named twice. */
	return err < 0 && err != -ENODATA ? property_fail(change, name, err)
	                                  : 0;
}

/* ---- Holds -------------------------------------------------------------- */

/* Return 0 if the state has the tag, otherwise -ENODATA. */
static int has_tag(struct state *state, const char *tag)
{
	char at[TAG_MAX + 1] = "";
	int err;

	do {
		err = tag_next(state, at, at, NULL);
	} while (err == 0 && strcmp(at, tag) < 0);
	if (err == 0 && strcmp(at, tag) == 0)
		return 0;
	return err == 0 || err == -ENOENT ? -ENODATA : err;
}

static int hold_fail(struct change *change, const char *name, int err)
{
	struct control *c = change->c;

	switch (err) {
	case -EINVAL:
		return fail(c, err,
		            "'%s' is not a tag: 1 to %d bytes of UTF-8 without "
		            "control characters",
		            change->what, TAG_MAX);
	case -EEXIST:
		return fail(c, err, "'%s' has the tag '%s' already", name,
		            change->what);
	case -ENODATA:
		return fail(c, err, "'%s' does not have the tag '%s'", name,
		            change->what);
	case -ENOSPC:
		return fail(c, err,
		            "cannot hold '%s': a state has at most %d tags",
		            name, TAGS_MAX);
	default:
		return fail(c, err, "cannot hold '%s': %s", name,
		            control_reason(err));
	}
}

static int hold_check(struct change *change, struct state *state,
                      const char *name)
{
	int err =
	        tag_good(change->what) ? has_tag(state, change->what) : -EINVAL;

	if (err == -ENODATA)
		return 0;
	return hold_fail(change, name, err == 0 ? -EEXIST : err);
}

static int hold_apply(struct change *change, struct state *state,
                      const char *name)
{
	int err = tag_add(state, change->what);

	return err < 0 && err != -EEXIST ? hold_fail(change, name, err) : 0;
}

static int release_check(struct change *change, struct state *state,
                         const char *name)
{
	int err = has_tag(state, change->what);

	return err < 0 ? hold_fail(change, name, err) : 0;
}

static int release_apply(struct change *change, struct state *state,
                         const char *name)
{
	int err = tag_del(state, change->what);

	return err < 0 && err != -ENODATA ? hold_fail(change, name, err) : 0;
}

/* ---- Verbs -------------------------------------------------------------- */

static const struct change_kind {
	const char *verb, *key; /* the argument that is change->what */
	bool grows;
	change_fn *check, *apply;
} kinds[] = {
        {"set", "key", true, set_check, set_apply},
        {"unset", "key", false, unset_check, unset_apply},
        {"hold", "tag", true, hold_check, hold_apply},
        {"release", "tag", false, release_check, release_apply},
};

/* Return the kind of the request's verb, which is one of the four. */
static const struct change_kind *kind_find(struct control *c)
{
	const char *verb =
	        json_string_value(json_object_get(c->request, "verb"));
	size_t i = 0;

	while (i < ARRAY_SIZE(kinds) - 1 && strcmp(kinds[i].verb, verb) != 0)
		i++;
	return &kinds[i];
}

/* Read the change from the request. */
static int change_init(struct change *change, struct control *c)
{
	const struct change_kind *kind = kind_find(c);
	int err;

	*change = (struct change){
	        .c = c,
	        .check = kind->check,
	        .apply = kind->apply,
	};
	err = change_argument(change, kind->key);
	if (err < 0 || kind->apply != set_apply)
		return err;
	err = control_bytes(c->request, "value", change->value,
	                    sizeof(change->value));
	return err < 0 ? fail(c, -EINVAL,
	                      "cannot set '%s': a value is a text of at most "
	                      "%d bytes",
	                      change->what, PROPERTY_VALUE_MAX)
	               : 0;
}

int control_property(struct control *c)
{
	_cleanup_free_ struct change *change = calloc(1, sizeof(*change));
	int err;

	if (!change)
		return fail(c, -ENOMEM, "out of memory");
	err = change_init(change, c);
	return err < 0 ? err : change_run(change, kind_find(c)->grows);
}

int control_property_change(struct control *c, struct state_change *ret)
{
	_cleanup_free_ struct change *change = calloc(1, sizeof(*change));
	char name[STATE_NAME_MAX];
	struct state *state;
	int err;

	if (!change)
		return fail(c, -ENOMEM, "out of memory");
	err = change_init(change, c);
	if (err == 0)
		err = control_argument(c, "name", true, name);
	if (err < 0)
		return err;
	err = state_resolve(c->forest, name, &state);
	if (err == 0)
		err = change->check(change, state, name);
	if (err == 0)
		err = change->apply(change, state, name);
	return err < 0 ? control_fail_state(c, "change", name, err)
	               : state_change_result(c, state, ret);
}

/* ---- Properties of new states ------------------------------------------- */

int control_check_set(struct control *c, bool snapshot)
{
	_cleanup_free_ char *value = malloc(2 * (PROPERTY_VALUE_MAX + 2));
	json_t *set = json_object_get(c->request, "set"), *json;
	const char *key, *reason;

	if (!value)
		return fail(c, -ENOMEM, "out of memory");
	if (json_object_size(set) >= PROPERTIES_MAX)
		return fail(c, -EINVAL, "a state has at most %d properties",
		            PROPERTIES_MAX);
	json_object_foreach(set, key, json)
	{
		reason = "a value is a text of at most 4000 bytes";
		if (name_unescape(json, value, PROPERTY_VALUE_MAX + 2) < 0 ||
		    property_check(snapshot, key, value,
		                   value + PROPERTY_VALUE_MAX + 2, &reason) < 0)
			return fail(c, -EINVAL, "cannot set '%s': %s", key,
			            reason);
	}
	return 0;
}

int control_apply_set(struct control *c, struct state *state)
{
	_cleanup_free_ char *value = malloc(2 * (PROPERTY_VALUE_MAX + 2));
	json_t *set = json_object_get(c->request, "set"), *json;
	const char *key, *reason;
	int err = value ? 0 : -ENOMEM;

	json_object_foreach(set, key, json)
	{
		char *stored = value + PROPERTY_VALUE_MAX + 2;

		if (err == 0)
			err = name_unescape(json, value,
			                    PROPERTY_VALUE_MAX + 2);
		if (err == 0)
			err = property_check(state->fork, key, value, stored,
			                     &reason);
		if (err == 0)
			err = property_set(state, key, stored);
	}
	return err;
}
