/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice default: the source of new forks whose names have no '@'. */
#include <stdio.h>
#include <string.h>

#include "store_access.h"
#include "command.h"
#include "target.h"
#include "row.h"
#include "util.h"

static const struct field fields[] = {
        {"name", "Default", FIELD_NAME, 0},
        {0},
};

static json_t *default_request(const char *state, bool none)
{
	json_t *request = request_new("default", "name", state, NULL);

	if (request && none)
		json_object_set_new(request, "none", json_true());
	return request;
}

static int print_default(struct printer *printer, json_t *answer)
{
	_cleanup_free_ char *name = NULL;
	int r = EXIT_DONE;

	if (printer->json) {
		printer_object(printer, answer);
		return finish_output(EXIT_DONE);
	}
	if (json_is_null(json_object_get(answer, "name")))
		complain("there is no default state: a name without an '@' "
		         "makes a new, empty tree");
	else
		r = answer_name(answer, "name", &name);
	if (name)
		puts(name);
	return finish_output(r);
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_free_ char *state = NULL;
	struct printer printer = {.fields = fields};
	json_auto_t *answer = NULL;
	const char *store = NULL;
	bool none = false;
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"json", .flag = &printer.json},
	        {"none", .flag = &none},
	        {0},
	};

	if (!command_parse(self, options, 0, 1, &argc, &argv, &r))
		return r;
	if (argc && none)
		return command_usage(self, NULL);
	r = target_init(&target, store);
	if (!r && argc)
		r = target_state(&target, argv[0], true, &state);
	if (!r)
		r = target_store(&target);
	if (!r)
		r = store_request(target.store, !state && !none,
		                  default_request(state, none), NULL, NULL,
		                  &answer);
	return r || state || none ? r : print_default(&printer, answer);
}

const struct command command_default = {
        .name = "default",
        .args = "[-s STORE] [--json] [STATE | --none]",
        .summary = "Print or set the default state",
        .help = "`mkdir MNT/new` and `coppice fork new` fork the default "
                "state.  A new store\n"
                "has none: then they make a new, empty tree.\n"
                "\n"
                "      --none         remove the default\n"
                "      --json         print it as an object\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
