/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice fork: a new fork of a state. */
#include "store_access.h"
#include "command.h"
#include "property_options.h"
#include "target.h"
#include "util.h"

/*
 * Make the request.  Without a source the fork may be a new tree, whose root
 * gets the mode of a new directory.
 */
static json_t *fork_request(const char *source, const char *name,
                            const struct option_list *set)
{
	json_t *request =
	        request_new("fork", "source", source, "name", name, NULL);

	if (request && !source)
		json_object_set_new(request, "mode",
		                    json_integer(directory_mode()));
	property_options_add(set, request);
	return request;
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_free_ char *source = NULL, *name = NULL;
	const char *store = NULL;
	struct option_list set = {0};
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"set", 'p', .list = &set},
	        {0},
	};

	if (!command_parse(self, options, 1, 2, &argc, &argv, &r) ||
	    !property_options_check(self, &set, &r))
		return r;
	r = target_init(&target, store);
	if (!r && argc == 2)
		r = target_state(&target, argv[0], false, &source);
	if (!r)
		r = target_new_fork(&target, argv[argc - 1], &name);
	if (!r)
		r = target_store(&target);
	if (r)
		return r;
	return store_request(target.store, false,
	                     fork_request(source, name, &set), NULL, NULL,
	                     NULL);
}

const struct command command_fork = {
        .name = "fork",
        .args = "[-s STORE] [-p KEY=VALUE]... [SOURCE] NAME",
        .summary = "Make a fork of a state, or a new, empty tree",
        .help = "SOURCE is a fork or a snapshot, by name or by a path in it.  "
                "Without it,\n"
                "the new name determines it, as with mkdir: it is the longest "
                "part before an\n"
                "'@' that is a state's name.  A name without '@' makes a new, "
                "empty tree, or\n"
                "a fork of the default state if there is one.\n"
                "\n"
                "  -p, --set=KEY=VALUE\n"
                "                     give the fork a property: see 'coppice "
                "help set'\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
