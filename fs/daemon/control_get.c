/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs that list properties and holds. */
#include "control_get.h"

#include <errno.h>

#include "control_list.h"
#include "escaped_name.h"
#include "util.h"

enum { PIECE = 64 }; /* states, or rows, in one hold of the lock */

/* The rows of a piece of states. */
struct reading {
	struct control *c;
	json_t *rows;
	const json_t *keys; /* NULL: all */
	struct property property;
	char name[NAME_LEN_MAX * 2 + 2]; /* of the state */
};

static int row_add(struct reading *reading, json_t *row)
{
	return json_array_append_new(reading->rows, row) < 0 ? -ENOMEM : 0;
}

/* Add a row for reading->property; without is_set, its value is null. */
static int property_row(struct reading *reading, struct state *state,
                        bool is_set)
{
	const struct property *p = &reading->property;
	const char *source = "local";
	json_t *from = NULL;
	struct state *fork;

	if (!is_set || !strcmp(p->key, "creator"))
		source = NULL;
	else if (p->inherited)
		source = "inherited";
	if (p->inherited && is_set &&
	    state_get(reading->c->forest, state->fork, &fork) == 0)
		from = name_escape(fork->name);
	return row_add(reading,
	               json_pack("{s:o, s:o, s:o?, s:s?, s:o?}", "name",
	                         name_escape(reading->name), "property",
	                         name_escape(p->key), "value",
	                         is_set ? name_escape(p->value) : NULL,
	                         "source", source, "from", from));
}

/* Add a row for each requested key. */
static int get_keys(struct reading *reading, struct state *state)
{
	char key[PROPERTY_KEY_MAX + 1];
	json_t *json;
	size_t i;

	json_array_foreach(reading->keys, i, json)
	{
		int err = name_unescape(json, key, sizeof(key));

		if (err < 0)
			return fail(reading->c, -EINVAL,
			            "\"keys\" has something that is not a key");
		err = property_get(state, key, &reading->property);
		strcpy(reading->property.key, key);
		if (err == 0 || err == -ENODATA)
			err = property_row(reading, state, err == 0);
		if (err < 0)
			return err;
	}
	return 0;
}

/* Add a row for each property of the state itself. */
static int get_own(struct reading *reading, struct state *state)
{
	char at[PROPERTY_KEY_MAX + 1] = "";
	int err;

	while ((err = property_next(state, at, &reading->property)) == 0) {
		strcpy(at, reading->property.key);
		err = property_row(reading, state, true);
		if (err < 0)
			return err;
	}
	return err == -ENOENT ? 0 : err;
}

/* Add a row for each property that a snapshot inherits. */
static int get_inherited(struct reading *reading, struct state *state)
{
	char at[PROPERTY_KEY_MAX + 1] = "";
	struct state *fork;
	int err = state_get(reading->c->forest, state->fork, &fork);

	while (err == 0) {
		err = property_next(fork, at, &reading->property);
		if (err < 0)
			break;
		strcpy(at, reading->property.key);
		if (!strchr(at, ':'))
			continue;
		err = property_get(state, at, &reading->property);
		if (err == 0 && reading->property.inherited)
			err = property_row(reading, state, true);
	}
	return err == -ENOENT ? 0 : err;
}

static int get_state(struct reading *reading, struct state *state)
{
	int err;

	if (reading->keys)
		return get_keys(reading, state);
	err = get_own(reading, state);
	return err == 0 && state->fork ? get_inherited(reading, state) : err;
}

static int holds_state(struct reading *reading, struct state *state)
{
	char tag[TAG_MAX + 1] = "";
	int64_t time;
	int err;

	while ((err = tag_next(state, tag, tag, &time)) == 0) {
		err = row_add(reading,
		              json_pack("{s:o, s:o, s:o}", "name",
		                        name_escape(reading->name), "tag",
		                        name_escape(tag), "created",
		                        control_time(time)));
		if (err < 0)
			return err;
	}
	return err == -ENOENT ? 0 : err;
}

static int reading_send(struct reading *reading)
{
	struct control *c = reading->c;
	json_t *row;
	size_t i;

	json_array_foreach(reading->rows, i, row)
	{
		c->ended = c->fn(c->arg, row);
		if (c->ended)
			return c->ended;
	}
	json_array_clear(reading->rows);
	return 0;
}

typedef int reading_fn(struct reading *reading, struct state *state);

static int read_named(struct reading *reading, const json_t *names,
                      reading_fn *fn)
{
	struct control *c = reading->c;
	size_t count = json_array_size(names);
	char name[STATE_NAME_MAX];
	struct state *state;
	int err = 0;

	for (size_t i = 0; err == 0 && i < count; i++) {
		store_lock(c->store);
		err = control_name_at(c, names, i, name);
		if (err == 0)
			err = state_resolve(c->forest, name, &state);
		if (err == 0) {
			state_full_name(c->forest, state, reading->name);
			err = fn(reading, state);
		}
		store_unlock(c->store);
		if (err == 0)
			err = reading_send(reading);
	}
	return err < 0 && !c->ended ? control_fail_state(c, "read", name, err)
	                            : err;
}

static int read_all(struct reading *reading, reading_fn *fn)
{
	struct control *c = reading->c;
	struct list_position position = {.forks = true, .snapshots = true};
	struct state *state;
	int err = 0;

	while (err == 0) {
		store_lock(c->store);
		for (int i = 0; err == 0 && i < PIECE &&
		                json_array_size(reading->rows) < PIECE;
		     i++) {
			err = list_position_next(c, &position, &state);
			if (err == 0) {
				state_full_name(c->forest, state,
				                reading->name);
				err = fn(reading, state);
			}
		}
		store_unlock(c->store);
		store_yield(c->store);
		if ((err == 0 || err == -ENOENT) && reading_send(reading))
			return c->ended;
	}
	if (err == -ENOENT)
		return 0;
	return c->error ? err
	                : fail(c, err, "cannot read the states: %s",
	                       control_reason(err));
}

static int read_run(struct control *c, reading_fn *fn)
{
	_cleanup_free_ struct reading *reading = calloc(1, sizeof(*reading));
	const json_t *names = json_object_get(c->request, "names");
	int err;

	if (!reading || !(reading->rows = json_array()))
		return fail(c, -ENOMEM, "out of memory");
	reading->c = c;
	reading->keys = json_object_get(c->request, "keys");
	err = names ? read_named(reading, names, fn) : read_all(reading, fn);
	json_decref(reading->rows);
	return err;
}

int control_get(struct control *c)
{
	return read_run(c, get_state);
}

int control_holds(struct control *c)
{
	return read_run(c, holds_state);
}
