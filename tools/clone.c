/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice clone: copy a file or a directory within the store. */
#include <jansson.h>
#include <stdio.h>

#include "store_access.h"
#include "command.h"
#include "escaped_name.h"
#include "row.h"
#include "target.h"
#include "util.h"

struct place {
	char *state, *path;
};

static const struct field fields[] = {
        {"name", "name", FIELD_NAME, 0},
        {"path", "path", FIELD_NAME, 0},
        {"entries", "entries", FIELD_COUNT, 0},
        {0},
};

static void place_release(struct place *place)
{
	free(place->state);
	free(place->path);
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_(place_release) struct place from = {0}, to = {0};
	const char *store = NULL;
	struct printer printer = {.fields = fields};
	json_auto_t *answer = NULL;
	bool verbose = false;
	int r;
	const struct command_option options[] = {
	        {"verbose", 'v', .flag = &verbose},
	        {"json", .flag = &printer.json},
	        {"store", 's', .value = &store},
	        {0},
	};

	if (!command_parse(self, options, 2, 2, &argc, &argv, &r))
		return r;
	r = target_init(&target, store);
	if (!r)
		r = target_path(&target, argv[0], &from.state, &from.path);
	if (!r)
		r = target_path(&target, argv[1], &to.state, &to.path);
	if (!r)
		r = target_store(&target);
	if (r)
		return r;
	r = store_request(target.store, false,
	                  request_new("clone", "source", from.state,
	                              "source_path", from.path, "to", to.state,
	                              "to_path", to.path, NULL),
	                  NULL, NULL, &answer);
	if (!r && printer.json) {
		json_object_set_new(answer, "name", name_escape(to.state));
		json_object_set_new(answer, "path", name_escape(to.path));
		printer_object(&printer, answer);
	} else if (!r && verbose) {
		printf("%" JSON_INTEGER_FORMAT " entries\n",
		       json_integer_value(json_object_get(answer, "entries")));
	}
	return r ? r : finish_output(EXIT_DONE);
}

const struct command command_clone = {
        .name = "clone",
        .args = "[-v] [--json] [-s STORE] SOURCE TARGET",
        .summary = "Copy a file or a directory, sharing its data",
        .help = "SOURCE and TARGET are STATE:/PATH or paths in a mount; SOURCE "
                "may be a whole\n"
                "state.  TARGET must not exist.  It appears when everything is "
                "copied.  Owners,\n"
                "modes, times, attributes and hard links are kept.\n"
                "\n"
                "  -v, --verbose      print how many entries were copied\n"
                "      --json         print an object that sums up\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
