/* SPDX-License-Identifier: GPL-2.0-or-later */
/* coppice default: the fork that new names grow from. */
#include <stdio.h>
#include <string.h>

#include "client.h"
#include "command.h"
#include "place.h"
#include "row.h"
#include "util.h"

static const struct field fields[] = {
        {"name", "Default", FIELD_NAME, 0},
        {0},
};

static int run(const struct command *self, int argc, char **argv)
{
	enum { OPTION_JSON = 256 };
	static const struct option options[] = {
	        STORE_OPTION,
	        {"json", no_argument, NULL, OPTION_JSON},
	        HELP_OPTION,
	        {0},
	};
	_cleanup_(place_release) struct place place = {0};
	_cleanup_free_ char *state = NULL, *name = NULL;
	struct printer printer = {.fields = fields};
	json_auto_t *answer = NULL;
	const char *store = NULL;
	int c, r;

	while ((c = getopt_long(argc, argv, "s:h", options, NULL)) != -1) {
		switch (c) {
		case 's':
			store = optarg;
			break;
		case OPTION_JSON:
			printer.json = true;
			break;
		default:
			return command_option(self, c);
		}
	}
	if (argc - optind > 1)
		return command_usage(self, NULL);
	r = place_init(&place, store);
	if (!r && optind < argc)
		r = place_state(&place, argv[optind], true, &state);
	if (!r)
		r = place_store(&place);
	if (!r)
		r = client_do(place.store, !state,
		              request_new("default", "name", state, NULL), NULL,
		              NULL, &answer);
	if (r || state)
		return r;
	if (printer.json) {
		printer_object(&printer, answer);
		return finish_output(EXIT_DONE);
	}
	r = answer_name(answer, &name);
	if (!r)
		puts(name);
	return finish_output(r);
}

const struct command command_default = {
        .name = "default",
        .args = "[-s STORE] [--json] [STATE]",
        .summary = "Print or set the state that new names fork",
        .help = "`mkdir MNT/new` and `coppice fork new` fork the default "
                "state, which is\n"
                "main until another is set.\n"
                "\n"
                "      --json         print it as an object\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
