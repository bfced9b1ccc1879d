/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_list.h"

#include <errno.h>

#include "control_filter.h"
#include "escaped_name.h"
#include "session.h"
#include "util.h"

/* ---- Rows --------------------------------------------------------------- */

json_t *control_time(int64_t ns)
{
	char date[64], text[96];
	time_t sec = (time_t)(ns / 1000000000);
	long frac = (long)(ns % 1000000000);
	struct tm tm;

	if (frac < 0) {
		frac += 1000000000;
		sec--;
	}
	if (!gmtime_r(&sec, &tm) ||
	    !strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm))
		return json_null();
	snprintf(text, sizeof(text), "%s.%09ldZ", date, frac);
	return json_string(text);
}

struct row {
	struct state_info info;
	char name[NAME_LEN_MAX * 2 + 2];
	json_t *details; /* other members of the row, or NULL */
};

static json_t *row_json(const struct row *row)
{
	const struct state_info *i = &row->info;
	json_t *json;

	json = json_pack(
	        "{s:o, s:o, s:b, s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:b, s:b, "
	        "s:I, s:I}",
	        "name", name_escape(row->name), "fork",
	        i->readonly ? name_escape(i->fork_name) : json_null(),
	        "snapshot", i->readonly, "number", (json_int_t)i->number,
	        "created", control_time(i->created), "origin",
	        *i->origin_name ? name_escape(i->origin_name) : json_null(),
	        "inodes", (json_int_t)i->inodes, "bytes", (json_int_t)i->bytes,
	        "exclusive", (json_int_t)i->exclusive, "snapshots",
	        (json_int_t)i->snapshots, "unchanged", i->unchanged, "default",
	        i->is_default, "version", (json_int_t)i->version, "parent",
	        (json_int_t)i->parent);
	if (json && row->details)
		json_object_update(json, row->details);
	return json;
}

/* Send the row and release it. */
static int send_row(struct control *c, struct row *row)
{
	json_t *json = row_json(row);

	json_decref(steal(&row->details));
	if (!json)
		return fail(c, -ENOMEM, "out of memory");
	c->ended = c->fn(c->arg, json);
	json_decref(json);
	return c->ended;
}

/* Return the joins into a state, the newest of each other state. */
static json_t *joined_json(struct state *state)
{
	struct join_record record = {0};
	json_t *array = json_array();

	while (!join_record_of(state, record.from, &record))
		json_array_append_new(
		        array, json_pack("{s:o, s:I, s:I, s:I, s:o}", "name",
		                         name_escape(record.name), "number",
		                         (json_int_t)record.from, "version",
		                         (json_int_t)record.version, "sequence",
		                         (json_int_t)record.seq, "time",
		                         control_time(record.time)));
	return array;
}

/*
 * Return the members of a row that are read from other records: the creator,
 * the description, whether a tag holds the state, the joins into it, and the
 * properties in the array "properties" of the request.  Lock held.
 */
static json_t *row_details(struct control *c, struct state *state)
{
	_cleanup_free_ struct property *p = malloc(sizeof(*p));
	json_t *keys = json_object_get(c->request, "properties"), *json;
	json_t *details = json_object();
	char key[PROPERTY_KEY_MAX + 1], tag[TAG_MAX + 1];
	size_t i;

	if (!p || !details)
		return details;
	json_object_set_new(details, "creator",
	                    property_get(state, "creator", p)
	                            ? json_null()
	                            : json_integer(atoll(p->value)));
	json_object_set_new(details, "description",
	                    property_get(state, "description", p)
	                            ? json_null()
	                            : name_escape(p->value));
	json_object_set_new(details, "held",
	                    json_boolean(!tag_next(state, "", tag, NULL)));
	json_object_set_new(details, "joined", joined_json(state));
	json_array_foreach(keys, i, json)
	{
		if (name_unescape(json, key, sizeof(key)) ||
		    json_object_get(details, key))
			continue;
		json_object_set_new(details, key,
		                    property_get(state, key, p)
		                            ? json_null()
		                            : name_escape(p->value));
	}
	return details;
}

/* Fill a row, which is all zero.  Lock held. */
static int row_fill(struct control *c, struct state *state, struct row *row)
{
	state_full_name(c->forest, state, row->name);
	if (json_object_get(c->request, "properties"))
		row->details = row_details(c, state);
	return state_info(c->forest, state, &row->info);
}

enum { ROWS = 64 }; /* collected in one hold of the lock */

int list_position_next(struct control *c, struct list_position *position,
                       struct state **ret_state)
{
	struct state *fork, *snapshot;
	int err;

	if (position->snapshots && position->in_fork &&
	    state_find(c->forest, 0, position->fork, &fork) == 0 &&
	    state_next(c->forest, fork->number, position->snapshot,
	               &snapshot) == 0) {
		memcpy(position->snapshot, snapshot->name,
		       sizeof(position->snapshot));
		*ret_state = snapshot;
		return 0;
	}
	if (!position->forks)
		return -ENOENT;
	err = state_next(c->forest, 0, position->fork, &fork);
	if (err < 0)
		return err;
	memcpy(position->fork, fork->name, sizeof(position->fork));
	position->snapshot[0] = 0;
	position->in_fork = true;
	*ret_state = fork;
	return 0;
}

