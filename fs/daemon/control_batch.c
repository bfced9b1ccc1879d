/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_batch.h"

#include <errno.h>

#include "control_property.h"
#include "control_restore.h"
#include "control_rm.h"
#include "control_state.h"
#include "control_swap.h"
#include "util.h"

/* ---- Operations --------------------------------------------------------- */

static int set_change(struct control *c, struct state_change *ret)
{
	return control_property_change(c, CHANGE_SET, ret);
}

static int unset_change(struct control *c, struct state_change *ret)
{
	return control_property_change(c, CHANGE_UNSET, ret);
}

static int hold_change(struct control *c, struct state_change *ret)
{
	return control_property_change(c, CHANGE_HOLD, ret);
}

static int release_change(struct control *c, struct state_change *ret)
{
	return control_property_change(c, CHANGE_RELEASE, ret);
}

/* Find the state "name"; the preconditions are all there is to it. */
static int check_change(struct control *c, struct state_change *ret)
{
	char name[STATE_NAME_MAX];
	struct state *state;
	int err = control_argument(c, "name", true, name);

	if (err < 0)
		return err;
	err = state_resolve(c->forest, name, &state);
	return err < 0 ? control_fail_state(c, "check", name, err)
	               : state_change_result(c, state, ret);
}

static int default_change(struct control *c, struct state_change *ret)
{
	char name[STATE_NAME_MAX];
	struct state *state;
	int err = control_argument(c, "name", true, name);

	if (err < 0)
		return err;
	err = state_resolve(c->forest, name, &state);
	if (err == 0)
		err = state_set_default(c->forest, state);
	return err < 0 ? control_fail_state(c, "make the default", name, err)
	               : state_change_result(c, state, ret);
}

enum { KEYS_MAX = 4 };

static const struct operation {
	const char *name;
	const char
	        *subject; /* the key of the state that conditions are about */
	const char *keys[KEYS_MAX]; /* that it takes beside the conditions */
	state_change_fn *change;
} operations[] = {
        {"check", "name", {"name"}, check_change},
        {"default", "name", {"name"}, default_change},
        {"fork", "source", {"name", "source", "set"}, control_fork_change},
        {"hold", "name", {"name", "tag"}, hold_change},
        {"release", "name", {"name", "tag"}, release_change},
        {"rename", "name", {"name", "to"}, control_rename_change},
        {"restore", "name", {"name", "from"}, control_restore_change},
        {"rm", "name", {"name", "recursive"}, control_rm_change},
        {"set", "name", {"name", "key", "value"}, set_change},
        {"snap", "fork", {"fork", "name", "set"}, control_snap_change},
        {"swap", "name", {"name", "with"}, control_swap_change},
        {"unset", "name", {"name", "key"}, unset_change},
};

/* ---- Conditions --------------------------------------------------------- */

