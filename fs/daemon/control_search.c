/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_search.h"

#include <errno.h>
#include <fnmatch.h>
#include <regex.h>

#include "control_diff.h"
#include "control_list.h"
#include "escaped_name.h"
#include "util.h"

enum {
	PATTERN_MAX = 1024,
	STATES_MAX = 100000, /* that a request may name */
	PIECE = 64,          /* states found in one hold of the lock */
};

/* ---- Patterns ----------------------------------------------------------- */

struct pattern {
	bool is_regex;
	bool by_name; /* compare only the last component of a path */
	regex_t regex;
	char glob[PATTERN_MAX + 3];
};

static void pattern_release(struct pattern *p)
{
	if (p->is_regex)
		regfree(&p->regex);
}

static int pattern_get(struct control *c, struct pattern *p)
{
	char text[PATTERN_MAX], reason[200];
	int err = control_bytes(c->request, "pattern", text, sizeof(text));
	size_t len;

	if (err < 0)
		return fail(c, -EINVAL, "the pattern is missing or too long");
	len = strlen(text);
	if (!len)
		return fail(c, -EINVAL, "an empty pattern matches nothing");
	if (len > 2 && *text == '/' && text[len - 1] == '/') {
		text[len - 1] = 0;
		err = regcomp(&p->regex, text + 1, REG_EXTENDED | REG_NOSUB);
		if (!err) {
			p->is_regex = true;
			return 0;
		}
		regerror(err, &p->regex, reason, sizeof(reason));
		return fail(c, -EINVAL, "cannot search for '%s/': %s", text,
		            reason);
	}
	p->by_name = !strchr(text, '/');
	snprintf(p->glob, sizeof(p->glob), "%s%s",
	         p->by_name || *text == '/' || *text == '*' ? "" : "*/", text);
	return 0;
}

/* ---- Series ------------------------------------------------------------- */

/* A state of a series. */
struct member {
	uint64_t number;
	int64_t created;
	bool readonly;
	char *name;
};

struct searching {
	struct control *c;
	struct pattern pattern;
	struct member *members; /* the oldest first */
	size_t count, capacity;
	struct member base; /* the state before the series; number 0: none */
	struct state_hold before, now; /* the last two states searched */
	struct file_search *search;
};

static void members_clear(struct searching *m)
{
	for (size_t i = 0; i < m->count; i++)
		free(m->members[i].name);
	m->count = 0;
	m->base = (struct member){0};
}

static void searching_release(struct searching **at)
{
	struct searching *m = *at;

	if (!m)
		return;
	store_lock(m->c->store);
	hold_release(m->c->forest, &m->before);
	hold_release(m->c->forest, &m->now);
	store_unlock(m->c->store);
	file_search_destroy(m->search);
	members_clear(m);
	free(m->members);
	pattern_release(&m->pattern);
	free(m);
}

/* Lock held. */
static int member_add(struct searching *m, struct state *state)
{
	char name[NAME_LEN_MAX * 2 + 2];
	struct member *member;

	if (m->count == m->capacity) {
		size_t capacity = m->capacity ? 2 * m->capacity : 64;

		member = realloc(m->members, capacity * sizeof(*member));
		if (!member)
			return -ENOMEM;
		m->members = member;
		m->capacity = capacity;
	}
	state_full_name(m->c->forest, state, name);
	member = &m->members[m->count];
	*member = (struct member){.number = state->number,
	                          .created = state->created,
	                          .readonly = state->flags & STATE_READONLY,
	                          .name = strdup(name)};
	if (!member->name)
		return -ENOMEM;
	m->count++;
	return 0;
}

/* Get a state of the series again.  -ESTALE: it was deleted.  Lock held. */
static int member_state(struct searching *m, const struct member *member,
                        struct state **ret_state)
{
	int err = state_get(m->c->forest, member->number, ret_state);

	if (!err && (*ret_state)->created != member->created)
		err = -ESTALE;
	return err;
}

/*
 * Add the states before the last one as long as they are the fork's snapshots,
 * and set the base to the state before them.  -EAGAIN: there may be more.  Lock
 * held.
 */
static int members_add(struct searching *m, uint64_t fork)
{
	struct state *state, *before;
	int err = member_state(m, &m->members[m->count - 1], &state);

	for (int i = 0; !err; i++) {
		if (i == PIECE)
			return -EAGAIN;
		err = state_before(m->c->forest, state, &before);
		if (!err && before->fork != fork) {
			m->base.number = before->number;
			m->base.created = before->created;
			return 0;
		}
		if (!err)
			err = member_add(m, before);
		state = before;
	}
	return err == -ENOENT || err == -ESTALE ? 0 : err;
}

static void members_reverse(struct searching *m)
{
	for (size_t i = 0, k = m->count; i + 1 < k; i++) {
		struct member member = m->members[i];

		m->members[i] = m->members[--k];
		m->members[k] = member;
	}
}

/*
 * Make the series of the first fork after `name`, and set `name` to the fork's.
 * -ENOENT: there is no such fork.
 */
static int members_of_next_fork(struct searching *m,
                                char name[NAME_LEN_MAX + 1])
{
	struct store *store = m->c->store;
	struct state *fork;
	uint64_t number = 0;
	int err;

	members_clear(m);
	store_lock(store);
	err = state_next(m->c->forest, 0, name, &fork);
	if (!err) {
		memcpy(name, fork->name, NAME_LEN_MAX + 1);
		number = fork->number;
		err = member_add(m, fork);
	}
	store_unlock(store);
	if (err)
		return err;
	do {
		store_lock(store);
		err = members_add(m, number);
		store_unlock(store);
	} while (err == -EAGAIN && !store_yield(store));
	members_reverse(m);
	return err == -EAGAIN ? -EINTR : err;
}

