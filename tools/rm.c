/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice rm: delete states. */
#include <limits.h>
#include <stdlib.h>

#include "store_access.h"
#include "command.h"
#include "target.h"
#include "util.h"

struct rm {
	bool recursive;
	bool positional;
	bool now;
};

/*
 * Replace positions with names before anything is deleted, because each
 * deletion changes the positions of others.  Drop the arguments that fail.
 */
static int locate(struct store_access *access, char **states)
{
	char **kept = states;
	int code = EXIT_DONE;

	for (; *states; states++) {
		int r = store_access_find_name(access, states);

		code = MAX(code, r);
		if (r)
			free(*states);
		else
			*kept++ = *states;
	}
	*kept = NULL;
	return code;
}

/* Delete all that can be deleted.  Return the worst of the exit codes. */
static int rm_states(const struct rm *rm, const char *store, char **states)
{
	struct store_access access;
	int code, closed;

	code = store_access_open(&access, store, false);
	if (code)
		return code;
	if (rm->positional)
		code = locate(&access, states);
	for (; *states; states++) {
		json_t *request = request_new("rm", "name", *states, NULL);
		int r;

		if (request && rm->recursive)
			json_object_set_new(request, "recursive", json_true());
		if (request && rm->now)
			json_object_set_new(request, "now", json_true());
		r = store_access_call(&access, request, NULL, NULL, NULL);
		code = MAX(code, r);
	}
	closed = store_access_close(&access);
	return MAX(code, closed);
}

static void free_strings(char ***strings)
{
	for (char **s = *strings; s && *s; s++)
		free(*s);
	free(*strings);
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_(free_strings) char **states = NULL;
	const char *store = NULL;
	struct rm rm = {0};
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"recursive", 'r', .flag = &rm.recursive},
	        {"positional", .flag = &rm.positional},
	        {"now", .flag = &rm.now},
	        {0},
	};

	if (!command_parse(self, options, 1, INT_MAX, &argc, &argv, &r))
		return r;
	states = calloc((size_t)argc + 1, sizeof(*states));
	if (!states) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	r = target_init(&target, store);
	target.careful = true;
	for (int i = 0; !r && i < argc; i++)
		r = target_state(&target, argv[i], true, &states[i]);
	if (!r)
		r = target_store(&target);
	return r ? r : rm_states(&rm, target.store, states);
}

const struct command command_rm = {
        .name = "rm",
        .args = "[-s STORE] [-r] [--now] [--positional] STATE...",
        .summary = "Delete states, empty or not",
        .help = "The name is free at once; space that no other state uses is "
                "freed in the\n"
                "background.  Forks and snapshots made from the state stay.  "
                "The default\n"
                "state cannot be deleted.\n"
                "\n"
                "  -r, --recursive    delete a fork's snapshots, too\n"
                "      --now          delete for good, without the trash\n"
                "      --positional   accept FORK~N and FORK~@TIME, too; each "
                "deletion\n"
                "                     changes the snapshots that they mean\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
