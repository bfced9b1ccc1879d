/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice sync: make all changes durable. */
#include "store_access.h"
#include "command.h"
#include "target.h"
#include "util.h"

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	const char *store = NULL;
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {0},
	};

	if (!command_parse(self, options, 0, 1, &argc, &argv, &r))
		return r;
	r = target_init(&target, store);
	if (!r && argc)
		r = target_select(&target, argv[0]);
	if (!r)
		r = target_store(&target);
	if (r)
		return r;
	return store_request(target.store, false, request_new("sync", NULL),
	                     NULL, NULL, NULL);
}

const struct command command_sync = {
        .name = "sync",
        .args = "[-s STORE] [PATH]",
        .summary = "Write all changes to the disk",
        .help = "Covers the whole store, as fsync(2) of any file in it does; "
                "sync(1) does\n"
                "not reach FUSE file systems.  PATH is a path inside a "
                "mount.\n"
                "\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
