/* SPDX-License-Identifier: GPL-2.0-or-later */
/* coppice fork: a new fork of a state. */
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
	_cleanup_free_ char *source = NULL, *name = NULL;
	const char *store = NULL;
	int c, r;

	while ((c = getopt_long(argc, argv, "s:h", options, NULL)) != -1) {
		if (c != 's')
			return command_option(self, c);
		store = optarg;
	}
	argc -= optind;
	argv += optind;
	if (argc < 1 || argc > 2)
		return command_usage(self, NULL);
	r = place_init(&place, store);
	if (!r && argc == 2)
		r = place_state(&place, argv[0], false, &source);
	if (!r)
		r = place_new_fork(&place, argv[argc - 1], &name);
	if (!r)
		r = place_store(&place);
	if (r)
		return r;
	return client_do(
	        place.store, false,
	        request_new("fork", "source", source, "name", name, NULL), NULL,
	        NULL, NULL);
}

const struct command command_fork = {
        .name = "fork",
        .args = "[-s STORE] [SOURCE] NAME",
        .summary = "Make a new fork of a state",
        .help = "SOURCE is a fork or a snapshot, by name or by a path in it.  "
                "Without it\n"
                "the new name tells, as with mkdir: the longest part in front "
                "of an '@'\n"
                "that is a state's name, or the default state if there is no "
                "'@'.\n"
                "\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
