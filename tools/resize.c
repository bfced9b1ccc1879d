/* SPDX-License-Identifier: GPL-2.0-or-later */
/* coppice resize: what a store may grow to. */
#include <stdio.h>
#include <string.h>

#include "store_access.h"
#include "command.h"
#include "target.h"
#include "size.h"
#include "util.h"

static int run(const struct command *self, int argc, char **argv)
{
	static const struct option options[] = {
	        STORE_OPTION,
	        HELP_OPTION,
	        {0},
	};
	_cleanup_(target_release) struct target target = {0};
	const char *store = NULL;
	uint64_t size = 0;
	int c, r;

	while ((c = getopt_long(argc, argv, "s:h", options, NULL)) != -1) {
		switch (c) {
		case 's':
			store = optarg;
			break;
		default:
			return command_option(self, c);
		}
	}
	if (argc - optind != 1)
		return command_usage(self, NULL);
	if (strcmp(argv[optind], "max") &&
	    (size_parse(argv[optind], &size) || !size || size > INT64_MAX))
		return command_usage(self, "'%s' is not a size", argv[optind]);
	r = target_init(&target, store);
	if (!r)
		r = target_store(&target);
	if (!r)
		r = store_request(target.store, false,
		                  json_pack("{s:s, s:I}", "verb", "resize",
		                            "size", (json_int_t)size),
		                  NULL, NULL, NULL);
	return r;
}

const struct command command_resize = {
        .name = "resize",
        .args = "[-s STORE] SIZE|max",
        .summary = "Change the size that a store may grow to",
        .help = "With max, the disk is the limit.  A store that is larger "
                "already is full\n"
                "until enough in it is deleted; its file stays as large as it "
                "is.\n"
                "\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
