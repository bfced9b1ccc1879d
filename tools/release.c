/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice release: remove a tag that protects states from deletion. */
#include "change_states.h"

static int run(const struct command *self, int argc, char **argv)
{
	return change_states_run(self, "tag", argc, argv);
}

const struct command command_release = {
        .name = "release",
        .args = "[-s STORE] TAG STATE...",
        .summary = "Remove a tag that protects states from deletion",
        .help = "A state without tags can be deleted again.\n"
                "\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
