/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice restore: restore files of a fork from a state. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "store_access.h"
#include "command.h"
#include "diff_line.h"
#include "row.h"
#include "target.h"
#include "util.h"

static int print_row(void *arg, json_t *row)
{
	static const struct diff_style style;
	struct printer *printer = arg;

	if (printer->json)
		printer_row(printer, row);
	else
		diff_line_print(&style, row);
	return ferror(stdout) ? -EPIPE : 0;
}

/* The states and paths of the arguments. */
struct places {
	char *source, *source_path, *into, *into_path;
};

static void places_release(struct places *p)
{
	free(p->source);
	free(p->source_path);
	free(p->into);
	free(p->into_path);
}

static int places_find(struct target *target, const char *source,
                       const char *into, struct places *p)
{
	int r = target_path(target, source, &p->source, &p->source_path);

	if (!r && into)
		r = target_path(target, into, &p->into, &p->into_path);
	/* If only a fork is given, use the path of the source. */
	if (!r && into && !strcmp(p->into_path, "/") && !strstr(into, ":/")) {
		free(p->into_path);
		p->into_path = NULL;
	}
	return r ? r : target_store(target);
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_(places_release) struct places p = {0};
	struct printer printer = {.fields = diff_fields};
	const char *store = NULL, *into = NULL;
	bool no_undo = false, dry_run = false;
	json_t *answer = NULL, *request;
	_cleanup_free_ char *undo = NULL;
	int r;
	const struct command_option options[] = {
	        {"into", .value = &into},
	        {"no-undo", .flag = &no_undo},
	        {"dry-run", 'n', .flag = &dry_run},
	        {"json", .flag = &printer.json, .value = &printer.form},
	        {"store", 's', .value = &store},
	        {0},
	};

	if (!command_parse(self, options, 1, 1, &argc, &argv, &r) ||
	    !printer_check(&printer, self, &r))
		return r;
	r = target_init(&target, store);
	target.careful = true;
	if (!r)
		r = places_find(&target, argv[0], into, &p);
	if (r)
		return r;
	request = request_new("restore", "source", p.source, "source_path",
	                      p.source_path, "into", p.into, "into_path",
	                      p.into_path, NULL);
	json_object_set_new(request, "no_undo", json_boolean(no_undo));
	json_object_set_new(request, "dry_run", json_boolean(dry_run));
	if (dry_run && printer.json)
		printer_begin(&printer);
	r = store_request(target.store, false, request, print_row, &printer,
	                  &answer);
	if (dry_run && printer.json)
		printer_end(&printer);
	else if (!dry_run && !r && printer.json)
		json_dumpf(answer, stdout, JSON_COMPACT), putchar('\n');
	else if (!dry_run && !r && !no_undo &&
	         !answer_name(answer, "undo", &undo))
		printf("%s\n", undo);
	json_decref(answer);
	return r ? r : finish_output(EXIT_DONE);
}

const struct command command_restore = {
        .name = "restore",
        .args = "[-n] [--no-undo] [--into FORK[:/PATH]] [--json[=lines]]\n"
                "               [-s STORE] STATE[:/PATH]",
        .summary = "Restore a file, a directory or a whole fork",
        .help = "Makes PATH of the fork what the state has there, in one step. "
                " "
                "The fork is the\n"
                "one that the snapshot belongs to, or FORK.  Prints the name "
                "of "
                "a snapshot of\n"
                "the fork as it was before.\n"
                "\n"
                "      --into=FORK[:/PATH]  restore into this fork, and to "
                "this "
                "path\n"
                "  -n, --dry-run            print what would change, as "
                "'diff' does\n"
                "      --no-undo            make no snapshot of the fork "
                "before\n"
                "      --json[=lines]       print JSON\n"
                "  -s, --store=STORE        the store's directory\n",
        .run = run,
};
