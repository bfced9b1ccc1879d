/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs of requests. */
#include "control_verb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>

#include "control_apply.h"
#include "control_batch.h"
#include "control_check.h"
#include "control_clone.h"
#include "control_diff.h"
#include "control_du.h"
#include "control_export.h"
#include "control_file.h"
#include "control_gc.h"
#include "control_get.h"
#include "control_import.h"
#include "control_join.h"
#include "control_list.h"
#include "control_log.h"
#include "control_manifest.h"
#include "control_search.h"
#include "control_restore.h"
#include "control_property.h"
#include "control_rm.h"
#include "control_state.h"
#include "control_swap.h"
#include "control_trash.h"
#include "control_tree.h"
#include "escaped_name.h"
#include "session.h"
#include "util.h"

json_t *control_error(int err, const char *format, ...)
{
	char message[4096];
	va_list ap;
	json_t *text, *error;

	va_start(ap, format);
	vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	text = name_escape(message);
	error = json_object();
	if (!text || !error || json_object_set_new(error, "error", text) < 0 ||
	    json_object_set_new(error, "errno", json_integer(-err)) < 0) {
		json_decref(error);
		return NULL;
	}
	return error;
}

int control_bytes(json_t *request, const char *key, char *ret_bytes,
                  size_t size)
{
	json_t *value = json_object_get(request, key);

	if (!value || json_is_null(value))
		return -ENOENT;
	return name_unescape(value, ret_bytes, size);
}

const char *control_reason(int err)
{
	switch (err) {
	case -EUCLEAN:
		return "the store is damaged";
	case -ENOSPC:
		return "the store or its disk is full";
	case -EROFS:
		return "the store was opened read-only";
	case -EDQUOT:
		return "the fork would exceed its quota";
	default:
		return strerror(-err);
	}
}

int control_set_error(struct control *c, int err, json_t *error)
{
	json_decref(c->error);
	c->error = error;
	return err;
}

int control_fail_state(struct control *c, const char *verb, const char *name,
                       int err)
{
	if (c->error)
		return err;
	switch (err) {
	case -ENOENT:
	case -ESTALE:
		return fail(c, -ENOENT,
		            "cannot %s '%s': there is no such state", verb,
		            name);
	case -EEXIST:
		return fail(c, err, "cannot %s '%s': the name is taken", verb,
		            name);
	case -EINVAL:
		return fail(c, err, "cannot %s '%s': not a possible name", verb,
		            name);
	case -EAGAIN:
		return fail(c, err,
		            "cannot %s '%s': finding it takes too long for a "
		            "batch; give the snapshot's name, or try again",
		            verb, name);
	default:
		return fail(c, err, "cannot %s '%s': %s", verb, name,
		            control_reason(err));
	}
}

int control_argument(struct control *c, const char *key, bool needed,
                     char name[STATE_NAME_MAX])
{
	int err = control_bytes(c->request, key, name, STATE_NAME_MAX);

	if (err == -ENOENT && !needed)
		return err;
	if (err == -ENOENT)
		return fail(c, -EINVAL, "the request has no \"%s\"", key);
	if (err < 0)
		return fail(c, err, "\"%s\" is not a name", key);
	return 0;
}

int control_name_at(struct control *c, const json_t *names, size_t i,
                    char name[STATE_NAME_MAX])
{
	int err = name_unescape(json_array_get(names, i), name, STATE_NAME_MAX);

	return err < 0 ? fail(c, err,
	                      "\"names\" has something that is not a "
	                      "name")
	               : 0;
}

bool control_flag(struct control *c, const char *key)
{
	return json_is_true(json_object_get(c->request, key));
}

int control_answer_add(struct control *c, const char *key, json_t *value)
{
	if (!value || json_object_set_new(c->answer, key, value) < 0)
		return fail(c, -ENOMEM, "out of memory");
	return 0;
}

json_t *control_full_name(struct control *c, struct state *state)
{
	char name[NAME_LEN_MAX * 2 + 2];

	state_full_name(c->forest, state, name);
	return name_escape(name);
}

