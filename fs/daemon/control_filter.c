/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_filter.h"

#include <errno.h>

#include "escaped_name.h"
#include "util.h"

enum { CONDITION_MAX = PROPERTY_KEY_MAX + PROPERTY_VALUE_MAX + 2 };

static int64_t time_argument(struct control *c, const char *key, int64_t none)
{
	json_t *time = json_object_get(c->request, key);

	return json_is_integer(time) ? json_integer_value(time) : none;
}

int control_filter_init(struct control_filter *filter, struct control *c)
{
	char condition[CONDITION_MAX];
	json_t *json;
	size_t i;
	int err;

	filter->c = c;
	err = control_bytes(c->request, "grep", filter->text,
	                    sizeof(filter->text));
	if (err < 0 && err != -ENOENT)
		return fail(c, -EINVAL, "the text to look for is too long");
	filter->grep = err == 0;
	filter->unchanged = control_flag(c, "unchanged");
	filter->joined = control_flag(c, "joined");
	filter->where = json_object_get(c->request, "where");
	filter->since = time_argument(c, "since", INT64_MIN);
	filter->until = time_argument(c, "until", INT64_MAX);
	json_array_foreach(filter->where, i, json)
	{
		if (name_unescape(json, condition, sizeof(condition)) < 0)
			return fail(c, -EINVAL, "a condition is too long");
		condition[strcspn(condition, "=")] = 0;
		if (!property_key_good(condition))
			return fail(c, -EINVAL,
			            "'%s' is not the key of a property",
			            condition);
	}
	filter->any = filter->grep || filter->unchanged || filter->joined ||
	              filter->where || filter->since != INT64_MIN ||
	              filter->until != INT64_MAX;
	return 0;
}

static bool match_text(const struct control_filter *filter, struct state *state,
                       struct property *p)
{
	char name[NAME_LEN_MAX * 2 + 2];

	state_full_name(filter->c->forest, state, name);
	return strstr(name, filter->text) ||
	       (property_get(state, "description", p) == 0 &&
	        strstr(p->value, filter->text));
}

static bool match_where(const struct control_filter *filter,
                        struct state *state, struct property *p)
{
	char condition[CONDITION_MAX], *value;
	json_t *json;
	size_t i;

	json_array_foreach(filter->where, i, json)
	{
		if (name_unescape(json, condition, sizeof(condition)) < 0)
			return false;
		value = strchr(condition, '=');
		if (value)
			*value++ = 0;
		if (property_get(state, condition, p) < 0 ||
		    (value && strcmp(value, p->value) != 0))
			return false;
	}
	return true;
}

static bool match_unchanged(const struct control_filter *filter,
                            struct state *state)
{
	struct state_info info;

	return state_info(filter->c->forest, state, &info) == 0 &&
	       info.unchanged;
}

bool control_filter_match(const struct control_filter *filter,
                          struct state *state)
{
	_cleanup_free_ struct property *p = NULL;
	struct join_record record;

	if (!filter->any)
		return true;
	if (state->created < filter->since || state->created > filter->until)
		return false;
	if (filter->joined && join_record_of(state, 0, &record))
		return false;
	if (!filter->grep && !filter->where)
		return !filter->unchanged || match_unchanged(filter, state);
	p = malloc(sizeof(*p));
	return p && (!filter->grep || match_text(filter, state, p)) &&
	       match_where(filter, state, p) &&
	       (!filter->unchanged || match_unchanged(filter, state));
}
