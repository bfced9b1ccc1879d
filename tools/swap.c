/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice swap: exchange the names of two states. */
#include "store_access.h"
#include "command.h"
#include "target.h"
#include "util.h"

static int swap_states(const char *store, char **a, char **b, bool positional)
{
	struct store_access access;
	int r = store_access_open(&access, store, false), closed;

	if (r)
		return r;
	if (positional)
		r = store_access_find_name(&access, a);
	if (!r && positional)
		r = store_access_find_name(&access, b);
	if (!r)
		r = store_access_call(
		        &access,
		        request_new("swap", "name", *a, "with", *b, NULL), NULL,
		        NULL, NULL);
	closed = store_access_close(&access);
	return r ? r : closed;
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_free_ char *a = NULL, *b = NULL;
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
		r = target_state(&target, argv[0], true, &a);
	if (!r)
		r = target_state(&target, argv[1], true, &b);
	if (!r)
		r = target_store(&target);
	return r ? r : swap_states(target.store, &a, &b, positional);
}

const struct command command_swap = {
        .name = "swap",
        .args = "[-s STORE] [--positional] STATE OTHER",
        .summary = "Exchange the names of two states",
        .help = "Two forks, or two snapshots of one fork, exchange their names "
                "in one step.\n"
                "Files that are open stay open.\n"
                "\n"
                "      --positional   accept FORK~N and FORK~@TIME, too\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
