/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice holds: list the tags that protect states from deletion. */
#include <limits.h>

#include "read_states.h"
#include "util.h"

static const struct field fields[] = {
        {"name", "NAME", FIELD_NAME, -24},
        {"tag", "TAG", FIELD_NAME, -16},
        {"created", "CREATED", FIELD_TIME, 0},
        {0},
};

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(named_states_release) struct named_states states = {0};
	struct printer printer = {.fields = fields, .header = true};
	const char *store = NULL;
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"json", .flag = &printer.json, .value = &printer.form},
	        {"script", 'H', .flag = &printer.tabs},
	        {0},
	};

	if (!command_parse(self, options, 0, INT_MAX, &argc, &argv, &r) ||
	    !printer_check(&printer, self, &r))
		return r;
	r = named_states_init(&states, store, false, argc, argv);
	return r ? r
	         : read_states(&states, request_new("holds", NULL), &printer);
}

const struct command command_holds = {
        .name = "holds",
        .args = "[-s STORE] [-H] [--json[=lines]] [STATE...]",
        .summary = "List the tags that protect states from deletion",
        .help = "Without a STATE, lists those of all states.\n"
                "\n"
                "  -H, --script       no titles; a tab between columns\n"
                "      --json[=lines] an array of objects, one a line; or only "
                "objects\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
