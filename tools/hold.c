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
        .help = "A state with a tag cannot be deleted, nor can the fork of a "
                "snapshot with a tag.\n"
                "A state may have several tags.  'coppice release' removes a "
                "tag.\n"
                "\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
