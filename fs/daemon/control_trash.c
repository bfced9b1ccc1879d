/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_trash.h"

#include <errno.h>

#include "control_list.h"
#include "escaped_name.h"
#include "session.h"
#include "util.h"

/* ---- Listing ------------------------------------------------------------ */

struct row {
	struct state state; /* a copy */
	char name[NAME_LEN_MAX * 2 + 2];
	uint64_t frees, bytes, inodes;
};

/* Measure the next state.  Lock held; it may be released and taken again. */
static int row_fill(struct control *c, struct trash_walk *walk,
                    struct space *space, struct row *row)
{
	struct state *s;
	int err = trash_next(c->forest, walk, &s);

	if (err < 0)
		return err;
	row->state = *s;
	row->bytes = state_blocks(s) * 512;
	row->inodes = state_inodes(s);
	state_full_name(c->forest, s, row->name);
	space_clear(space);
	err = trash_measure(c->forest, space, row->state.number);
	return err < 0 ? err : space_frees(space, &row->frees);
}

static int row_send(struct control *c, const struct row *row)
{
	const struct state *s = &row->state;
	json_t *json = json_pack(
	        "{s:o, s:b, s:I, s:o, s:o, s:o, s:I, s:I, s:I, s:I}", "name",
	        name_escape(row->name), "snapshot", s->fork != 0, "number",
	        (json_int_t)s->number, "created", control_time(s->created),
	        "deleted", control_time(s->deleted), "expires",
	        control_time(s->due), "inodes", (json_int_t)row->inodes,
	        "bytes", (json_int_t)row->bytes, "frees",
	        (json_int_t)row->frees, "snapshots", (json_int_t)s->snapshots);

	if (!json)
		return fail(c, -ENOMEM, "out of memory");
	c->ended = c->fn(c->arg, json);
	json_decref(json);
	return c->ended;
}

static int trash_list(struct control *c, struct space *space)
{
	_cleanup_free_ struct row *row = malloc(sizeof(*row));
	struct trash_walk walk = {0};

	if (!row)
		return fail(c, -ENOMEM, "out of memory");
	for (;;) {
		int err;

		store_lock(c->store);
		err = row_fill(c, &walk, space, row);
		store_unlock(c->store);
		if (err == -ENOENT)
			return 0;
		if (err == -ESTALE) /* the state came back, or expired */
			continue;
		if (err < 0)
			return fail(c, err, "cannot list deleted states: %s",
			            control_reason(err));
		err = row_send(c, row);
		if (err)
			return err;
		store_yield(c->store);
	}
}

int control_trash(struct control *c)
{
	struct space *space;
	/* The figures are those of the last commit. */
	int err = store_settle(c->store);

	/* A full store can be measured, too. */
	if (err < 0 && err != -ENOSPC && err != -EROFS)
		return fail(c, err, "cannot measure: %s", control_reason(err));
	err = space_create(c->forest, &space);
	if (err < 0)
		return fail(c, err, "out of memory");
	err = trash_list(c, space);
	space_destroy(space);
	return err;
}

/* ---- Undeleting --------------------------------------------------------- */

/* The requested state, and the one that came back. */
struct undelete {
	char name[STATE_NAME_MAX]; /* as requested */
	char as[STATE_NAME_MAX];   /* the new name; "": keep the name */
	uint64_t number;           /* as requested, 0: by name; then result */
	struct state *state;
	uint64_t fork; /* of the state that came back; 0: a fork */
	char own[NAME_LEN_MAX + 1];
	char source[NAME_LEN_MAX * 2 + 2]; /* a snapshot without its fork */
	json_t *full;
};

static int undelete_read(struct control *c, struct undelete *u)
{
	json_t *number = json_object_get(c->request, "number");
	int err;

	if (number &&
	    (!json_is_integer(number) || json_integer_value(number) < 1))
		return fail(c, -EINVAL, "\"number\" is not a number");
	u->number = (uint64_t)json_integer_value(number);
	err = control_argument(c, "name", !number, u->name);
	if (err == -ENOENT) {
		snprintf(u->name, sizeof(u->name), "number %llu",
		         (unsigned long long)u->number);
		err = 0;
	}
	if (!err)
		err = control_argument(c, "as", false, u->as);
	return err == -ENOENT ? 0 : err;
}

/*
 * Bring the state back, or make a fork of a snapshot whose own fork is deleted.
 * Lock held.
 */
static int undelete_locked(struct control *c, struct undelete *u)
{
	const char *as = *u->as ? u->as : NULL;
	struct state *s, *fork;
	int err = u->number ? trash_get(c->forest, u->number, &s)
	                    : trash_named(c->forest, u->name, &s);

	if (err < 0)
		return err;
	if (s->fork && state_get(c->forest, s->fork, &fork)) {
		state_full_name(c->forest, s, u->source);
		err = as ? fs_state_fork(c->fs, s, as, 0, &c->cred, &s)
		         : -ENOTDIR;
	} else {
		err = fs_state_undelete(c->fs, s, as);
	}
	if (err < 0)
		return err;
	u->fork = s->fork;
	u->number = s->number;
	memcpy(u->own, s->name, sizeof(u->own));
	u->full = control_full_name(c, s);
	return 0;
}

static int undelete_fail(struct control *c, const struct undelete *u, int err)
{
	switch (err) {
	case -ENOENT:
		return fail(c, err,
		            "cannot undelete '%s': it is not in the trash (see "
		            "'coppice undelete --list')",
		            u->name);
	case -ENOTDIR:
		return fail(c, err,
		            "cannot undelete '%s': its fork is deleted; "
		            "undelete that, or make a fork of it with --as",
		            u->source);
	case -EEXIST:
		return fail(c, err,
		            "cannot undelete '%s': the name%s%s%s is taken "
		            "(see --as)",
		            u->name, *u->as ? " '" : "", u->as,
		            *u->as ? "'" : "");
	case -EINVAL:
	case -ENAMETOOLONG:
		return fail(c, err,
		            "cannot undelete '%s': '%s' is not a possible name",
		            u->name, u->as);
	default:
		return control_fail_state(c, "undelete", u->name, err);
	}
}

int control_undelete(struct control *c)
{
	_cleanup_free_ struct undelete *u = calloc(1, sizeof(*u));
	int err;

	if (!u)
		return fail(c, -ENOMEM, "out of memory");
	err = undelete_read(c, u);
	if (err < 0)
		return err;
	err = store_throttle(c->store, false);
	if (err < 0)
		return control_fail_state(c, "undelete", u->name, err);
	store_lock(c->store);
	err = undelete_locked(c, u);
	store_unlock(c->store);
	if (err < 0)
		return undelete_fail(c, u, err);
	control_announce(c, u->fork, u->own, true);
	return control_answer_state(c, u->full, u->number);
}
