/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice du: the space of states. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "store_access.h"
#include "command.h"
#include "escaped_name.h"
#include "row.h"
#include "size.h"
#include "target.h"
#include "util.h"

static const struct field columns[] = {
        {"unique", "UNIQUE", FIELD_SIZE, 6},
        {"shared", "SHARED", FIELD_SIZE, 6},
        {"referenced", "STORED", FIELD_SIZE, 6},
        {"bytes", "SIZE", FIELD_SIZE, 6},
        {"ratio", "RATIO", FIELD_RATIO, 6},
        {"name", "NAME", FIELD_NAME, 0},
        {0},
};

static const struct field json_fields[] = {
        {"name", "", FIELD_NAME, 0},
        {"number", "", FIELD_COUNT, 0},
        {"unique", "", FIELD_SIZE, 0},
        {"shared", "", FIELD_SIZE, 0},
        {"referenced", "", FIELD_SIZE, 0},
        {"bytes", "", FIELD_SIZE, 0},
        {"inodes", "", FIELD_COUNT, 0},
        {"ratio", "", FIELD_RATIO, 0},
        {0},
};

/* The header is printed with the first row: not if a name is unknown. */
struct output {
	struct printer printer;
	bool begun;
	unsigned long rows;
};

static void output_begin(struct output *output)
{
	if (output->begun)
		return;
	output->begun = true;
	if (output->printer.json)
		printf("{\"states\": ");
	printer_begin(&output->printer);
}

static int print_row(void *arg, json_t *row)
{
	struct output *output = arg;

	output_begin(output);
	output->rows++;
	printer_row(&output->printer, row);
	return ferror(stdout) ? -EPIPE : 0;
}

/* Print the bytes that deleting all named states would free. */
static void output_end(struct output *output, const json_t *answer)
{
	const json_t *frees = json_object_get(answer, "frees");
	char text[SIZE_TEXT_MAX];

	output_begin(output);
	printer_end(&output->printer);
	if (output->printer.json && frees) {
		printf(", \"frees\": %" JSON_INTEGER_FORMAT "}\n",
		       json_integer_value(frees));
	} else if (output->printer.json) {
		printf(", \"frees\": null}\n");
	} else if (frees && output->rows > 1) {
		size_format((uint64_t)json_integer_value(frees), text);
		printf("Deleting them together frees %s.\n", text);
	}
}

static int du(struct target *target, json_t *request, struct output *output)
{
	json_auto_t *answer = NULL;
	int r = store_request(target->store, true, request, print_row, output,
	                      &answer);

	if (!r)
		output_end(output, answer);
	return finish_output(r);
}

/* Resolve the arguments, and set "names" of the request.  An exit code. */
static int name_states(struct target *target, int argc, char **argv,
                       json_t *request)
{
	json_t *names = json_array();
	int r = EXIT_DONE;

	if (!names || json_object_set_new(request, "names", names)) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	for (int i = 0; !r && i < argc; i++) {
		_cleanup_free_ char *name = NULL;

		r = target_state(target, argv[i], false, &name);
		if (!r && json_array_append_new(names, name_escape(name))) {
			complain("out of memory");
			r = EXIT_FAILED;
		}
	}
	return r;
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	struct output output = {.printer = {.fields = columns, .header = true}};
	json_auto_t *request = NULL;
	const char *store = NULL;
	bool recursive = false;
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"recursive", 'r', .flag = &recursive},
	        {"json", .flag = &output.printer.json},
	        {0},
	};

	if (!command_parse(self, options, 0, INT_MAX, &argc, &argv, &r))
		return r;
	if (output.printer.json)
		output.printer.fields = json_fields;
	request = request_new("du", NULL);
	if (!request) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	if (recursive)
		json_object_set_new(request, "recursive", json_true());
	r = target_init(&target, store);
	if (!r && argc)
		r = name_states(&target, argc, argv, request);
	if (!r)
		r = target_store(&target);
	return r ? r : du(&target, steal(&request), &output);
}

const struct command command_du = {
        .name = "du",
        .args = "[-s STORE] [-r] [--json] [STATE...]",
        .summary = "Show the space that states use",
        .help = "Prints a line for each STATE, or for all states: the bytes "
                "that deleting it\n"
                "alone would free (UNIQUE), the other bytes that it references "
                "(SHARED), the sum\n"
                "of both (STORED), the size of its files (SIZE), and SIZE "
                "divided by STORED.  For\n"
                "several states, also prints what deleting them together would "
                "free.\n"
                "\n"
                "  -r, --recursive    each fork's snapshots, too\n"
                "      --json         an object with the list 'states', and "
                "'frees'\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
