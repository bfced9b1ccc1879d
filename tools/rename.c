/* SPDX-License-Identifier: GPL-2.0-or-later */
/* coppice rename: another name for a state. */
#include "client.h"
#include "command.h"
#include "place.h"
#include "util.h"

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
	        STORE_OPTION,
	        HELP_OPTION,
	        {0},
	};
	_cleanup_(place_release) struct place place = {0};
	_cleanup_free_ char *state = NULL;
	const char *store = NULL;
	int c, r;

	while ((c = getopt_long(argc, argv, "s:h", options, NULL)) != -1) {
		if (c != 's')
			return command_option(self, c);
		store = optarg;
	}
	if (argc - optind != 2)
		return command_usage(self, NULL);
	r = place_init(&place, store);
	if (!r)
		r = place_state(&place, argv[optind], true, &state);
	if (!r)
		r = place_store(&place);
	if (r)
		return r;
	return client_do(place.store, false,
	                 request_new("rename", "name", state, "to",
	                             argv[optind + 1], NULL),
	                 NULL, NULL, NULL);
}

const struct command command_rename = {
        .name = "rename",
        .args = "[-s STORE] STATE NEW",
        .summary = "Give a state another name",
        .help = "NEW is the new name alone: of a snapshot without its fork's "
                "name.\n"
                "Forks and snapshots made from the state stay what they are.\n"
                "\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
