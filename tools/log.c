/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice log: the versions of a file. */
#include <errno.h>
#include <stdio.h>

#include "store_access.h"
#include "command.h"
#include "path_text.h"
#include "row.h"
#include "size.h"
#include "target.h"
#include "util.h"

static const struct field fields[] = {
        {"state", "", FIELD_NAME, 0},   {"last", "", FIELD_NAME, 0},
        {"created", "", FIELD_TIME, 0}, {"op", "", FIELD_NAME, 0},
        {"path", "", FIELD_NAME, 0},    {"from", "", FIELD_NAME, 0},
        {"type", "", FIELD_NAME, 0},    {"inode", "", FIELD_COUNT, 0},
        {"size", "", FIELD_SIZE, 0},    {"old_size", "", FIELD_SIZE, 0},
        {"fields", "", FIELD_NAME, 0},  {"modified", "", FIELD_TIME, 0},
        {"joined", "", FIELD_NAME, 0},  {0},
};

/* Print the names of the fields that differ, with commas. */
static void fields_print(const json_t *array)
{
	char text[128] = "";
	const json_t *value;
	size_t i;

	json_array_foreach(array, i, value)
	{
		size_t len = strlen(text);

		snprintf(text + len, sizeof(text) - len, "%s%s", i ? "," : "",
		         json_string_value(value));
	}
	printf("%-14s  ", *text ? text : "-");
}

static void line_print(const json_t *row)
{
	const json_t *size = json_object_get(row, "size");
	const json_t *from = json_object_get(row, "from");
	const json_t *joined = json_object_get(row, "joined");
	char text[PATH_TEXT_MAX], bytes[SIZE_TEXT_MAX] = "-";

	if (json_is_string(json_object_get(row, "created")))
		printf("%.19sZ  ", row_text(row, "created"));
	else
		printf("%-20s  ", "now");
	if (json_is_integer(size))
		size_format((uint64_t)json_integer_value(size), bytes);
	printf("%s  %6s  ", row_text(row, "op"), bytes);
	fields_print(json_object_get(row, "fields"));
	printf("%s  ", path_text(json_object_get(row, "state"), false, text));
	if (!json_is_null(from))
		printf("%s -> ", path_text(from, false, text));
	fputs(path_text(json_object_get(row, "path"), false, text), stdout);
	if (json_is_string(joined))
		printf("  (joined from %s)", path_text(joined, false, text));
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

/* The options of the request. */
struct flags {
	bool all, no_follow, deleted;
};

static int show_log(struct printer *printer, const char *store,
                    const struct flags *flags, const char *arg)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_free_ char *state = NULL, *path = NULL;
	json_t *request;
	int r = target_init(&target, store);

	if (!r)
		r = target_path(&target, arg, &state, &path);
	if (!r)
		r = target_store(&target);
	if (r)
		return r;
	request = request_new("log", "state", state, "path", path, NULL);
	if (request) {
		json_object_set_new(request, "all", json_boolean(flags->all));
		json_object_set_new(request, "no_follow",
		                    json_boolean(flags->no_follow));
		json_object_set_new(request, "deleted",
		                    json_boolean(flags->deleted));
	}
	if (printer->json)
		printer_begin(printer);
	r = store_request(target.store, true, request, on_row, printer, NULL);
	if (printer->json)
		printer_end(printer);
	return finish_output(r);
}

static int run(const struct command *self, int argc, char **argv)
{
	struct printer printer = {.fields = fields};
	const char *store = NULL;
	struct flags flags = {0};
	int code;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"all", 'a', .flag = &flags.all},
	        {"no-follow", .flag = &flags.no_follow},
	        {"deleted", .flag = &flags.deleted},
	        {"json", .flag = &printer.json, .value = &printer.form},
	        {0},
	};

	if (!command_parse(self, options, 1, 1, &argc, &argv, &code) ||
	    !printer_check(&printer, self, &code))
		return code;
	return show_log(&printer, store, &flags, argv[0]);
}

const struct command command_log = {
        .name = "log",
        .args = "[-s STORE] [-a] [--no-follow] [--deleted] [--json[=lines]]\n"
                "               STATE:/PATH",
        .summary = "Show the versions of a file",
        .help = "Prints a line for each version of a file or directory in the "
                "state and in those\n"
                "that it came from, the newest first: the time when the first "
                "state with the\n"
                "version was made, a letter (M modified, R renamed, + added, - "
                "removed), the\n"
                "size, what changed, that state, and the path.\n"
                "\n"
                "  -a, --all          also list changes of times alone\n"
                "      --no-follow    show what was at the path; do not follow "
                "renames\n"
                "      --deleted      if a state does not have the file, go on "
                "with older ones\n"
                "      --json[=lines] an array of objects, one a line; or only "
                "objects\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
