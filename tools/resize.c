/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice resize: change the size that a store may grow to. */
#include <stdio.h>
#include <string.h>

#include "store_access.h"
#include "command.h"
#include "target.h"
#include "size.h"
#include "util.h"

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	const char *store = NULL;
	uint64_t size = 0;
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {0},
	};

	if (!command_parse(self, options, 1, 1, &argc, &argv, &r))
		return r;
	if (strcmp(argv[0], "max") &&
	    (size_parse(argv[0], &size) || !size || size > INT64_MAX))
		return command_usage(self, "'%s' is not a size", argv[0]);
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
        .summary = "Change the size limit of a store",
        .help = "With max, the disk is the limit.  A store that is already "
                "larger counts as\n"
                "full until enough in it is deleted; its file does not "
                "shrink.\n"
                "\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