static int compare(const void *a, const void *b)
{
	const struct member *x = a, *y = b;
	int64_t p = x->readonly ? x->created : INT64_MAX;
	int64_t q = y->readonly ? y->created : INT64_MAX;

	return p < q ? -1 : p > q;
}

/* Make the series of the states that the request names. */
static int members_named(struct searching *m, const json_t *names)
{
	char name[STATE_NAME_MAX];
	struct control *c = m->c;
	struct state *state;
	const json_t *value;
	size_t i;

	if (json_array_size(names) > STATES_MAX)
		return fail(c, -E2BIG, "there are more than %d states",
		            STATES_MAX);
	json_array_foreach(names, i, value)
	{
		int err = name_unescape(value, name, sizeof(name));

		if (err < 0)
			return fail(c, err,
			            "a name of \"states\" cannot be "
			            "read");
		store_lock(c->store);
		err = state_resolve(c->forest, name, &state);
		if (!err)
			err = member_add(m, state);
		store_unlock(c->store);
		if (err < 0)
			return control_fail_state(c, "search", name, err);
	}
	qsort(m->members, m->count, sizeof(*m->members), compare);
	return 0;
}

/* ---- Rows --------------------------------------------------------------- */

static bool match(void *arg, const char *text)
{
	const struct searching *m = arg;

	return m->pattern.is_regex
	               ? !regexec(&m->pattern.regex, text, 0, NULL, 0)
	               : !fnmatch(m->pattern.glob, text, 0);
}

static json_t *created(const struct member *member)
{
	return member->readonly ? control_time(member->created) : json_null();
}

static int on_row(void *arg, const struct file_search_row *row)
{
	struct searching *m = arg;
	const struct member *first = &m->members[row->first];
	const struct member *last = &m->members[row->last];
	json_t *json = json_pack(
	        "{s:o, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "path",
	        name_escape(row->path), "type", type_name(row->mode), "inode",
	        (json_int_t)row->ino, "size",
	        S_ISDIR(row->mode) ? json_null()
	                           : json_integer((json_int_t)row->size),
	        "modified",
	        control_time(row->mtime.sec * 1000000000 + row->mtime.nsec),
	        "first", name_escape(first->name), "first_created",
	        created(first), "last", name_escape(last->name), "last_created",
	        created(last));

	if (!json)
		return -ENOMEM;
	m->c->ended = m->c->fn(m->c->arg, json);
	json_decref(json);
	return m->c->ended;
}

/* ---- The verb ----------------------------------------------------------- */

/* Hold a state of the series.  -ESTALE: it was deleted. */
static int member_hold(struct searching *m, const struct member *member,
                       struct state_hold *ret_hold)
{
	struct control *c = m->c;
	struct state *state;
	int err = store_throttle(c->store, false);

	if (err < 0 && err != -EROFS)
		return err;
	store_lock(c->store);
	err = member_state(m, member, &state);
	if (!err)
		err = state_hold(state, ret_hold);
	store_unlock(c->store);
	return err;
}

static void move_on(struct searching *m)
{
	store_lock(m->c->store);
	hold_release(m->c->forest, &m->before);
	hold_move(m->c->forest, &m->now, &m->before);
	store_unlock(m->c->store);
}

/* Search the states of the series.  Skip those deleted meanwhile. */
static int series_step_all(struct searching *m)
{
	uint32_t live = 0;
	int err = 0;

	if (m->base.number)
		err = member_hold(m, &m->base, &m->before);
	if (err == -ESTALE)
		err = 0;
	for (size_t i = 0; !err && i < m->count; i++) {
		struct member member = m->members[i];

		err = member_hold(m, &member, &m->now);
		if (err == -ESTALE) {
			err = 0;
			continue;
		}
		if (err)
			return err;
		m->members[i] = m->members[live];
		m->members[live] = member;
		err = file_search_step(m->search,
		                       m->before.version ? hold_tree(&m->before)
		                                         : NULL,
		                       hold_tree(&m->now), live++);
		move_on(m);
		if (!err)
			err = store_yield(m->c->store);
	}
	if (!err && live)
		err = file_search_end(m->search, hold_tree(&m->before));
	return err;
}

static int series_search(struct searching *m)
{
	const struct file_search_options options = {
	        .match = match,
	        .by_name = m->pattern.by_name,
	        .row = on_row,
	        .arg = m,
	};
	int err = file_search_create(m->c->store, &options, &m->search);

	if (!err)
		err = series_step_all(m);
	file_search_destroy(m->search);
	m->search = NULL;
	store_lock(m->c->store);
	hold_release(m->c->forest, &m->before);
	hold_release(m->c->forest, &m->now);
	store_unlock(m->c->store);
	return err;
}

static int search_all(struct searching *m)
{
	char name[NAME_LEN_MAX + 1] = "";
	int err;

	while (!(err = members_of_next_fork(m, name))) {
		err = series_search(m);
		if (err)
			return err;
	}
	return err == -ENOENT ? 0 : err;
}

int control_search(struct control *c)
{
	_cleanup_(searching_release) struct searching *m =
	        calloc(1, sizeof(*m));
	const json_t *states = json_object_get(c->request, "states");
	int err;

	if (!m)
		return fail(c, -ENOMEM, "out of memory");
	m->c = c;
	err = pattern_get(c, &m->pattern);
	if (!err && json_array_size(states))
		err = members_named(m, states);
	if (err)
		return err;
	err = m->count ? series_search(m) : search_all(m);
	if (c->ended)
		return c->ended;
	return err < 0 ? fail(c, err, "cannot search: %s", control_reason(err))
	               : 0;
}
