/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice get: print properties of states. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "escaped_name.h"
#include "read_states.h"
#include "util.h"

/* The columns, in their order. */
static const struct field fields[] = {
        {"name", "NAME", FIELD_NAME, -24},
        {"property", "PROPERTY", FIELD_NAME, -20},
        {"value", "VALUE", FIELD_NAME, -24},
        {"source", "SOURCE", FIELD_NAME, -9},
        {"from", "FROM", FIELD_NAME, 0},
        {0},
};

enum { COLUMNS_MAX = ARRAY_SIZE(fields) };

static const struct field *field_find(const char *key)
{
	for (const struct field *f = fields; f->key; f++)
		if (!strcmp(f->key, key))
			return f;
	return NULL;
}

/* Select the columns of a list.  Return false if one is unknown, or none. */
static bool select_columns(char *list, struct field columns[COLUMNS_MAX])
{
	size_t count = 0;
	char *rest, *key;

	for (key = strtok_r(list, ",", &rest); key;
	     key = strtok_r(NULL, ",", &rest)) {
		const struct field *f = field_find(key);

		if (!f || count == COLUMNS_MAX - 1)
			return false;
		columns[count++] = *f;
	}
	columns[count] = (struct field){0};
	return count;
}

/* Return the request for the properties of a list. */
static json_t *get_request(char *list)
{
	json_t *request = request_new("get", NULL), *keys = json_array();
	char *rest, *key;

	if (!request || !keys || !strcmp(list, "all")) {
		json_decref(keys);
		return request;
	}
	for (key = strtok_r(list, ",", &rest); key;
	     key = strtok_r(NULL, ",", &rest))
		json_array_append_new(keys, name_escape(key));
	json_object_set_new(request, "keys", keys);
	return request;
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(named_states_release) struct named_states states = {0};
	struct field columns[COLUMNS_MAX];
	struct printer printer = {.fields = fields, .header = true};
	_cleanup_free_ char *list = NULL, *keys = NULL;
	const char *store = NULL, *output = NULL;
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"json", .flag = &printer.json, .value = &printer.form},
	        {"script", 'H', .flag = &printer.tabs},
	        {"output", 'o', .value = &output},
	        {0},
	};

	if (!command_parse(self, options, 0, INT_MAX, &argc, &argv, &r) ||
	    !printer_check(&printer, self, &r))
		return r;
	list = strdup(output ? output : "");
	keys = strdup(argc ? argv[0] : "all");
	if (!list || !keys) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	if (output && !select_columns(list, columns))
		return command_usage(self, "-o takes a list of name, property, "
		                           "value, source and from");
	if (output)
		printer.fields = columns;
	r = named_states_init(&states, store, false, argc ? argc - 1 : 0,
	                      argc ? argv + 1 : argv);
	return r ? r : read_states(&states, get_request(keys), &printer);
}

const struct command command_get = {
        .name = "get",
        .args = "[-s STORE] [-H] [-o COLUMNS] [--json[=lines]]\n"
                "                   [KEY[,KEY...]|all [STATE...]]",
        .summary = "Print properties of states",
        .help = "Prints the properties with the KEYs, or all that are set, of "
                "the STATEs, or of\n"
                "all states.  SOURCE is 'local', 'inherited' (by a snapshot, "
                "from its fork), or\n"
                "'-' if the property is not set or cannot be set.\n"
                "\n"
                "  -o, --output=COLUMNS\n"
                "                     some of name,property,value,source,from\n"
                "  -H, --script       no titles; a tab between columns\n"
                "      --json[=lines] an array of objects, one a line; or only "
                "objects\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
