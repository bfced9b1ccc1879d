/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice check: verify and repair a store. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>

#include "store_access.h"
#include "command.h"
#include "target.h"
#include "row.h"
#include "control_check.h"
#include "escaped_name.h"
#include "util.h"

static const struct field fields[] = {
        {"kind", "Kind", FIELD_NAME, 0},
        {"state", "State", FIELD_NAME, 0},
        {"path", "Path", FIELD_NAME, 0},
        {"inode", "Inode", FIELD_COUNT, 0},
        {"version", "Version", FIELD_COUNT, 0},
        {"block", "Block", FIELD_COUNT, 0},
        {"text", "Text", FIELD_NAME, 0},
        {NULL, NULL, FIELD_NAME, 0},
};

struct output {
	struct printer printer;
	bool terminal; /* progress is shown, in a line that is overwritten */
	bool shown;
};

/* ---- Rows --------------------------------------------------------------- */

/* Print a name with its control characters replaced by "?". */
static void print_name(const json_t *text)
{
	char name[8192];

	if (name_unescape(text, name, sizeof(name)))
		return;
	for (const char *p = name; *p; p++)
		putchar((unsigned char)*p < ' ' || *p == 0x7f ? '?' : *p);
}

/* Print a finding as "KIND: STATE:/PATH: TEXT". */
static void print_finding(json_t *row)
{
	json_t *state = json_object_get(row, "state");
	json_t *path = json_object_get(row, "path");
	json_int_t ino = json_integer_value(json_object_get(row, "inode"));

	print_name(json_object_get(row, "kind"));
	printf(": ");
	if (json_is_string(state)) {
		print_name(state);
		if (json_is_string(path)) {
			putchar(':');
			print_name(path);
		} else if (ino) {
			printf(": inode %" JSON_INTEGER_FORMAT, ino);
		}
		printf(": ");
	}
	print_name(json_object_get(row, "text"));
	putchar('\n');
}

static void progress_clear(struct output *out)
{
	if (out->shown)
		fputs("\r\033[K", stderr);
	out->shown = false;
}

static void progress_show(struct output *out, json_t *row)
{
	json_int_t done = json_integer_value(json_object_get(row, "done"));
	json_int_t all = json_integer_value(json_object_get(row, "all"));

	if (!out->terminal)
		return;
	progress_clear(out);
	fprintf(stderr, "checking %s: %d%%",
	        json_string_value(json_object_get(row, "progress")),
	        all > 0 ? (int)(100.0 * (double)done / (double)all) : 0);
	out->shown = true;
}

static int on_row(void *arg, json_t *row)
{
	struct output *out = arg;

	if (json_is_string(json_object_get(row, "progress"))) {
		progress_show(out, row);
		return 0;
	}
	progress_clear(out);
	if (out->printer.json)
		printer_row(&out->printer, row);
	else
		print_finding(row);
	return 0;
}

/* ---- Repair -------------------------------------------------------------- */

static json_t *text_or_null(const char *text)
{
	return text ? name_escape(text) : json_null();
}

static int on_finding(void *arg, const struct finding *f)
{
	json_auto_t *row = json_pack(
	        "{s:s, s:o?, s:o?, s:I, s:I, s:I, s:o}", "kind", f->kind,
	        "state", text_or_null(f->state), "path", text_or_null(f->path),
	        "inode", (json_int_t)f->ino, "version", (json_int_t)f->version,
	        "block", (json_int_t)f->block, "text", name_escape(f->text));

	return row ? on_row(arg, row) : -ENOMEM;
}

static int on_repair_progress(void *arg, const char *what, uint64_t done,
                              uint64_t all)
{
	json_auto_t *row =
	        json_pack("{s:s, s:I, s:I}", "progress", what, "done",
	                  (json_int_t)done, "all", (json_int_t)all);

	if (row)
		progress_show(arg, row);
	return 0;
}

static int repair_complain(const char *path, int err)
{
	const char *reason;
	int code = EXIT_FAILED;

	switch (err) {
	case -EBUSY:
		reason = "it is mounted, or another process has it open";
		break;
	case -ENOSPC:
		reason = "there is no space for a second copy of it; nothing "
		         "was changed";
		break;
	case -EUCLEAN:
		reason = "it is damaged too much for that; nothing was changed";
		code = EXIT_DAMAGE;
		break;
	case -ENODATA:
		reason = "no fork of it can be read; nothing was changed";
		code = EXIT_DAMAGE;
		break;
	default:
		return store_complain("repair", path, err);
	}
	complain("cannot repair the store '%s': %s", path, reason);
	return code;
}

/* Print the result of a repair, or of its dry run. */
static void print_result(const struct output *out, bool dry_run,
                         const struct repair_result *result)
{
	if (out->printer.json)
		return;
	if (!result->found)
		puts("no damage found");
	else if (dry_run)
		puts("the store can be repaired; nothing was changed");
	else if (!result->kept)
		puts("repaired");
	else
		printf("repaired; the damaged data are in '%s'\n",
		       result->kept);
}

