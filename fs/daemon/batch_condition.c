/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The conditions of the operations of a batch. */
#include "batch_condition.h"

#include <errno.h>

#include "escaped_name.h"
#include "util.h"

static int names_each(struct control *c, json_t *names,
                      int (*fn)(struct control *c, const char *name))
{
	char name[STATE_NAME_MAX];
	json_t *one = json_is_array(names) ? json_array_get(names, 0) : names;
	int err = 0;

	for (size_t i = 0; err == 0 && one; i++) {
		err = name_unescape(one, name, sizeof(name));
		err = err < 0 ? fail(c, err,
		                     "a condition has something that "
		                     "is not a name")
		              : fn(c, name);
		one = json_is_array(names) ? json_array_get(names, i + 1)
		                           : NULL;
	}
	return err;
}

static int if_exists(struct control *c, const char *name)
{
	struct state *state;
	int err = state_resolve(c->forest, name, &state);

	return err < 0 ? control_fail_state(c, "find", name, err) : 0;
}

static int if_not_exists(struct control *c, const char *name)
{
	struct state *state;
	int err = state_resolve(c->forest, name, &state);

	if (err == -ENOENT)
		return 0;
	return err < 0 ? control_fail_state(c, "find", name, err)
	               : fail(c, -EEXIST, "'%s' exists", name);
}

static int if_number(struct control *c, const json_t *value, const char *name,
                     struct state *state)
{
	if ((uint64_t)json_integer_value(value) == state->number)
		return 0;
	return fail(c, -ECANCELED, "'%s' has the number %ju, not %ju", name,
	            (uintmax_t)state->number,
	            (uintmax_t)json_integer_value(value));
}

static int if_version(struct control *c, const json_t *value, const char *name,
                      struct state *state)
{
	if ((uint64_t)json_integer_value(value) == state_version_id(state))
		return 0;
	return fail(c, -ECANCELED, "'%s' is at version %ju, not %ju", name,
	            (uintmax_t)state_version_id(state),
	            (uintmax_t)json_integer_value(value));
}

static int if_unchanged(struct control *c, const json_t *value,
                        const char *name, struct state *state)
{
	bool unchanged;
	int err = state_is_unchanged(state, &unchanged);

	if (err < 0)
		return control_fail_state(c, "check", name, err);
	if (unchanged == json_is_true(value))
		return 0;
	return fail(c, -ECANCELED,
	            unchanged ? "'%s' has not changed since it was made, "
	                        "snapshotted or forked"
	                      : "'%s' has changed since it was made, "
	                        "snapshotted or forked",
	            name);
}

/* The conditions about the subject of an operation. */
static const struct condition {
	const char *key;
	int (*holds)(struct control *c, const json_t *value, const char *name,
	             struct state *state);
} conditions[] = {
        {"if_number", if_number},
        {"if_version", if_version},
        {"if_unchanged", if_unchanged},
};

/* Return true if the state still has the tree whose conditions held. */
static bool is_seen(struct control *c, const struct batch_seen *seen,
                    struct state *state)
{
	struct state_hold hold = {0};
	bool frozen;

	if (!seen->until || state->number != seen->number ||
	    state_version_id(state) == seen->version ||
	    !state_is_at(state, seen->version) ||
	    version_hold_id(c->forest, seen->version, &hold) < 0)
		return false;
	frozen = hold_freeze(&hold) < seen->until;
	hold_release(c->forest, &hold);
	return frozen;
}

/* Check the conditions about the subject of an operation. */
static int subject_check(struct control *c, json_t *op, const char *subject,
                         struct batch_seen *seen)
{
	const struct condition *first = NULL;
	char name[STATE_NAME_MAX];
	struct state *state;
	int err;

	for (size_t i = 0; !first && i < ARRAY_SIZE(conditions); i++) {
		if (json_object_get(op, conditions[i].key))
			first = &conditions[i];
	}
	if (!first)
		return 0;
	err = control_bytes(op, subject, name, sizeof(name));
	if (err < 0)
		return fail(c, -EINVAL, "\"%s\" needs a \"%s\"", first->key,
		            subject);
	err = state_resolve(c->forest, name, &state);
	if (err < 0)
		return control_fail_state(c, "check", name, err);
	if (is_seen(c, seen, state))
		return 0;
	*seen = (struct batch_seen){.number = state->number,
	                            .version = state_version_id(state)};
	for (; err == 0 && first < conditions + ARRAY_SIZE(conditions);
	     first++) {
		const json_t *value = json_object_get(op, first->key);

		if (value)
			err = first->holds(c, value, name, state);
	}
	return err;
}

int batch_conditions_check(struct control *c, json_t *op, const char *subject,
                           struct batch_seen *seen)
{
	int err = names_each(c, json_object_get(op, "if_exists"), if_exists);

	if (err == 0)
		err = names_each(c, json_object_get(op, "if_not_exists"),
		                 if_not_exists);
	return err ? err : subject_check(c, op, subject, seen);
}
