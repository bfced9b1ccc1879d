/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice rename: rename a state. */
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
	_cleanup_(target_release) struct target target = {0};
	_cleanup_free_ char *state = NULL;
	const char *store = NULL;
	bool positional = false;
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"positional", .flag = &positional},
	        {0},
	};

	if (!command_parse(self, options, 2, 2, &argc, &argv, &r))
		return r;
	r = target_init(&target, store);
	target.careful = true;
	if (!r)
		r = target_state(&target, argv[0], true, &state);
	if (!r)
		r = target_store(&target);
	return r ? r : rename_state(target.store, &state, argv[1], positional);
}

const struct command command_rename = {
        .name = "rename",
        .args = "[-s STORE] [--positional] STATE NEW",
        .summary = "Rename a state",
        .help = "NEW is the new name; for a snapshot, without its fork's name. "
                " Forks and\n"
                "snapshots that were made from the state keep their names.\n"
                "\n"
                "      --positional   accept FORK~N and FORK~@TIME, too\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