static int names_each(struct control *c, json_t *names,
                      int (*fn)(struct control *c, const char *name))
{
	char name[STATE_NAME_MAX];
	json_t *one = json_is_array(names) ? json_array_get(names, 0) : names;
	int err = 0;

	for (size_t i = 0; err == 0 && one; i++) {
		json_t *wrapped = json_pack("{s:O}", "name", one);

		err = control_bytes(wrapped, "name", name, sizeof(name));
		json_decref(wrapped);
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

static int condition_check(struct control *c, json_t *op,
                           const struct operation *operation,
                           const struct condition *condition)
{
	const json_t *value = json_object_get(op, condition->key);
	char name[STATE_NAME_MAX];
	struct state *state;
	int err;

	if (!value)
		return 0;
	err = control_bytes(op, operation->subject, name, sizeof(name));
	if (err < 0)
		return fail(c, -EINVAL, "\"%s\" needs a \"%s\"", condition->key,
		            operation->subject);
	err = state_resolve(c->forest, name, &state);
	return err < 0 ? control_fail_state(c, "check", name, err)
	               : condition->holds(c, value, name, state);
}

static int conditions_check(struct control *c, json_t *op,
                            const struct operation *operation)
{
	int err = names_each(c, json_object_get(op, "if_exists"), if_exists);

	if (err == 0)
		err = names_each(c, json_object_get(op, "if_not_exists"),
		                 if_not_exists);
	for (size_t i = 0; err == 0 && i < ARRAY_SIZE(conditions); i++)
		err = condition_check(c, op, operation, &conditions[i]);
	return err;
}

/* ---- Reading the request ------------------------------------------------ */

/* An operation of the request. */
struct step {
	const struct operation *operation;
	json_t *op;      /* as it was given; the request's */
	json_t *request; /* what the verb reads */
	json_int_t line;
	struct state_change change;
};

static bool is_names(const json_t *value)
{
	const json_t *one;
	size_t i;

	json_array_foreach(value, i, one)
	{
		if (!json_is_string(one))
			return false;
	}
	return json_is_string(value) || json_is_array(value);
}

static bool is_number(const json_t *value)
{
	return json_is_integer(value) && json_integer_value(value) >= 0;
}

static bool is_flag(const json_t *value)
{
	return json_is_boolean(value);
}

static bool is_text(const json_t *value)
{
	return json_is_string(value);
}

static bool is_texts(const json_t *value)
{
	const json_t *one;
	const char *key;

	json_object_foreach((json_t *)(uintptr_t)value, key, one)
	{
		if (!json_is_string(one))
			return false;
	}
	return json_is_object(value);
}

/* The types of values; all others are texts. */
static const struct type {
	const char *key;
	bool (*check)(const json_t *value);
	const char *what;
} types[] = {
        {"if_exists", is_names, "a name or an array of names"},
        {"if_not_exists", is_names, "a name or an array of names"},
        {"if_number", is_number, "a number"},
        {"if_version", is_number, "a number"},
        {"if_unchanged", is_flag, "true or false"},
        {"recursive", is_flag, "true or false"},
        {"set", is_texts, "an object of texts"},
        {NULL, is_text, "a text"},
};
enum { CONDITION_TYPES = 5 }; /* the first of them are conditions */

static const struct type *type_find(const char *key)
{
	const struct type *type = types;

	while (type->key && strcmp(type->key, key) != 0)
		type++;
	return type;
}

static bool takes_key(const struct operation *operation, const char *key)
{
	for (size_t i = 0; i < KEYS_MAX && operation->keys[i]; i++) {
		if (strcmp(operation->keys[i], key) == 0)
			return true;
	}
	return false;
}

static int key_check(struct control *c, struct step *step, const char *key,
                     json_t *value)
{
	const struct type *type = type_find(key);
	bool own = takes_key(step->operation, key);

	if (!own && type >= types + CONDITION_TYPES)
		return fail(c, -EINVAL, "'%s' has no key \"%s\"",
		            step->operation->name, key);
	if (!type->check(value))
		return fail(c, -EINVAL, "\"%s\" is not %s", key, type->what);
	if (own && json_object_set(step->request, key, value) < 0)
		return fail(c, -ENOMEM, "out of memory");
	return 0;
}

static int step_read(struct control *c, json_t *op, struct step *step)
{
	const char *name = json_string_value(json_object_get(op, "op")), *key;
	json_t *value;
	int err = 0;

	if (!json_is_object(op))
		return fail(c, -EINVAL, "not a JSON object");
	if (!name)
		return fail(c, -EINVAL, "there is no \"op\"");
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		if (strcmp(operations[i].name, name) == 0)
			step->operation = &operations[i];
	}
	if (!step->operation)
		return fail(c, -EINVAL, "there is no operation '%s'", name);
	step->op = op;
	step->request = json_object();
	if (!step->request)
		return fail(c, -ENOMEM, "out of memory");
	json_object_foreach(op, key, value)
	{
		if (err == 0 && strcmp(key, "op") != 0)
			err = key_check(c, step, key, value);
	}
	return err;
}

/* Put the number of the line in front of the error message. */
static int line_fail(struct control *c, const struct step *step, int err)
{
	json_t *error = steal(&c->error);
	const char *text = json_string_value(json_object_get(error, "error"));

	err = fail(c, err, "line %jd: %s", (intmax_t)step->line,
	           text ? text : control_reason(err));
	json_decref(error);
	return err;
}

static int steps_read(struct control *c, json_t *ops, json_t *lines,
                      struct step *steps)
{
	json_t *op;
	size_t i;

	json_array_foreach(ops, i, op)
	{
		const json_t *line = json_array_get(lines, i);
		int err;

		steps[i].line =
		        line ? json_integer_value(line) : (json_int_t)i + 1;
		err = step_read(c, op, &steps[i]);
		if (err < 0)
			return line_fail(c, &steps[i], err);
	}
	return 0;
}

/* ---- The verb ----------------------------------------------------------- */

/* Do one step.  Lock held. */
static int step_run(struct control *c, struct step *step)
{
	json_t *batch = c->request;
	int err = conditions_check(c, step->op, step->operation);

	if (err == 0) {
		c->request = step->request;
		err = step->operation->change(c, &step->change);
		c->request = batch;
	}
	return err < 0 ? line_fail(c, step, err) : 0;
}

static int steps_run(struct control *c, struct step *steps, size_t count,
                     bool dry_run)
{
	int err = store_throttle(c->store, true);

	if (err == 0) {
		store_lock(c->store);
		err = forest_undo_begin(c->forest);
		if (err < 0)
			store_unlock(c->store);
	}
	if (err < 0)
		return fail(c, err, "cannot change the states: %s",
		            control_reason(err));
	for (size_t i = 0; err == 0 && i < count; i++)
		err = step_run(c, &steps[i]);
	/* Nothing may hold what is about to be undone. */
	for (size_t i = 0; (err < 0 || dry_run) && i < count; i++)
		state_change_release_trees(c, &steps[i].change);
	forest_undo_end(c->forest, err < 0 || dry_run);
	store_unlock(c->store);
	return err;
}

static json_t *number_json(uint64_t number, bool known)
{
	return known && number ? json_integer((json_int_t)number) : json_null();
}

static int row_send(struct control *c, const struct step *step, bool known)
{
	const struct state_change *change = &step->change;
	json_t *row =
	        json_pack("{s:I, s:s, s:O, s:o, s:o}", "line", step->line, "op",
	                  step->operation->name, "name", change->full, "number",
	                  number_json(change->number, known), "version",
	                  number_json(change->version, known));

	if (!row)
		return fail(c, -ENOMEM, "out of memory");
	c->ended = c->fn(c->arg, row);
	json_decref(row);
	return c->ended;
}

/* Announce the changes, make them durable, and answer. */
static int steps_finish(struct control *c, struct step *steps, size_t count,
                        bool dry_run)
{
	int err = 0;

	for (size_t i = 0; !dry_run && i < count; i++)
		state_change_announce(c, &steps[i].change);
	if (!dry_run)
		err = store_sync(c->store);
	if (err < 0)
		return fail(c, err,
		            "the batch is done, but cannot be saved yet: %s",
		            control_reason(err));
	for (size_t i = 0; err == 0 && i < count; i++)
		err = row_send(c, &steps[i], !dry_run);
	return err;
}

int control_batch(struct control *c)
{
	json_t *ops = json_object_get(c->request, "ops");
	json_t *lines = json_object_get(c->request, "lines");
	bool dry_run = control_flag(c, "dry_run");
	size_t count = json_array_size(ops);
	_cleanup_free_ struct step *steps = NULL;
	int err;

	if (!json_is_array(ops))
		return fail(c, -EINVAL, "the request has no \"ops\"");
	if (count > BATCH_OPS_MAX)
		return fail(c, -E2BIG, "a batch has at most %d operations",
		            BATCH_OPS_MAX);
	steps = calloc(count + 1, sizeof(*steps));
	if (!steps)
		return fail(c, -ENOMEM, "out of memory");
	err = steps_read(c, ops, lines, steps);
	if (err == 0)
		err = steps_run(c, steps, count, dry_run);
	if (err == 0)
		err = steps_finish(c, steps, count, dry_run);
	for (size_t i = 0; i < count; i++) {
		json_decref(steps[i].request);
		json_decref(steps[i].change.full);
		fs_restored_release(c->fs, &steps[i].change.restored);
	}
	return err;
}
