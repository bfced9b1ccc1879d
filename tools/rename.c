/* SPDX-License-Identifier: GPL-2.0-or-later */
/* coppice rename: another name for a state. */
#include "store_access.h"
#include "command.h"
#include "target.h"
#include "util.h"

static int rename_state(const char *store, char **state, const char *to,
                        bool positional)
{
	struct store_access access;
	int r = store_access_open(&access, store, false), closed;

	if (r)
		return r;
	if (positional)
		r = store_access_find_name(&access, state);
	if (!r)
		r = store_access_call(
		        &access,
		        request_new("rename", "name", *state, "to", to, NULL),
		        NULL, NULL, NULL);
	closed = store_access_close(&access);
	return r ? r : closed;
}

static int run(const struct command *self, int argc, char **argv)
{
	enum { OPTION_POSITIONAL = 256 };
	static const struct option options[] = {
	        STORE_OPTION,
	        {"positional", no_argument, NULL, OPTION_POSITIONAL},
	        HELP_OPTION,
	        {0},
	};
	_cleanup_(target_release) struct target target = {0};
	_cleanup_free_ char *state = NULL;
	const char *store = NULL;
	bool positional = false;
	int c, r;

	while ((c = getopt_long(argc, argv, "s:h", options, NULL)) != -1) {
		switch (c) {
		case 's':
			store = optarg;
			break;
		case OPTION_POSITIONAL:
			positional = true;
			break;
		default:
			return command_option(self, c);
		}
	}
	if (argc - optind != 2)
		return command_usage(self, NULL);
	r = target_init(&target, store);
	target.careful = true;
	if (!r)
		r = target_state(&target, argv[optind], true, &state);
	if (!r)
		r = target_store(&target);
	return r ? r
	         : rename_state(target.store, &state, argv[optind + 1],
	                        positional);
}

const struct command command_rename = {
        .name = "rename",
        .args = "[-s STORE] [--positional] STATE NEW",
        .summary = "Give a state another name",
        .help = "NEW is the new name alone: of a snapshot without its fork's "
                "name.\n"
                "Forks and snapshots made from the state stay what they are.\n"
                "\n"
                "      --positional   take FORK~N and FORK~@TIME, which are "
                "refused else\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
