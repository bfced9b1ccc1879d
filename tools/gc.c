/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice gc: show the background work, and wait for its end. */
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "command.h"
#include "row.h"
#include "store_access.h"
#include "target.h"
#include "util.h"

enum { POLL_MS = 200 };

static const struct field fields[] = {
        {"backlog", "Backlog", FIELD_COUNT, 0},
        {"trash", "Trash", FIELD_COUNT, 0},
        {"free_bytes", "Free inside", FIELD_SIZE, 0},
        {"avail_bytes", "Available", FIELD_SIZE, 0},
        {0},
};

/*
 * Ask for the state of the work; with a flag that says what is to be done
 * first.  Return an exit code.
 */
static int ask(struct store_access *access, const char *flag,
               json_t **ret_answer)
{
	json_t *request = request_new("gc", NULL);

	if (request && flag)
		json_object_set_new(request, flag, json_true());
	return store_access_call(access, request, NULL, NULL, ret_answer);
}

/* Show how much is left, on one line of a terminal. */
static void show_progress(json_int_t left, bool *shown)
{
	if (!isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r%" JSON_INTEGER_FORMAT " to be freed\033[K", left);
	*shown = true;
}

/* Wait until nothing is left.  Each request is short: the mount can end. */
static int wait_for_end(struct store_access *access)
{
	bool shown = false;
	json_int_t left;
	int r;

	do {
		json_auto_t *answer = NULL;

		r = ask(access, NULL, &answer);
		left = json_integer_value(json_object_get(answer, "backlog"));
		if (r || !left)
			break;
		show_progress(left, &shown);
		poll(NULL, 0, POLL_MS);
	} while (true);
	if (shown)
		fputs("\r\033[K", stderr);
	return r;
}

static int gc(const char *store, bool trash, bool wait, struct printer *printer)
{
	json_auto_t *answer = NULL;
	struct store_access access;
	int r = store_access_open(&access, store, false), closed;

	if (r)
		return r;
	if (trash)
		r = ask(&access, "trash", NULL);
	if (!r && wait)
		r = wait_for_end(&access);
	if (!r)
		r = ask(&access, wait ? "drain" : NULL, &answer);
	closed = store_access_close(&access);
	if (!r)
		printer_object(printer, answer);
	return finish_output(MAX(r, closed));
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	struct printer printer = {.fields = fields};
	_cleanup_free_ char *state = NULL;
	const char *store = NULL;
	bool no_wait = false, trash = false;
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"no-wait", 'n', .flag = &no_wait},
	        {"trash", .flag = &trash},
	        {"json", .flag = &printer.json},
	        {0},
	};

	if (!command_parse(self, options, 0, 1, &argc, &argv, &r))
		return r;
	r = target_init(&target, store);
	/* The path only selects the store. */
	if (!r && argc)
		r = target_list(&target, argv[0], &state);
	if (!r)
		r = target_store(&target);
	return r ? r : gc(target.store, trash, !no_wait, &printer);
}

const struct command command_gc = {
        .name = "gc",
        .args = "[-s STORE] [--trash] [-n] [--json] [PATH]",
        .summary = "Wait until the space of deleted states is free",
        .help = "Space is freed in the background after a state is deleted.  "
                "Shows on a\n"
                "terminal how many deleted versions and snapshots are left, "
                "and at the end the\n"
                "space that is free.\n"
                "\n"
                "  -n, --no-wait      show what there is to do and do not "
                "wait\n"
                "      --trash        delete for good first what 'undelete' "
                "could bring back\n"
                "      --json         print an object\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