/*
 * Read the next piece of the list into rows.  -ENOENT: the list has ended.
 */
static int list_piece(struct control *c, struct list_position *position,
                      const struct control_filter *filter, struct row *rows,
                      size_t *ret_count)
{
	struct state *state;
	size_t count = 0;
	int err = 0;

	store_lock(c->store);
	for (size_t i = 0; err == 0 && i < ROWS; i++) {
		err = list_position_next(c, position, &state);
		if (err < 0 || !control_filter_match(filter, state))
			continue;
		err = row_fill(c, state, &rows[count]);
		count += err == 0;
	}
	store_unlock(c->store);
	store_yield(c->store);
	*ret_count = count;
	return err;
}

static int list_from(struct control *c, struct list_position *position)
{
	_cleanup_free_ struct control_filter *filter = malloc(sizeof(*filter));
	_cleanup_free_ struct row *rows = calloc(ROWS, sizeof(*rows));
	size_t count;
	int err = 0, sent = 0;

	if (!rows || !filter)
		return fail(c, -ENOMEM, "out of memory");
	err = control_filter_init(filter, c);
	while (err == 0 && sent == 0) {
		err = list_piece(c, position, filter, rows, &count);
		for (size_t i = 0; i < count; i++) {
			if (sent == 0)
				sent = send_row(c, &rows[i]);
			json_decref(steal(&rows[i].details));
		}
	}
	if (sent || err == -ENOENT || c->error)
		return sent ? sent : err == -ENOENT ? 0 : err;
	return fail(c, err, "cannot list the states: %s", control_reason(err));
}

/* ---- Verbs -------------------------------------------------------------- */

int control_list(struct control *c)
{
	struct list_position position = {.forks = true,
	                                 .snapshots = control_flag(c, "all")};
	char name[STATE_NAME_MAX];
	struct state *fork;
	int err = control_argument(c, "fork", false, name);

	if (err == -ENOENT)
		return list_from(c, &position);
	if (err < 0)
		return err;
	store_lock(c->store);
	err = state_resolve(c->forest, name, &fork);
	if (err == 0 && fork->fork)
		err = -ENOTDIR;
	if (err == 0)
		memcpy(position.fork, fork->name, sizeof(position.fork));
	store_unlock(c->store);
	if (err == -ENOTDIR)
		return fail(c, -EINVAL,
		            "cannot list '%s': a snapshot has no snapshots",
		            name);
	if (err < 0)
		return control_fail_state(c, "list", name, err);
	position.forks = false;
	position.snapshots = position.in_fork = true;
	return list_from(c, &position);
}

int control_show(struct control *c)
{
	_cleanup_free_ struct row *row = calloc(1, sizeof(*row));
	char name[STATE_NAME_MAX];
	struct state *state;
	int err = control_argument(c, "name", true, name);

	if (err < 0)
		return err;
	if (!row)
		return fail(c, -ENOMEM, "out of memory");
	store_lock(c->store);
	err = state_resolve(c->forest, name, &state);
	if (err == 0)
		err = row_fill(c, state, row);
	store_unlock(c->store);
	return err < 0 ? control_fail_state(c, "show", name, err)
	               : send_row(c, row);
}

static int add_session(void *arg, struct session *session)
{
	json_t *mountpoint = name_escape(session->mountpoint);
	json_t *row = json_pack(
	        "{s:I, s:o?, s:s, s:o}", "id", (json_int_t)session->id,
	        "mountpoint", mountpoint, "device", session->device, "state",
	        session->state ? json_integer((json_int_t)session->state)
	                       : json_null());

	return json_array_append_new(arg, row);
}

int control_stat(struct control *c)
{
	json_t *sessions = json_array();
	struct store_stats s;
	uint64_t states, backlog;

	if (c->mounts && sessions)
		mounts_each(c->mounts, add_session, sessions);
	store_stats(c->store, &s);
	store_lock(c->store);
	states = forest_count(c->forest);
	backlog = forest_backlog(c->forest);
	store_unlock(c->store);
	json_decref(c->answer);
	c->answer = json_pack(
	        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
	        "s:o}",
	        "list_bytes", (json_int_t)s.list_bytes, "file_bytes",
	        (json_int_t)s.file_bytes, "free_bytes",
	        (json_int_t)s.free_bytes, "limit_bytes",
	        (json_int_t)s.limit_bytes, "avail_bytes",
	        (json_int_t)s.avail_bytes, "pending_bytes",
	        (json_int_t)s.pending_bytes, "memory_bytes",
	        (json_int_t)s.memory_bytes, "memory_limit",
	        (json_int_t)s.memory_limit, "commits", (json_int_t)s.commits,
	        "seq", (json_int_t)s.seq, "states", (json_int_t)states,
	        "backlog", (json_int_t)backlog, "sessions", sessions);
	return c->answer ? 0 : fail(c, -ENOMEM, "out of memory");
}
