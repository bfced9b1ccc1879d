/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice join: bring the changes of a state into a fork. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "store_access.h"
#include "command.h"
#include "escaped_name.h"
#include "path_text.h"
#include "plan_file.h"
#include "row.h"
#include "target.h"
#include "util.h"

static const struct field fields[] = {
        {"op", NULL, FIELD_NAME, 0},      {"path", NULL, FIELD_NAME, 0},
        {"from", NULL, FIELD_NAME, 0},    {"type", NULL, FIELD_NAME, 0},
        {"inode", NULL, FIELD_COUNT, 0},  {"conflicts", NULL, FIELD_NAME, 0},
        {"decided", NULL, FIELD_NAME, 0}, {0},
};

struct options {
	const char *store, *into, *base, *resolve;
	const char *ours_glob, *theirs_glob, *both_glob, *text_glob;
	bool ours, theirs, both, text, dry_run, ff_only, squash;
	struct printer printer;
	json_t *rows; /* of the plan to be printed; NULL: print no plan */
};

/* Print the kinds of conflicts, separated by commas. */
static void kinds_print(const json_t *kinds)
{
	for (size_t i = 0; i < json_array_size(kinds); i++)
		printf("%s%s", i ? "," : "",
		       json_string_value(json_array_get(kinds, i)));
	putchar('\t');
}

static int print_row(void *arg, json_t *row)
{
	struct options *o = arg;
	const json_t *from = json_object_get(row, "from");
	const char *op = json_string_value(json_object_get(row, "op"));
	char text[PATH_TEXT_MAX];

	if (o->rows)
		return json_array_append(o->rows, row) ? -ENOMEM : 0;
	if (o->printer.json) {
		printer_row(&o->printer, row);
		return ferror(stdout) ? -EPIPE : 0;
	}
	printf("%s\t", op ? op : "");
	if (op && *op == 'C')
		kinds_print(json_object_get(row, "conflicts"));
	if (!json_is_null(from))
		printf("%s -> ", path_text(from, false, text));
	puts(path_text(json_object_get(row, "path"), false, text));
	return ferror(stdout) ? -EPIPE : 0;
}

/* Add a rule to the request, if given: a pattern of paths, or true. */
static int rule_add(json_t *request, const char *key, bool given,
                    const char *glob)
{
	if (!given)
		return 0;
	return json_object_set_new(request, key,
	                           glob ? name_escape(glob) : json_true());
}

static json_t *request_make(const struct options *o, const char *from,
                            const char *into, const char *base)
{
	json_t *request = request_new("join", "source", from, "into", into,
	                              "base", base, NULL);

	if (request && !rule_add(request, "ours", o->ours, o->ours_glob) &&
	    !rule_add(request, "theirs", o->theirs, o->theirs_glob) &&
	    !rule_add(request, "keep_both", o->both, o->both_glob) &&
	    !rule_add(request, "text", o->text, o->text_glob) &&
	    !json_object_set_new(request, "plan",
	                         json_boolean(o->rows != NULL)) &&
	    !json_object_set_new(request, "dry_run",
	                         json_boolean(o->dry_run)) &&
	    !json_object_set_new(request, "ff_only",
	                         json_boolean(o->ff_only)) &&
	    !json_object_set_new(request, "squash", json_boolean(o->squash)))
		return request;
	json_decref(request);
	complain("out of memory");
	return NULL;
}

/* Print the plan and its rows.  Return an exit code. */
static int print_plan(const struct options *o, json_t *answer)
{
	json_int_t conflicts =
	        json_integer_value(json_object_get(answer, "conflicts"));

	plan_print(json_object_get(answer, "plan"), o->rows, o->printer.form);
	if (conflicts)
		complain("the plan has %lld conflict%s", (long long)conflicts,
		         conflicts == 1 ? "" : "s");
	return conflicts ? EXIT_FAILED : EXIT_DONE;
}

/* Run the request, and print its rows. */
static int request_run(struct options *o, const char *store, json_t *request)
{
	json_auto_t *answer = NULL;
	int r;

	if (o->printer.json && !o->rows)
		printer_begin(&o->printer);
	r = store_request(store, false, request, print_row, o, &answer);
	if (o->rows)
		r = r ? r : print_plan(o, answer);
	else if (o->printer.json)
		printer_end(&o->printer);
	return finish_output(r);
}

/* Join `source`; NULL: the state that o->into was made from. */
static int join(const struct command *self, struct options *o,
                const char *source)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_free_ char *from = NULL, *into = NULL, *base = NULL;
	json_auto_t *plan = NULL, *rows = NULL;
	json_t *request;
	int r;

	if (o->ours && o->theirs && !o->ours_glob && !o->theirs_glob)
		return command_usage(self, "--ours and --theirs contradict "
		                           "each other");
	r = target_init(&target, o->store);
	target.careful = true;
	if (!r && source)
		r = target_state(&target, source, false, &from);
	if (!r && o->into)
		r = target_state(&target, o->into, false, &into);
	if (!r && o->base)
		r = target_state(&target, o->base, false, &base);
	if (!r)
		r = target_store(&target);
	if (!r && o->resolve)
		r = plan_read(o->resolve, &plan);
	if (r)
		return r;
	if (o->dry_run && o->printer.json)
		o->rows = rows = json_array();
	request = request_make(o, from, into, base);
	if (!request)
		return EXIT_FAILED;
	if (plan)
		json_object_set(request, "resolve", plan);
	return request_run(o, target.store, request);
}

