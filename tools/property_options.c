/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "property_options.h"

#include <string.h>

#include "escaped_name.h"
#include "snapshot.h"
#include "util.h"

bool property_options_check(const struct command *self,
                            const struct option_list *options, int *ret_code)
{
	char key[PROPERTY_KEY_MAX + 1];

	for (int i = 0; i < options->len; i++) {
		size_t len = strcspn(options->at[i], "=");

		snprintf(key, sizeof(key), "%.*s", (int)MIN(len, sizeof(key)),
		         options->at[i]);
		if (options->at[i][len] && len < sizeof(key) &&
		    property_key_good(key))
			continue;
		*ret_code = command_usage(self, "'%s' is not KEY=VALUE",
		                          options->at[i]);
		return false;
	}
	return true;
}

void property_options_add(const struct option_list *options, json_t *request)
{
	json_t *set;

	if (!request || !options->len)
		return;
	set = json_object();
	for (int i = 0; i < options->len; i++) {
		const char *cut = strchr(options->at[i], '=');

		json_object_setn_new(set, options->at[i],
		                     (size_t)(cut - options->at[i]),
		                     name_escape(cut + 1));
	}
	json_object_set_new(request, "set", set);
}
