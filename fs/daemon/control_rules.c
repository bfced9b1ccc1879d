/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The argument "rules". */
#include "control_rules.h"

#include "escaped_name.h"

int control_rules(struct control *c, struct path_filter *filter)
{
	json_t *rules = json_object_get(c->request, "rules"), *rule;
	char text[TREE_PATH_SIZE];
	size_t i;
	int err;

	json_array_foreach(rules, i, rule)
	{
		err = name_unescape(rule, text, sizeof(text));
		if (!err)
			err = path_filter_add(filter, text);
		if (err)
			return fail(c, err, "a rule cannot be read: %s",
			            control_reason(err));
	}
	return 0;
}
