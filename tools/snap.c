/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice snap: make a snapshot of a fork. */
#include <stdio.h>
#include <string.h>

#include "store_access.h"
#include "command.h"
#include "property_options.h"
#include "target.h"
#include "util.h"

/*
 * Cut off and return the NAME of FORK~NAME, FORK/.snap/NAME or .snap/NAME.
 * NULL: the argument is only a fork.  In 'main~monday@redo' the '~' belongs to
 * the fork's name.
 */
static char *cut_name(char *arg)
{
	char *at = strstr(arg, "/.snap/");

	if (!strncmp(arg, ".snap/", 6)) {
		arg[1] = '\0';
		return arg + 6;
	}
	if (at) {
		*at = '\0';
		return at + 7;
	}
	at = strrchr(arg, '~');
	if (!at || strchr(at, '@') || strchr(at, '/'))
		return NULL;
	*at = '\0';
	return at + 1;
}

/*
 * Return the fork to snapshot if none is given: the default state, or else the
 * fork of the current directory, or else the only fork.  Call target_store()
 * before.
 */
static int default_fork(struct target *target, char **ret_name)
{
	json_auto_t *answer = NULL;
	int r = store_request(target->store, true, request_new("default", NULL),
	                      NULL, NULL, &answer);

	if (r)
		return r;
	if (!json_is_null(json_object_get(answer, "name")))
		return answer_name(answer, "name", ret_name);
	r = target_here(target, ret_name);
	if (r || *ret_name)
		return r;
	if (json_object_get(answer, "only"))
		return answer_name(answer, "only", ret_name);
	complain("which fork? There is no default state");
	return EXIT_USAGE;
}

static int snap(const char *store_option, char *arg, const char *name,
                const struct option_list *set)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_free_ char *fork = NULL, *made = NULL;
	json_auto_t *answer = NULL;
	json_t *request;
	int r;

	r = target_init(&target, store_option);
	if (!r && arg)
		r = target_state(&target, arg, false, &fork);
	if (!r)
		r = target_store(&target);
	if (!r && !arg)
		r = default_fork(&target, &fork);
	if (r)
		return r;
	request = request_new("snap", "fork", fork, "name", name, NULL);
	property_options_add(set, request);
	r = store_request(target.store, false, request, NULL, NULL, &answer);
	if (r || name)
		return r;
	r = answer_name(answer, "name", &made);
	if (!r)
		puts(made);
	return finish_output(r);
}

static int run(const struct command *self, int argc, char **argv)
{
	const char *store = NULL, *name = NULL;
	struct option_list set = {0};
	char *arg = NULL;
	int code;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"set", 'p', .list = &set},
	        {0},
	};

	if (!command_parse(self, options, 0, 2, &argc, &argv, &code) ||
	    !property_options_check(self, &set, &code))
		return code;
	if (argc > 0)
		arg = argv[0];
	if (argc == 2)
		name = argv[1];
	else if (argc == 1)
		name = cut_name(arg);
	return snap(store, arg, name, &set);
}

const struct command command_snap = {
        .name = "snap",
        .args = "[-s STORE] [-p KEY=VALUE]... [FORK] [NAME]",
        .summary = "Make a snapshot of a fork",
        .help = "FORK is a fork's name or a path in it; by default the default "
                "state, else the\n"
                "fork that the current directory is in, else the only fork.  "
                "NAME is by default\n"
                "the time in UTC, as in 2026-11-20T12:00:00Z; then FORK~NAME "
                "is printed.  One\n"
                "argument can give both: FORK~NAME.\n"
                "\n"
                "  -p, --set=KEY=VALUE\n"
                "                     give the snapshot a property: see "
                "'coppice help set'\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
