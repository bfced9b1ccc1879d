/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice batch: several operations on states in one step. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control_batch.h"
#include "long_request.h"
#include "row.h"
#include "store_access.h"
#include "command.h"
#include "target.h"
#include "util.h"

enum {
	FILE_MAX = 32 << 20, /* most bytes of a file; the request is larger */
	FILE_ROOM = 1 << 16, /* bytes of the first buffer */
};
_Static_assert(FILE_MAX <= LONG_REQUEST_MAX / 2, "a file fits a request");

static const struct field fields[] = {
        {"line", "LINE", FIELD_COUNT, 4},
        {"op", "OP", FIELD_NAME, -8},
        {"number", "NUMBER", FIELD_COUNT, 8},
        {"version", "VERSION", FIELD_COUNT, 8},
        {"name", "NAME", FIELD_NAME, 0},
        {0},
};

/* ---- Reading ------------------------------------------------------------ */

/*
 * Read all of a file, which may have NUL bytes.  The caller frees *ret_text.
 * Return 0 or a positive errno.
 */
static int text_read(FILE *f, char **ret_text, size_t *ret_len)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0, room = FILE_ROOM;

	for (;;) {
		char *longer = realloc(text, room);

		if (!longer)
			return ENOMEM;
		text = longer;
		len += fread(text + len, 1, room - len, f);
		if (ferror(f))
			return errno;
		if (len > FILE_MAX)
			return EFBIG;
		if (len < room)
			break;
		room *= 2;
	}
	*ret_text = steal(&text);
	*ret_len = len;
	return 0;
}

/* Read the whole file; "-": standard input. */
static int file_read(const char *name, char **ret_text, size_t *ret_len)
{
	_cleanup_fclose_ FILE *opened = NULL;
	FILE *f = stdin;
	int error;

	if (strcmp(name, "-") != 0)
		f = opened = fopen(name, "re");
	if (!f) {
		complain("cannot open '%s': %s", name, strerror(errno));
		return EXIT_FAILED;
	}
	error = text_read(f, ret_text, ret_len);
	if (error == EFBIG)
		complain("'%s' is too large: a batch has at most %d MiB", name,
		         FILE_MAX >> 20);
	else if (error)
		complain("cannot read '%s': %s", name, strerror(error));
	return error ? EXIT_FAILED : EXIT_DONE;
}

static bool is_blank(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!strchr(" \t\r", line[i]) || !line[i])
			return false;
	}
	return true;
}

/* Add the line's operation to the request. */
static int line_add(json_t *ops, json_t *lines, const char *line, size_t len,
                    json_int_t number)
{
	json_error_t error;
	json_t *op;

	if (is_blank(line, len))
		return EXIT_DONE;
	op = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
	if (!op) {
		complain("line %jd: not a JSON object: %s", (intmax_t)number,
		         error.text);
		return EXIT_FAILED;
	}
	if (json_array_append_new(ops, op) < 0 ||
	    json_array_append_new(lines, json_integer(number)) < 0) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}

/* Make the request from the file's lines. */
static int request_make(const char *text, size_t len, bool dry_run,
                        json_t **ret_request)
{
	json_t *ops = json_array(), *lines = json_array();
	json_auto_t *request =
	        json_pack("{s:s, s:o, s:o, s:b}", "verb", "batch", "ops", ops,
	                  "lines", lines, "dry_run", dry_run);
	const char *end = text + len;
	int r = EXIT_DONE;

	if (!request) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	for (json_int_t number = 1; !r && text < end; number++) {
		const char *eol = memchr(text, '\n', (size_t)(end - text));

		if (!eol)
			eol = end;
		r = line_add(ops, lines, text, (size_t)(eol - text), number);
		text = eol + 1;
	}
	if (!r)
		*ret_request = steal(&request);
	return r;
}

/* ---- The verb ----------------------------------------------------------- */

/* Rows arrive after the whole batch: if it fails, none is printed. */
static int print_row(void *arg, json_t *row)
{
	struct printer *printer = arg;

	if (!printer->printed)
		printer_begin(printer);
	printer_row(printer, row);
	return ferror(stdout) ? -EPIPE : 0;
}

static int batch_run(const char *store, json_t *request,
                     struct printer *printer)
{
	struct store_access access;
	int r = store_access_open(&access, store, false), closed;

	if (r) {
		json_decref(request);
		return r;
	}
	r = store_access_call(&access, request, print_row, printer, NULL);
	if (!r && !printer->printed)
		printer_begin(printer);
	if (!r)
		printer_end(printer);
	closed = store_access_close(&access);
	return finish_output(MAX(r, closed));
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_free_ char *text = NULL;
	struct printer printer = {.fields = fields, .header = true};
	const char *store = NULL;
	bool dry_run = false;
	json_t *request = NULL;
	size_t len = 0;
	int r;
	const struct command_option options[] = {
	        {"dry-run", 'n', .flag = &dry_run},
	        {"json", .flag = &printer.json, .value = &printer.form},
	        {"script", 'H', .flag = &printer.tabs},
	        {"store", 's', .value = &store},
	        {0},
	};

	if (!command_parse(self, options, 1, 1, &argc, &argv, &r) ||
	    !printer_check(&printer, self, &r))
		return r;
	r = target_init(&target, store);
	target.careful = true;
	if (!r)
		r = target_store(&target);
	if (!r)
		r = file_read(argv[0], &text, &len);
	if (!r)
		r = request_make(text, len, dry_run, &request);
	return r ? r : batch_run(target.store, request, &printer);
}

const struct command command_batch = {
        .name = "batch",
        .args = "[-nH] [--json[=lines]] [-s STORE] FILE|-",
        .summary = "Do several operations on states, all or none",
        .help = "Each line of the file is a JSON object: an operation on "
                "states, and conditions\n"
                "under which it is done.  If one of them cannot be done, "
                "nothing changes.  The\n"
                "keys are in coppice-batch(1).\n"
                "\n"
                "  {\"op\": \"snap\", \"fork\": \"system\", \"name\": "
                "\"before-7.2\"}\n"
                "  {\"op\": \"swap\", \"name\": \"system\", \"with\": "
                "\"system@7.2\"}\n"
                "\n"
                "  -n, --dry-run      check all, change nothing\n"
                "  -H, --script       no titles; a tab between columns\n"
                "      --json[=lines] an array of objects, one a line; or only "
                "objects\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
