/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice gc: show the background work, and wait for its end. */
#include <poll.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "command.h"
#include "row.h"
#include "store_access.h"
#include "target.h"
#include "util.h"

enum { POLL_MS = 200 };

static const struct field fields[] = {
        {"backlog", "Backlog", FIELD_COUNT, 0},
        {"trash", "Trash", FIELD_COUNT, 0},
        {"free_bytes", "Free inside", FIELD_SIZE, 0},
        {"avail_bytes", "Available", FIELD_SIZE, 0},
        {0},
};

/*
 * Request the progress of the work, with a flag (or NULL) for an action to
 * carry out first.  Return an exit code.
 */
static int ask(struct store_access *access, const char *flag,
               json_t **ret_answer)
{
	json_t *request = request_new("gc", NULL);

	if (request && flag)
		json_object_set_new(request, flag, json_true());
	return store_access_call(access, request, NULL, NULL, ret_answer);
}

/* Show how much is left, on one line of a terminal. */
static void show_progress(json_int_t left, bool *shown)
{
	if (!isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r%" JSON_INTEGER_FORMAT " to be freed\033[K", left);
	*shown = true;
}

/*
 * Wait until nothing is left, by short requests, so that the mount can end
 * meanwhile.
 */
static int wait_for_end(struct store_access *access)
{
	bool shown = false;
	json_int_t left;
	int r;

	do {
		json_auto_t *answer = NULL;

		r = ask(access, NULL, &answer);
		left = json_integer_value(json_object_get(answer, "backlog"));
		if (r || !left)
			break;
		show_progress(left, &shown);
		poll(NULL, 0, POLL_MS);
	} while (true);
	if (shown)
		fputs("\r\033[K", stderr);
	return r;
}

/* ---- Deep --------------------------------------------------------------- */

static const struct field swept_fields[] = {
        {"version", "VERSION", FIELD_COUNT, 10},
        {"frees", "FREES", FIELD_SIZE, 7},
        {"forks", "NO BASE FOR JOINS AMONG", FIELD_NAME, 0},
        {0},
};

/* The options of a deep collection, and where its rows are printed. */
struct deep {
	bool asked, dry_run;
	struct printer printer;
};

/* Print a row, in text with the names of forks joined. */
static int print_swept(void *arg, json_t *row)
{
	struct deep *deep = arg;
	json_t *forks = json_object_get(row, "forks"), *text;
	char names[1024] = "-";
	size_t len = 0;

	/* An earlier collection took this base from joins already. */
	if (json_is_true(json_object_get(row, "swept_before")))
		json_array_clear(forks);
	if (!deep->printer.json) {
		for (size_t i = 0; i < json_array_size(forks); i++) {
			const char *name =
			        json_string_value(json_array_get(forks, i));
			int n = snprintf(names + len, sizeof(names) - len,
			                 "%s%s", len ? " " : "", name);

			if (n < 0 || len + (size_t)n >= sizeof(names) - 4) {
				snprintf(names + len, sizeof(names) - len,
				         " ...");
				break;
			}
			len += (size_t)n;
		}
		text = json_string(names);
		json_object_set_new(row, "forks", text);
	}
	printer_row(&deep->printer, row);
	return ferror(stdout) ? -EPIPE : 0;
}

static json_t *deep_request(bool dry_run)
{
	json_t *request = request_new("gc", NULL);

	if (request) {
		json_object_set_new(request, "deep", json_true());
		json_object_set_new(request, "dry_run", json_boolean(dry_run));
	}
	return request;
}

static int drop_row(void *arg, json_t *row)
{
	(void)arg, (void)row;
	return 0;
}

/* Print the data to be freed, then free it unless this is a dry run. */
static int run_deep(struct deep *deep, struct store_access *access)
{
	int r;

	printer_begin(&deep->printer);
	r = store_access_call(access, deep_request(true), print_swept, deep,
	                      NULL);
	printer_end(&deep->printer);
	if (!r && !deep->dry_run)
		r = store_access_call(access, deep_request(false), drop_row,
		                      NULL, NULL);
	return r;
}

static int gc(struct deep *deep, const char *store, bool trash, bool wait,
              struct printer *printer)
{
	json_auto_t *answer = NULL;
	struct store_access access;
	int r = store_access_open(&access, store, false), closed;

	if (r)
		return r;
	if (trash)
		r = ask(&access, "trash", NULL);
	if (!r && deep->asked)
		r = run_deep(deep, &access);
	if (!r && wait)
		r = wait_for_end(&access);
	if (!r)
		r = ask(&access, wait ? "drain" : NULL, &answer);
	closed = store_access_close(&access);
	if (!r && !deep->asked)
		printer_object(printer, answer);
	return finish_output(MAX(r, closed));
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	struct printer printer = {.fields = fields};
	const char *store = NULL;
	bool no_wait = false, trash = false;
	struct deep deep = {0};
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"no-wait", .flag = &no_wait},
	        {"trash", .flag = &trash},
	        {"deep", .flag = &deep.asked},
	        {"dry-run", .flag = &deep.dry_run},
	        {"json", .flag = &printer.json},
	        {0},
	};

	if (!command_parse(self, options, 0, 1, &argc, &argv, &r))
		return r;
	if (deep.dry_run && (!deep.asked || trash))
		return command_usage(self, "--dry-run goes with --deep alone");
	deep.printer = (struct printer){
	        .fields = swept_fields, .header = true, .json = printer.json};
	if (deep.dry_run)
		no_wait = true;
	r = target_init(&target, store);
	if (!r && argc)
		r = target_select(&target, argv[0]);
	if (!r)
		r = target_store(&target);
	return r ? r : gc(&deep, target.store, trash, !no_wait, &printer);
}

const struct command command_gc = {
        .name = "gc",
        .args = "[-s STORE] [--trash] [--deep [--dry-run]] [--no-wait] "
                "[--json]\n"
                "                  [PATH]",
        .summary = "Wait until the space of deleted states is free",
        .help = "Space is freed in the background after a state is deleted.  "
                "Shows on a\n"
                "terminal how many deleted versions and snapshots are left, "
                "and at the end the\n"
                "space that is free.\n"
                "\n"
                "      --no-wait      print how much is left, and do not wait\n"
                "      --trash        first empty the trash (see 'coppice help "
                "undelete')\n"
                "      --deep         free data of old versions that none of "
                "the forks made from\n"
                "                     them has any more; print which joins "
                "lose their base\n"
                "      --dry-run      with --deep: only print that\n"
                "      --json         print an object; with --deep an array\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
