/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice find: find files by name in many states. */
#include <errno.h>
#include <stdio.h>

#include "store_access.h"
#include "command.h"
#include "escaped_name.h"
#include "path_text.h"
#include "row.h"
#include "size.h"
#include "target.h"
#include "util.h"

enum { STATES_MAX = 100000 };

static const struct field fields[] = {
        {"path", "", FIELD_NAME, 0},          {"type", "", FIELD_NAME, 0},
        {"inode", "", FIELD_COUNT, 0},        {"size", "", FIELD_SIZE, 0},
        {"modified", "", FIELD_TIME, 0},      {"first", "", FIELD_NAME, 0},
        {"first_created", "", FIELD_TIME, 0}, {"last", "", FIELD_NAME, 0},
        {"last_created", "", FIELD_TIME, 0},  {0},
};

static void line_print(const json_t *row)
{
	const json_t *size = json_object_get(row, "size");
	const json_t *first = json_object_get(row, "first");
	const json_t *last = json_object_get(row, "last");
	char text[PATH_TEXT_MAX], bytes[SIZE_TEXT_MAX] = "-";

	if (json_is_integer(size))
		size_format((uint64_t)json_integer_value(size), bytes);
	printf("%6s  %.19sZ  %s", bytes, row_text(row, "modified"),
	       path_text(json_object_get(row, "path"), false, text));
	printf("  %s", path_text(first, false, text));
	if (!json_equal(first, last))
		printf(" .. %s", path_text(last, false, text));
	putchar('\n');
}

static int on_row(void *arg, json_t *row)
{
	struct printer *printer = arg;

	if (printer->json)
		printer_row(printer, row);
	else
		line_print(row);
	return ferror(stdout) ? -EPIPE : 0;
}

/* Add the states of the arguments to the request. */
static int states_add(struct target *target, json_t *request, int argc,
                      char **argv)
{
	json_t *states = json_array();
	int r = states ? 0 : EXIT_FAILED;

	for (int i = 0; !r && i < argc; i++) {
		_cleanup_free_ char *state = NULL;

		r = target_state(target, argv[i], false, &state);
		if (!r)
			json_array_append_new(states, name_escape(state));
	}
	if (states)
		json_object_set_new(request, "states", states);
	return r;
}

static int find(struct printer *printer, const char *store, int argc,
                char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	json_auto_t *request = request_new("search", "pattern", argv[0], NULL);
	int r = target_init(&target, store);

	if (!request) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	if (!r)
		r = states_add(&target, request, argc - 1, argv + 1);
	if (!r)
		r = target_store(&target);
	if (r)
		return r;
	if (printer->json)
		printer_begin(printer);
	r = store_request(target.store, true, steal(&request), on_row, printer,
	                  NULL);
	if (printer->json)
		printer_end(printer);
	return finish_output(r);
}

static int run(const struct command *self, int argc, char **argv)
{
	struct printer printer = {.fields = fields};
	const char *store = NULL;
	bool all = false;
	int code;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"all-states", .flag = &all},
	        {"json", .flag = &printer.json, .value = &printer.form},
	        {0},
	};

	if (!command_parse(self, options, 1, STATES_MAX, &argc, &argv, &code) ||
	    !printer_check(&printer, self, &code))
		return code;
	if (all && argc > 1)
		return command_usage(self, "--all-states goes without STATE");
	return find(&printer, store, argc, argv);
}

const struct command command_find = {
        .name = "find",
        .args = "[-s STORE] [--json[=lines]] GLOB|/REGEX/\n"
                "               [--all-states | STATE...]",
        .summary = "Find files by name in many states",
        .help = "Prints a line for each version of each file that matches: "
                "size, modification\n"
                "time, path, and the first and the last state that have it.  A "
                "GLOB without a\n"
                "slash is compared with the last component of a path, one with "
                "a slash with the\n"
                "path.  An extended REGEX is searched for in the path.  "
                "Without STATE, all states\n"
                "are searched.\n"
                "\n"
                "      --all-states   search all states, as without STATE\n"
                "      --json[=lines] an array of objects, one a line; or only "
                "objects\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
