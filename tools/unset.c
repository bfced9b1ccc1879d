/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice unset: remove a property of states. */
#include "change_states.h"

static int run(const struct command *self, int argc, char **argv)
{
	return change_states_run(self, "key", argc, argv);
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
