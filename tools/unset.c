/* SPDX-License-Identifier: GPL-2.0-or-later */
/* coppice unset: remove a property of states. */
#include <limits.h>

#include "change_states.h"
#include "util.h"

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(named_states_release) struct named_states states = {0};
	const char *store = NULL;
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {0},
	};

	if (!command_parse(self, options, 2, INT_MAX, &argc, &argv, &r))
		return r;
	r = named_states_init(&states, store, true, argc - 1, argv + 1);
	return r ? r
	         : change_states(&states,
	                         request_new("unset", "key", argv[0], NULL));
}

const struct command command_unset = {
        .name = "unset",
        .args = "[-s STORE] KEY STATE...",
        .summary = "Remove a property of states",
        .help = "A snapshot without the property has the one of its fork, if "
                "the key has a\n"
                "colon in it.\n"
                "\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
