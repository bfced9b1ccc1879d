/* SPDX-License-Identifier: GPL-2.0-or-later */
/* coppice list: forks and their snapshots. */
#include <errno.h>
#include <stdio.h>

#include "store_access.h"
#include "command.h"
#include "target.h"
#include "row.h"
#include "state_row.h"
#include "util.h"

static const struct field names[] = {
        {"name", "NAME", FIELD_NAME, 0},
        {0},
};

static const struct field details[] = {
        {"created", "CREATED", FIELD_TIME, -20},
        {"inodes", "FILES", FIELD_COUNT, 10},
        {"bytes", "SIZE", FIELD_SIZE, 6},
        {"exclusive", "FREES", FIELD_SIZE, 6},
        {"snapshots", "SNAPS", FIELD_COUNT, 6},
        {"name", "NAME", FIELD_NAME, 0},
        {0},
};

static int print_row(void *arg, json_t *row)
{
	printer_row(arg, row);
	/* The reader of a pipe may close it early. */
	return ferror(stdout) ? -EPIPE : 0;
}

static int list(const char *store, const char *arg, struct printer *printer)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_free_ char *fork = NULL;
	json_t *request;
	int r;

	r = target_init(&target, store);
	if (!r && arg)
		r = target_list(&target, arg, &fork);
	if (!r)
		r = target_store(&target);
	if (r)
		return r;
	request = request_new("list", "fork", fork, NULL);
	/* Without a fork, list all of them with their snapshots. */
	if (request && !fork)
		json_object_set_new(request, "all", json_true());
	printer_begin(printer);
	r = store_request(target.store, true, request, print_row, printer,
	                  NULL);
	printer_end(printer);
	return finish_output(r);
}

static int run(const struct command *self, int argc, char **argv)
{
	struct printer printer = {.fields = names};
	const char *store = NULL;
	bool is_long = false;
	int code;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"long", 'l', .flag = &is_long},
	        {"json", .flag = &printer.json, .value = &printer.form},
	        {0},
	};

	if (!command_parse(self, options, 0, 1, &argc, &argv, &code) ||
	    !printer_check(&printer, self, &code))
		return code;
	if (is_long) {
		printer.fields = details;
		printer.header = true;
	}
	if (printer.json)
		printer.fields = state_fields;
	return list(store, argv[0], &printer);
}

const struct command command_list = {
        .name = "list",
        .args = "[-s STORE] [-l] [--json[=lines]] [FORK]",
        .summary = "List forks and their snapshots",
        .help = "In the order of the names, each fork followed by its "
                "snapshots as\n"
                "FORK~NAME; with FORK, a name or a path in a mount, its "
                "snapshots alone.\n"
                "\n"
                "  -l, --long         columns: time of creation, number of "
                "files, their\n"
                "                     size, the space that deleting it would "
                "free, and\n"
                "                     number of snapshots\n"
                "      --json[=lines] an array of objects, one a line, as of "
                "'show';\n"
                "                     or the objects alone\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