int control_answer_state(struct control *c, json_t *name, uint64_t number)
{
	int err = control_answer_add(c, "name", name);

	return err < 0 ? err
	               : control_answer_add(c, "number",
	                                    json_integer((json_int_t)number));
}

int control_find_named(struct control *c, const char *verb, const char *name,
                       struct state **ret_state)
{
	char full[NAME_LEN_MAX * 2 + 2];
	struct state *other;
	int err = state_named(c->forest, name, ret_state);

	if (err != -ENOENT || state_at_position(c->forest, name, &other) < 0)
		return err;
	state_full_name(c->forest, other, full);
	return fail(c, err,
	            "cannot %s '%s': no snapshot is called that; by position "
	            "it is '%s' now (see --positional)",
	            verb, name, full);
}

/* ---- Verbs -------------------------------------------------------------- */

void control_announce(struct control *c, uint64_t fork, const char *name,
                      bool fresh)
{
	if (c->mounts)
		mounts_name_changed(c->mounts, fork, name, fresh);
}

/* Return true if the name is FORK~SUFFIX with a position as suffix. */
static bool asks_position(const char *name)
{
	const char *cut = strrchr(name, '~');

	return cut && name_is_position(cut + 1);
}

/*
 * Return the full name of a state given by position or by name.  If the text is
 * both the name of a snapshot and the position of another, refuse it as
 * ambiguous.
 */
static int verb_find(struct control *c)
{
	char name[STATE_NAME_MAX], full[NAME_LEN_MAX * 2 + 2];
	struct state *state, *other;
	int at, err = control_argument(c, "name", true, name);
	bool unclear = false;

	if (err < 0)
		return err;
	store_lock(c->store);
	/* Search by position first: that may release the lock. */
	at = state_at_position(c->forest, name, &other);
	err = state_named(c->forest, name, &state);
	if (err == 0 && asks_position(name)) {
		unclear = at < 0 || other != state;
	} else if (err == -ENOENT) {
		err = at;
		state = other;
	}
	if (err == 0)
		state_full_name(c->forest, state, full);
	store_unlock(c->store);
	if (unclear)
		return fail(c, -ENOTUNIQ,
		            "'%s' is the name of a snapshot that does not have "
		            "this position",
		            name);
	return err < 0 ? control_fail_state(c, "find", name, err)
	               : control_answer_add(c, "name", name_escape(full));
}

/*
 * Answer that there is no default state, and name the only fork if there is
 * just one.
 */
static int answer_no_default(struct control *c)
{
	struct state *fork;
	json_t *only = NULL;
	int err = control_answer_add(c, "name", json_null());

	if (err < 0)
		return err;
	store_lock(c->store);
	if (state_next(c->forest, 0, NULL, &fork) == 0) {
		only = control_full_name(c, fork);
		if (state_next(c->forest, 0, fork->name, &fork) != -ENOENT) {
			json_decref(only);
			only = NULL;
		}
	}
	store_unlock(c->store);
	return only ? control_answer_add(c, "only", only) : 0;
}

static int verb_default(struct control *c)
{
	char name[STATE_NAME_MAX] = "";
	bool none = control_flag(c, "none");
	struct state *state;
	json_t *full = NULL;
	uint64_t number = 0;
	int have = control_argument(c, "name", false, name);
	int err;

	if (have < 0 && have != -ENOENT)
		return have;
	store_lock(c->store);
	if (have == 0) {
		err = state_resolve(c->forest, name, &state);
		if (err == 0)
			err = state_set_default(c->forest, state);
	} else {
		err = none ? state_set_default(c->forest, NULL) : 0;
		if (err == 0)
			err = state_default(c->forest, &state);
	}
	if (err == 0) {
		full = control_full_name(c, state);
		number = state->number;
	}
	store_unlock(c->store);
	if (err < 0 && have == 0)
		return control_fail_state(c, "make the default", name, err);
	if (err == -ENOENT)
		return answer_no_default(c);
	if (err < 0)
		return fail(c, err, "cannot look up the default state: %s",
		            control_reason(err));
	return control_answer_state(c, full, number);
}

