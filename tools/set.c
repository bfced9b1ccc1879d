/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice set: set a property of states. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "change_states.h"
#include "util.h"

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(named_states_release) struct named_states states = {0};
	_cleanup_free_ char *key = NULL;
	const char *store = NULL;
	char *value;
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {0},
	};

	if (!command_parse(self, options, 2, INT_MAX, &argc, &argv, &r))
		return r;
	key = strdup(argv[0]);
	value = key ? strchr(key, '=') : NULL;
	if (!value)
		return command_usage(self, "'%s' is not KEY=VALUE", argv[0]);
	*value++ = 0;
	r = named_states_init(&states, store, true, argc - 1, argv + 1);
	return r ? r
	         : change_states(&states, request_new("set", "key", key,
	                                              "value", value, NULL));
}

const struct command command_set = {
        .name = "set",
        .args = "[-s STORE] KEY=VALUE STATE...",
        .summary = "Set a property of states",
        .help = "A key with a colon in it, such as 'reason:' or "
                "'com.example:id', is your own;\n"
                "its value is any text of up to 4000 bytes.  The others "
                "are:\n"
                "\n"
                "  description        a text\n"
                "  quota              of a fork: the most that its files may "
                "take, as 10G\n"
                "  ttl                the time after which 'coppice prune "
                "--expired' deletes\n"
                "                     the state, as 90m, 36h, 7d or 4w\n"
                "\n"
                "Either all of the states get the property or, if something "
                "is wrong with\n"
                "one of them, none.\n"
                "\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
