/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice list: forks and their snapshots. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "escaped_name.h"
#include "list_columns.h"
#include "name.h"
#include "sort_rows.h"
#include "state_row.h"
#include "store_access.h"
#include "target.h"
#include "util.h"

/* The states to list, and how. */
struct list {
	struct printer printer;
	struct list_columns columns;
	struct sort_rows sort;
	const char *store, *output, *sort_by, *grep, *since, *until;
	struct option_list where;
	bool is_long, unchanged, joined;
};

static void list_release(struct list *list)
{
	list_columns_release(&list->columns);
	sort_rows_release(&list->sort);
}

/* ---- Rows --------------------------------------------------------------- */

static int print_row(void *arg, json_t *row)
{
	printer_row(arg, row);
	/* The reader of a pipe may close it early. */
	return ferror(stdout) ? -EPIPE : 0;
}

static int keep_row(void *arg, json_t *row)
{
	struct list *list = arg;

	return sort_rows_add(&list->sort, list->printer.fields, row);
}

/* ---- The request -------------------------------------------------------- */

static int time_option(const char *option, const char *text,
                       int (*parse)(const char *text, int64_t now,
                                    int64_t *ret_time),
                       json_t *request)
{
	int64_t time;

	if (!text)
		return EXIT_DONE;
	if (parse(text, now_ns(), &time)) {
		complain("'%s' is not a time; a time is 2026-11-20, "
		         "2026-11-20T12:00, 12:00, yesterday or -2h",
		         text);
		return EXIT_USAGE;
	}
	json_object_set_new(request, option, json_integer(time));
	return EXIT_DONE;
}

static json_t *where_json(const struct option_list *where)
{
	json_t *array = json_array();

	for (int i = 0; i < where->len; i++)
		json_array_append_new(array, name_escape(where->at[i]));
	return array;
}

/* Return the properties to request; NULL: the request does not select any. */
static json_t *properties_json(struct list *list)
{
	const char *key = list->sort.key;
	json_t *keys;

	if (!list->printer.json && !list->output && !list->sort.key)
		return NULL;
	keys = list->columns.properties ? json_copy(list->columns.properties)
	                                : json_array();
	if (key && list_column_is_property(key))
		json_array_append_new(keys, json_string(key));
	return keys;
}

static int request_make(struct list *list, const char *fork,
                        json_t **ret_request)
{
	json_t *request =
	        request_new("list", "fork", fork, "grep", list->grep, NULL);
	json_t *properties = properties_json(list);
	int r;

	if (!request) {
		complain("out of memory");
		json_decref(properties);
		return EXIT_FAILED;
	}
	/* Without a fork, list all of them with their snapshots. */
	if (!fork)
		json_object_set_new(request, "all", json_true());
	if (list->unchanged)
		json_object_set_new(request, "unchanged", json_true());
	if (list->joined)
		json_object_set_new(request, "joined", json_true());
	if (list->where.len)
		json_object_set_new(request, "where", where_json(&list->where));
	if (properties)
		json_object_set_new(request, "properties", properties);
	r = time_option("since", list->since, name_parse_first, request);
	if (!r)
		r = time_option("until", list->until, name_parse_time, request);
	if (r)
		json_decref(request);
	else
		*ret_request = request;
	return r;
}

/* ---- Running ------------------------------------------------------------ */

static int print_list(struct list *list, const char *store, json_t *request)
{
	struct printer *printer = &list->printer;
	bool sorted = list->sort.key;
	int r;

	if (!sorted)
		printer_begin(printer);
	r = store_request(store, true, request, sorted ? keep_row : print_row,
	                  sorted ? (void *)list : printer, NULL);
	if (sorted && !r) {
		printer_begin(printer);
		sort_rows_each(&list->sort, print_row, printer);
	}
	if (!sorted || !r)
		printer_end(printer);
	return finish_output(r);
}