static int verb_sync(struct control *c)
{
	int err = store_settle(c->store);

	return err < 0 ? fail(c, err, "cannot sync: %s", control_reason(err))
	               : 0;
}

static int verb_resize(struct control *c)
{
	json_t *size = json_object_get(c->request, "size");
	json_int_t bytes = json_integer_value(size);
	int err;

	if (!json_is_integer(size) || bytes < 0)
		return fail(c, -EINVAL, "\"size\" is not a number of bytes");
	err = store_resize(c->store, (uint64_t)bytes);
	if (err == -EINVAL)
		return fail(c, err, "cannot resize: the size is at least 1M");
	return err < 0 ? fail(c, err, "cannot resize: %s", control_reason(err))
	               : 0;
}

static int verb_check(struct control *c)
{
	int err = control_check(c->store, c->request, c->fn, c->arg, c->answer);

	if (err == -ECANCELED || err == -EPIPE)
		c->ended = err;
	return err < 0 && !c->ended
	               ? fail(c, err, "cannot check: %s", control_reason(err))
	               : err;
}

static const struct {
	const char *name;
	int (*run)(struct control *c);
} verbs[] = {
        {"fork", control_fork},      {"snap", control_snap},
        {"list", control_list},      {"show", control_show},
        {"rename", control_rename},  {"rm", control_rm},
        {"default", verb_default},   {"sync", verb_sync},
        {"stat", control_stat},      {"check", verb_check},
        {"resize", verb_resize},     {"find", verb_find},
        {"swap", control_swap},      {"clone", control_clone},
        {"join", control_join},      {"restore", control_restore},
        {"du", control_du},          {"lineage", control_lineage},
        {"diff", control_diff},      {"cat", control_cat},
        {"ls", control_ls},          {"manifest", control_manifest},
        {"set", control_property},   {"get", control_get},
        {"unset", control_property}, {"hold", control_property},
        {"holds", control_holds},    {"release", control_property},
        {"log", control_log},        {"search", control_search},
        {"gc", control_gc},          {"undelete", control_undelete},
        {"trash", control_trash},    {"batch", control_batch},
        {"apply", control_apply},    {"import", control_import},
        {"export", control_export},
};

static int run(struct control *c)
{
	const char *verb =
	        json_string_value(json_object_get(c->request, "verb"));

	if (!verb)
		return fail(c, -EINVAL, "the request has no \"verb\"");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(verb, verbs[i].name) == 0)
			return verbs[i].run(c);
	}
	return fail(c, -EOPNOTSUPP, "this version does not have the verb '%s'",
	            verb);
}

int control_serve(struct fs *fs, struct mounts *mounts,
                  const struct fs_cred *cred, json_t *request, int fd,
                  control_row_fn *fn, void *arg, json_t **ret_answer)
{
	struct control c = {
	        .fs = fs,
	        .forest = fs_forest(fs),
	        .store = forest_store(fs_forest(fs)),
	        .mounts = mounts,
	        .cred = *cred,
	        .request = request,
	        .fd = fd,
	        .fn = fn,
	        .arg = arg,
	        .answer = json_object(),
	};
	json_t *answer;
	int err = c.answer ? run(&c) : -ENOMEM;

	if (err == 0 && json_object_set_new(c.answer, "ok", json_true()) < 0)
		err = -ENOMEM;
	answer = err == 0 ? steal(&c.answer) : steal(&c.error);
	json_decref(c.answer);
	json_decref(c.error);
	if (c.ended) {
		json_decref(answer);
		return c.ended < 0 ? c.ended : -ECANCELED;
	}
	if (!answer)
		return -ENOMEM;
	*ret_answer = answer;
	return 0;
}

int control_run(struct fs *fs, json_t *request, control_row_fn *fn, void *arg,
                json_t **ret_answer)
{
	const struct fs_cred cred = {geteuid(), getegid(), 0};

	return control_serve(fs, NULL, &cred, request, -1, fn, arg, ret_answer);
}
