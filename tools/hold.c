/* SPDX-License-Identifier: GPL-2.0-or-later */
/* coppice hold: protect states from deletion. */
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
	                         request_new("hold", "tag", argv[0], NULL));
}

const struct command command_hold = {
        .name = "hold",
        .args = "[-s STORE] TAG STATE...",
        .summary = "Protect states from deletion",
        .help = "A state cannot be deleted as long as it has a tag, nor can "
                "the fork of a\n"
                "snapshot with one.  A state may have several tags, each "
                "once.\n"
                "\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
