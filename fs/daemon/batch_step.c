/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The operations of a batch, and how they are read from the request. */
#include "batch_step.h"

#include <errno.h>

#include "control_clone.h"
#include "control_join.h"
#include "control_property.h"
#include "control_restore.h"
#include "control_rm.h"
#include "control_swap.h"
#include "util.h"

/* ---- Operations --------------------------------------------------------- */

/* Find the state "name"; the operation only has conditions. */
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

static const struct operation operations[] = {
        {.name = "check",
         .subject = "name",
         .keys = {"name"},
         .needed = 1,
         .change = check_change},
        {.name = "clone",
         .subject = "name",
         .keys = {"name:to", "path:to_path", "from:source",
                  "from_path:source_path"},
         .needed = 3,
         .change = control_clone_change,
         .prepare = control_clone_prepare},
        {.name = "default",
         .subject = "name",
         .keys = {"name"},
         .needed = 1,
         .change = default_change},
        {.name = "fork",
         .subject = "source",
         .keys = {"name", "source", "set"},
         .needed = 1,
         .change = control_fork_change},
        {.name = "hold",
         .subject = "name",
         .keys = {"name", "tag"},
         .needed = 2,
         .change = control_property_change},
        {.name = "join",
         .subject = "name",
         .keys = {"name:into", "from:source", "base", "ff_only", "keep_both",
                  "ours", "squash", "text", "theirs"},
         .needed = 2,
         .change = control_join_change,
         .prepare = control_join_prepare},
        {.name = "release",
         .subject = "name",
         .keys = {"name", "tag"},
         .needed = 2,
         .change = control_property_change},
        {.name = "rename",
         .subject = "name",
         .keys = {"name", "to"},
         .needed = 2,
         .change = control_rename_change},
        {.name = "restore",
         .subject = "name",
         .keys = {"name:into", "from:source", "path:into_path",
                  "from_path:source_path", "undo"},
         .needed = 2,
         .change = control_restore_change,
         .prepare = control_restore_prepare},
        {.name = "rm",
         .subject = "name",
         .keys = {"name", "recursive"},
         .needed = 1,
         .change = control_rm_change},
        {.name = "set",
         .subject = "name",
         .keys = {"name", "key", "value"},
         .needed = 3,
         .change = control_property_change},
        {.name = "snap",
         .subject = "fork",
         .keys = {"fork", "name", "set"},
         .needed = 1,
         .change = control_snap_change},
        {.name = "swap",
         .subject = "name",
         .keys = {"name", "with"},
         .needed = 2,
         .change = control_swap_change},
        {.name = "unset",
         .subject = "name",
         .keys = {"name", "key"},
         .needed = 2,
         .change = control_property_change},
};

/* ---- Reading ------------------------------------------------------------ */

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

static bool is_rule(const json_t *value)
{
	return json_is_true(value) || json_is_string(value);
}

/* The types of the keys' values; those of other keys are texts. */
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
        {"ff_only", is_flag, "true or false"},
        {"keep_both", is_rule, "true or a pattern"},
        {"ours", is_rule, "true or a pattern"},
        {"recursive", is_flag, "true or false"},
        {"set", is_texts, "an object of texts"},
        {"squash", is_flag, "true or false"},
        {"text", is_rule, "true or a pattern"},
        {"theirs", is_rule, "true or a pattern"},
        {"undo", is_flag, "true or false"},
        {NULL, is_text, "a text"},
};
enum { CONDITION_TYPES = 5 }; /* the first rows are conditions */

static const struct type *type_find(const char *key)
{
	const struct type *type = types;

	while (type->key && strcmp(type->key, key) != 0)
		type++;
	return type;
}

/* Return the verb's key for a key of the operation; NULL: no such key. */
static const char *key_of_verb(const struct operation *operation,
                               const char *key)
{
	size_t len = strlen(key);

	for (size_t i = 0; i < KEYS_MAX && operation->keys[i]; i++) {
		const char *own = operation->keys[i];

		if (strncmp(own, key, len) == 0 && strchr(":", own[len]))
			return own[len] ? own + len + 1 : own;
	}
	return NULL;
}

static int key_check(struct control *c, struct step *step, const char *key,
                     json_t *value)
{
	const struct type *type = type_find(key);
	const char *own = key_of_verb(step->operation, key);

	if (!own && type >= types + CONDITION_TYPES)
		return fail(c, -EINVAL, "'%s' has no key \"%s\"",
		            step->operation->name, key);
	if (!type->check(value))
		return fail(c, -EINVAL, "\"%s\" is not %s", key, type->what);
	if (own && json_object_set(step->request, own, value) < 0)
		return fail(c, -ENOMEM, "out of memory");
	return 0;
}

static const struct operation *operation_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
		if (strcmp(operations[i].name, name) == 0)
			return &operations[i];
	}
	return NULL;
}

/* Fail if a key is missing.  The verb's message might use another name. */
static int keys_check(struct control *c, const struct operation *operation,
                      const json_t *op)
{
	char key[32];

	for (size_t i = 0; i < operation->needed; i++) {
		snprintf(key, sizeof(key), "%.*s",
		         (int)strcspn(operation->keys[i], ":"),
		         operation->keys[i]);
		if (!json_object_get(op, key))
			return fail(c, -EINVAL, "'%s' needs a \"%s\"",
			            operation->name, key);
	}
	return 0;
}

int batch_step_read(struct control *c, json_t *op, struct step *step)
{
	const char *name = json_string_value(json_object_get(op, "op")), *key;
	json_t *value;
	int err = 0;

	if (!json_is_object(op))
		return fail(c, -EINVAL, "not a JSON object");
	if (!name)
		return fail(c, -EINVAL, "there is no \"op\"");
	step->operation = operation_find(name);
	if (!step->operation)
		return fail(c, -EINVAL, "there is no operation '%s'", name);
	step->op = op;
	step->request = json_pack("{s:s}", "verb", name);
	if (step->operation->prepare)
		step->change.prepared =
		        calloc(1, sizeof(*step->change.prepared));
	if (!step->request ||
	    (step->operation->prepare && !step->change.prepared))
		return fail(c, -ENOMEM, "out of memory");
	json_object_foreach(op, key, value)
	{
		if (err == 0 && strcmp(key, "op") != 0)
			err = key_check(c, step, key, value);
	}
	return err ? err : keys_check(c, step->operation, op);
}

void batch_step_release(struct control *c, struct step *step)
{
	struct state_change *change = &step->change;

	json_decref(step->request);
	json_decref(change->full);
	fs_restored_release(c->fs, &change->restored);
	if (change->prepared)
		fs_prepared_release(c->fs, change->prepared);
	free(change->prepared);
}