static int list_run(struct list *list, const char *arg)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_free_ char *fork = NULL;
	json_t *request = NULL;
	int r;

	r = target_init(&target, list->store);
	if (!r && arg)
		r = target_list(&target, arg, &fork);
	if (!r)
		r = target_store(&target);
	if (!r)
		r = request_make(list, fork, &request);
	return r ? r : print_list(list, target.store, request);
}

/* Choose the columns and the order.  Return an exit code. */
static int list_prepare(const struct command *self, struct list *list)
{
	struct printer *printer = &list->printer;
	const char *bad;

	printer->fields = printer->json   ? state_fields
	                  : list->is_long ? list_details
	                                  : list_names;
	printer->header = list->is_long || list->output;
	if (list->output) {
		if (!list_columns_init(&list->columns, list->output, &bad))
			return bad ? command_usage(self,
			                           "there is no column '%s'",
			                           bad)
			           : command_usage(self,
			                           "-o takes 1 to %d columns",
			                           LIST_COLUMNS_MAX);
		printer->fields = list->columns.fields;
	}
	if (!list->sort_by)
		return EXIT_DONE;
	list->sort.reverse = *list->sort_by == '-';
	list->sort.key = list_column_key(list->sort_by + list->sort.reverse);
	return list->sort.key
	               ? EXIT_DONE
	               : command_usage(self, "there is no column '%s'",
	                               list->sort_by + list->sort.reverse);
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(list_release) struct list list = {0};
	int code;
	const struct command_option options[] = {
	        {"store", 's', .value = &list.store},
	        {"long", 'l', .flag = &list.is_long},
	        {"output", 'o', .value = &list.output},
	        {"sort", .value = &list.sort_by},
	        {"grep", .value = &list.grep},
	        {"where", .list = &list.where},
	        {"since", .value = &list.since},
	        {"until", .value = &list.until},
	        {"unchanged", .flag = &list.unchanged},
	        {"joined", .flag = &list.joined},
	        {"script", 'H', .flag = &list.printer.tabs},
	        {"json", .flag = &list.printer.json,
	         .value = &list.printer.form},
	        {0},
	};

	if (!command_parse(self, options, 0, 1, &argc, &argv, &code) ||
	    !printer_check(&list.printer, self, &code))
		return code;
	code = list_prepare(self, &list);
	return code ? code : list_run(&list, argv[0]);
}

const struct command command_list = {
        .name = "list",
        .args = "[-s STORE] [-l | -o COLUMNS] [-H] [--sort [-]COLUMN]\n"
                "                    [--grep TEXT] [--where KEY[=VALUE]]...\n"
                "                    [--since TIME] [--until TIME] "
                "[--unchanged]\n"
                "                    [--joined] [--json[=lines]] [FORK]",
        .summary = "List forks and their snapshots",
        .help = "Prints the names of all forks, each followed by its snapshots "
                "as FORK~NAME;\n"
                "or with FORK, a name or a path in a mount, only the snapshots "
                "of that fork.\n"
                "\n"
                "  -l, --long         columns: time of creation, number of "
                "files, their\n"
                "                     size, the space that deleting it would "
                "free, and\n"
                "                     number of snapshots\n"
                "  -o, --output=COLUMNS\n"
                "                     these columns: name,created,size or a "
                "property's key, say\n"
                "  -H, --script       no titles; a tab between columns\n"
                "      --sort=COLUMN  sort by a column; in reverse with a - "
                "before it\n"
                "      --grep=TEXT    states with the text in the name or "
                "description\n"
                "      --where=KEY=VALUE\n"
                "                     states with this property; KEY alone: "
                "with any value\n"
                "      --since=TIME, --until=TIME\n"
                "                     states that were made at or after, at or "
                "before TIME\n"
                "      --unchanged    snapshots, and forks that have not "
                "changed\n"
                "      --joined       states into which others were joined\n"
                "      --json[=lines] an array of objects, one a line, as of "
                "'show';\n"
                "                     or only objects\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
