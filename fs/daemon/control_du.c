/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_du.h"

#include <errno.h>

#include "array.h"
#include "control_list.h"
#include "escaped_name.h"
#include "util.h"

enum { PIECE = 64 }; /* states found in one hold of the lock */

/* The work on one request. */
struct du {
	struct control *c;
	struct space *one; /* the state of a row */
	struct space *set; /* all states of the set */
	bool recursive;    /* the set includes the snapshots of forks */
	uint64_t *numbers; /* of the states of the set */
	size_t len, capacity;
};

/* In bytes, but for `number` and `inodes`. */
struct du_row {
	char name[NAME_LEN_MAX * 2 + 2];
	uint64_t number, unique, referenced, bytes, inodes;
};

static void du_release(struct du *du)
{
	space_destroy(du->one);
	space_destroy(du->set);
	free(du->numbers);
}

/* Measure a state.  Lock held; it may be released and taken again. */
static int row_fill(struct du *du, uint64_t number, struct du_row *row)
{
	struct state *state;
	int err = state_get(du->c->forest, number, &state);

	space_clear(du->one);
	if (err == 0)
		err = space_add(du->one, state);
	if (err == 0)
		err = space_frees(du->one, &row->unique);
	if (err == 0)
		err = space_referenced(du->one, number, &row->referenced);
	if (err == 0)
		err = state_get(du->c->forest, number, &state);
	if (err < 0)
		return err;
	row->number = number;
	row->bytes = state_blocks(state) * 512;
	row->inodes = state_inodes(state);
	state_full_name(du->c->forest, state, row->name);
	return 0;
}

static int row_send(struct control *c, const struct du_row *row)
{
	uint64_t stored = row->referenced;
	uint64_t shared = stored - MIN(stored, row->unique);
	json_t *json = json_pack(
	        "{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "name",
	        name_escape(row->name), "number", (json_int_t)row->number,
	        "unique", (json_int_t)row->unique, "shared", (json_int_t)shared,
	        "referenced", (json_int_t)stored, "bytes",
	        (json_int_t)row->bytes, "inodes", (json_int_t)row->inodes,
	        "ratio",
	        stored ? json_real((double)row->bytes / (double)stored)
	               : json_null());

	if (!json)
		return fail(c, -ENOMEM, "out of memory");
	c->ended = c->fn(c->arg, json);
	json_decref(json);
	return c->ended;
}

/* Send the rows of all states. */
static int du_all(struct du *du)
{
	struct list_position position = {.forks = true, .snapshots = true};
	struct control *c = du->c;
	struct du_row row;

	for (;;) {
		struct state *state;
		int err;

		store_lock(c->store);
		err = list_position_next(c, &position, &state);
		if (err == -ENOENT) {
			store_unlock(c->store);
			return 0;
		}
		if (err == 0)
			err = row_fill(du, state->number, &row);
		store_unlock(c->store);
		if (err == -ESTALE) /* deleted meanwhile */
			continue;
		if (err < 0)
			return fail(c, err, "cannot list the space: %s",
			            control_reason(err));
		err = row_send(c, &row);
		if (err)
			return err;
	}
}

/* Add a state to the set.  Lock held. */
static int du_add(struct du *du, const struct state *state)
{
	uint64_t *number = array_add(&du->numbers, &du->len, &du->capacity);

	if (!number)
		return -ENOMEM;
	*number = state->number;
	return space_add(du->set, state);
}

/* Add the snapshots of a fork, in the order of their names. */
static int du_add_snapshots(struct du *du, uint64_t fork)
{
	char after[NAME_LEN_MAX + 1] = "";
	struct state *state;
	int err = 0;

	while (!err) {
		store_lock(du->c->store);
		for (int i = 0; !err && i < PIECE; i++) {
			err = state_next(du->c->forest, fork, after, &state);
			if (!err) {
				memcpy(after, state->name, sizeof(after));
				err = du_add(du, state);
			}
		}
		store_unlock(du->c->store);
		if (!err)
			err = store_yield(du->c->store);
	}
	return err == -ENOENT ? 0 : err;
}

/* Find a state by its name in the request, and add it to the set. */
static int du_find(struct du *du, json_t *text)
{
	char name[STATE_NAME_MAX];
	struct state *state;
	uint64_t fork = 0;
	int err = name_unescape(text, name, sizeof(name));

	if (err < 0)
		return fail(du->c, -EINVAL, "\"names\" are not names");
	store_lock(du->c->store);
	err = state_resolve(du->c->forest, name, &state);
	if (!err)
		err = du_add(du, state);
	if (!err && du->recursive && !state->fork)
		fork = state->number;
	store_unlock(du->c->store);
	if (!err && fork)
		err = du_add_snapshots(du, fork);
	return err < 0 ? control_fail_state(du->c, "measure", name, err) : 0;
}

static int du_rows(struct du *du)
{
	struct control *c = du->c;
	struct du_row row;

	for (size_t i = 0; i < du->len; i++) {
		int err;

		store_lock(c->store);
		err = row_fill(du, du->numbers[i], &row);
		store_unlock(c->store);
		if (err < 0)
			return fail(c, err, "cannot measure a state: %s",
			            control_reason(err));
		err = row_send(c, &row);
		if (err)
			return err;
	}
	return 0;
}

/* Send the rows of the set, and answer with the bytes that it would free. */
static int du_named(struct du *du, json_t *names)
{
	struct control *c = du->c;
	uint64_t frees;
	int err = 0;

	/* Send no row if one of the names is wrong. */
	for (size_t i = 0; !err && i < json_array_size(names); i++)
		err = du_find(du, json_array_get(names, i));
	if (!err)
		err = du_rows(du);
	if (err)
		return err;
	store_lock(c->store);
	err = space_frees(du->set, &frees);
	store_unlock(c->store);
	if (err < 0)
		return fail(c, err, "cannot measure the states: %s",
		            control_reason(err));
	json_object_set_new(c->answer, "frees",
	                    json_integer((json_int_t)frees));
	return 0;
}

int control_du(struct control *c)
{
	_cleanup_(du_release) struct du du = {
	        .c = c, .recursive = control_flag(c, "recursive")};
	json_t *names = json_object_get(c->request, "names");
	/* The figures are those of the last commit. */
	int err = store_settle(c->store);

	/* A full store can be measured, too. */
	if (err < 0 && err != -ENOSPC && err != -EROFS)
		return fail(c, err, "cannot measure: %s", control_reason(err));
	err = space_create(c->forest, &du.one);
	if (!err)
		err = space_create(c->forest, &du.set);
	if (err < 0)
		return fail(c, err, "out of memory");
	if (names && !json_is_array(names))
		return fail(c, -EINVAL, "\"names\" is not a list");
	err = names ? du_named(&du, names) : du_all(&du);
	if (err)
		return err;
	store_lock(c->store);
	if (forest_backlog(c->forest))
		json_object_set_new(
		        c->answer, "warning",
		        json_string("deleted states are still being reclaimed; "
		                    "the figures are exact afterwards"));
	store_unlock(c->store);
	return 0;
}
