/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice hold: protect states from deletion. */
#include "change_states.h"

static int run(const struct command *self, int argc, char **argv)
{
	return change_states_run(self, "tag", argc, argv);
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