/* Repair in this process: no other process may have the store open. */
static int repair_store(const char *path, bool dry_run, struct output *out)
{
	struct repair_options options = {
	        .dry_run = dry_run,
	        .found = on_finding,
	        .done = on_finding,
	        .progress = on_repair_progress,
	        .arg = out,
	};
	struct repair_result result = {0};
	struct store *store;
	int r = store_open_committed(path, &store);

	if (r)
		return repair_complain(path, r);
	printer_begin(&out->printer);
	r = forest_repair(store, &options, &result);
	progress_clear(out);
	printer_end(&out->printer);
	store_close(store);
	if (r)
		return repair_complain(path, r);
	print_result(out, dry_run, &result);
	free(result.kept);
	return dry_run && result.found ? EXIT_DAMAGE : EXIT_DONE;
}

/* ---- The check ---------------------------------------------------------- */

/* Check in this process: no daemon has the store open. */
static int check_here(struct store *store, json_t *request, struct output *out,
                      json_t **ret_answer)
{
	json_auto_t *answer = json_object();
	int r = answer ? control_check(store, request, on_row, out, answer)
	               : -ENOMEM;

	if (!r)
		*ret_answer = steal(&answer);
	return r;
}

/*
 * Check through the daemon or here.  Unlike store_access_open() this works for
 * a store that is too damaged for any other request.
 */
static int check_anywhere(const char *path, json_t *request, struct output *out,
                          json_t **ret_answer)
{
	struct store *store;
	int socket, r = -EBUSY;
	bool again;

	for (int tries = 0; r == -EBUSY && tries < 50; tries++) {
		if (tries)
			poll(NULL, 0, 100);
		r = daemon_client_connect(path, &socket);
		if (!r) {
			r = daemon_client_call(socket, request, -1, on_row, out,
			                       ret_answer);
			close(socket);
			again = !out->shown && !out->printer.printed &&
			        (r == -EAGAIN || r == -EPIPE ||
			         (!r && daemon_client_is_ending(*ret_answer)));
			if (!again)
				return r;
			json_decref(steal(ret_answer));
			r = -EBUSY; /* the daemon is ending */
			continue;
		}
		if (r != -ENOENT)
			break;
		r = store_open_committed(path, &store);
	}
	if (r)
		return r;
	r = check_here(store, request, out, ret_answer);
	store_close(store);
	return r;
}

static int check_store(const char *path, bool data, struct output *out)
{
	json_auto_t *answer = NULL;
	json_auto_t *request = json_pack("{s:s, s:b, s:b}", "verb", "check",
	                                 "data", data, "progress", 1);
	const char *error;
	json_int_t found;
	int r = -ENOMEM;

	printer_begin(&out->printer);
	if (request)
		r = check_anywhere(path, request, out, &answer);
	progress_clear(out);
	printer_end(&out->printer);
	if (r)
		return store_complain("check", path, r);
	error = json_string_value(json_object_get(answer, "error"));
	if (error) {
		complain("%s", error);
		return EXIT_FAILED;
	}
	found = json_integer_value(json_object_get(answer, "found"));
	if (!out->printer.json && found)
		printf("%" JSON_INTEGER_FORMAT " finding%s\n", found,
		       found == 1 ? "" : "s");
	else if (!out->printer.json)
		puts("no damage found");
	return found ? EXIT_DAMAGE : EXIT_DONE;
}

static int run(const struct command *self, int argc, char **argv)
{
	struct output out = {.printer.fields = fields,
	                     .terminal = isatty(STDERR_FILENO)};
	_cleanup_(target_release) struct target target = {0};
	const char *store = NULL;
	bool data = false, repair = false, dry_run = false;
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"data", .flag = &data},
	        {"json", .flag = &out.printer.json},
	        {"repair", .flag = &repair},
	        {"dry-run", .flag = &dry_run},
	        {0},
	};

	if (!command_parse(self, options, 0, 1, &argc, &argv, &r))
		return r;
	if (store && argc)
		return command_usage(self, NULL);
	if (dry_run && !repair)
		return command_usage(self, "--dry-run goes with --repair");
	if (argc)
		store = argv[0];
	r = target_init(&target, store);
	if (!r)
		r = target_store(&target);
	if (r)
		return r;
	return finish_output(repair ? repair_store(target.store, dry_run, &out)
	                            : check_store(target.store, data, &out));
}

const struct command command_check = {
        .name = "check",
        .args = "[--data | --repair [--dry-run]] [--json] [STORE]",
        .summary = "Check a store for damage, or repair it",
        .help = "Verifies everything in the store as of its last commit, and "
                "prints a line for\n"
                "each finding.  Changes nothing; the store may be mounted and "
                "in use.  Exits\n"
                "with 3 if there is damage.\n"
                "\n"
                "      --data         also read all files' contents and verify "
                "them\n"
                "      --repair       cut out damaged data, and report what "
                "was lost; the store\n"
                "                     must not be mounted, and its disk needs "
                "space for a second\n"
                "                     copy of it\n"
                "      --dry-run      with --repair: only report what would be "
                "done\n"
                "      --json         an array of findings\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