static int run(const struct command *self, int argc, char **argv)
{
	struct options o = {.printer = {.fields = fields}};
	int r;
	const struct command_option options[] = {
	        {"into", .value = &o.into},
	        {"base", .value = &o.base},
	        {"resolve", .value = &o.resolve},
	        {"ours", .flag = &o.ours, .value = &o.ours_glob},
	        {"theirs", .flag = &o.theirs, .value = &o.theirs_glob},
	        {"keep-both", .flag = &o.both, .value = &o.both_glob},
	        {"text", .flag = &o.text, .value = &o.text_glob},
	        {"dry-run", 'n', .flag = &o.dry_run},
	        {"ff-only", .flag = &o.ff_only},
	        {"squash", .flag = &o.squash},
	        {"json", .flag = &o.printer.json, .value = &o.printer.form},
	        {"store", 's', .value = &o.store},
	        {0},
	};

	if (!command_parse(self, options, 1, 1, &argc, &argv, &r) ||
	    !printer_check(&o.printer, self, &r))
		return r;
	return join(self, &o, argv[0]);
}

const struct command command_join = {
        .name = "join",
        .args = "[-n] [--ours[=GLOB]] [--theirs[=GLOB]] "
                "[--keep-both[=GLOB]]\n"
                "               [--text[=GLOB]] [--resolve FILE] [--base "
                "STATE] [--ff-only]\n"
                "               [--squash] [--json[=lines]] [--into FORK] [-s "
                "STORE] STATE",
        .summary = "Merge the changes of a state into a fork",
        .help = "Merges into FORK, in one step, what STATE has changed since "
                "the newest version\n"
                "that both have in common; earlier joins count.  Without "
                "--into, FORK is the one\n"
                "that STATE was made from.  Prints what has changed, as "
                "coppice diff does.  If\n"
                "both have made different changes to the same thing, lists "
                "these conflicts and\n"
                "changes nothing.\n"
                "\n"
                "      --into=FORK        change this fork\n"
                "      --ours[=GLOB]      if there is a conflict (in paths "
                "that match), keep\n"
                "                         what FORK has\n"
                "      --theirs[=GLOB]    take what STATE has\n"
                "      --keep-both[=GLOB] keep STATE's file beside FORK's, as "
                "NAME~STATE\n"
                "      --text[=GLOB]      merge the lines of text files that "
                "both have changed\n"
                "      --resolve=FILE     carry out an edited plan of -n "
                "--json (-: stdin)\n"
                "  -n, --dry-run          print what would change\n"
                "      --base=STATE       use this state as the base; do not "
                "record the join\n"
                "      --ff-only          fail if FORK has changes of its own\n"
                "      --squash           do not record the join\n"
                "      --json[=lines]     print JSON\n"
                "  -s, --store=STORE      the store's directory\n",
        .run = run,
};

/* ---- Refreshing --------------------------------------------------------- */

static int run_refresh(const struct command *self, int argc, char **argv)
{
	struct options o = {.printer = {.fields = fields}};
	const char *from = NULL;
	int r;
	const struct command_option options[] = {
	        {"from", .value = &from},
	        {"resolve", .value = &o.resolve},
	        {"ours", .flag = &o.ours, .value = &o.ours_glob},
	        {"theirs", .flag = &o.theirs, .value = &o.theirs_glob},
	        {"keep-both", .flag = &o.both, .value = &o.both_glob},
	        {"text", .flag = &o.text, .value = &o.text_glob},
	        {"dry-run", 'n', .flag = &o.dry_run},
	        {"json", .flag = &o.printer.json, .value = &o.printer.form},
	        {"store", 's', .value = &o.store},
	        {0},
	};

	if (!command_parse(self, options, 1, 1, &argc, &argv, &r) ||
	    !printer_check(&o.printer, self, &r))
		return r;
	o.into = argv[0];
	return join(self, &o, from);
}

const struct command command_refresh = {
        .name = "refresh",
        .args = "[-n] [--ours[=GLOB]] [--theirs[=GLOB]] [--text[=GLOB]]\n"
                "               [--keep-both[=GLOB]] [--resolve FILE] "
                "[--json[=lines]]\n"
                "               [--from STATE] [-s STORE] FORK",
        .summary = "Bring a fork up to date with its source",
        .help = "Merges into FORK what has changed in the fork that it was "
                "made from, or in\n"
                "STATE.  This is 'coppice join' in the other direction, with "
                "the same output.\n"
                "\n"
                "      --from=STATE       take the changes of this state\n"
                "      --ours[=GLOB]      if there is a conflict (in paths "
                "that match), keep\n"
                "                         what FORK has\n"
                "      --theirs[=GLOB]    take what the source has\n"
                "      --keep-both[=GLOB] keep the source's file beside "
                "FORK's, as NAME~SOURCE\n"
                "      --text[=GLOB]      merge the lines of text files that "
                "both have changed\n"
                "      --resolve=FILE     carry out an edited plan of -n "
                "--json (-: stdin)\n"
                "  -n, --dry-run          print what would change\n"
                "      --json[=lines]     print JSON\n"
                "  -s, --store=STORE      the store's directory\n",
        .run = run_refresh,
};
