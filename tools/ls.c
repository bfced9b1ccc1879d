/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice ls: list a directory of a state. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>

#include "store_access.h"
#include "command.h"
#include "path_text.h"
#include "row.h"
#include "target.h"
#include "util.h"

static const struct field fields[] = {
        {"name", "", FIELD_NAME, 0},
        {"type", "", FIELD_NAME, 0},
        {"mode", "", FIELD_COUNT, 0},
        {"links", "", FIELD_COUNT, 0},
        {"uid", "", FIELD_COUNT, 0},
        {"gid", "", FIELD_COUNT, 0},
        {"size", "", FIELD_SIZE, 0},
        {"modified", "", FIELD_TIME, 0},
        {"inode", "", FIELD_COUNT, 0},
        {"target", "", FIELD_NAME, 0},
        {0},
};

struct output {
	struct printer printer;
	bool is_long;
	json_t *rows;
};

static json_int_t number_of(const json_t *row, const char *key)
{
	return json_integer_value(json_object_get(row, key));
}

static int keep_row(void *arg, json_t *row)
{
	struct output *out = arg;

	return json_array_append(out->rows, row) < 0 ? -ENOMEM : 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(row_text(*(json_t *const *)a, "name"),
	              row_text(*(json_t *const *)b, "name"));
}

/* Write the type and permissions, as ls(1) does. */
static void mode_text(const json_t *row, char text[11])
{
	static const char *const types[] = {
	        "file",   "directory",        "symlink",     "fifo",
	        "socket", "character device", "block device"};
	json_int_t mode = number_of(row, "mode");

	strcpy(text, "?rwxrwxrwx");
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (!strcmp(types[i], row_text(row, "type")))
			*text = "-dlpscb"[i];
	}
	for (int i = 0; i < 9; i++) {
		if (!(mode & 1 << (8 - i)))
			text[1 + i] = '-';
	}
	if (mode & 04000)
		text[3] = text[3] == 'x' ? 's' : 'S';
	if (mode & 02000)
		text[6] = text[6] == 'x' ? 's' : 'S';
	if (mode & 01000)
		text[9] = text[9] == 'x' ? 't' : 'T';
}

static void long_print(const json_t *row)
{
	const struct passwd *user = getpwuid((uid_t)number_of(row, "uid"));
	const struct group *group;
	char mode[11], owner[32], in[32];

	snprintf(owner, sizeof(owner), "%" JSON_INTEGER_FORMAT,
	         number_of(row, "uid"));
	if (user)
		snprintf(owner, sizeof(owner), "%s", user->pw_name);
	group = getgrgid((gid_t)number_of(row, "gid"));
	snprintf(in, sizeof(in), "%" JSON_INTEGER_FORMAT,
	         number_of(row, "gid"));
	if (group)
		snprintf(in, sizeof(in), "%s", group->gr_name);
	mode_text(row, mode);
	printf("%s %3" JSON_INTEGER_FORMAT " %-8s %-8s %12" JSON_INTEGER_FORMAT
	       " %.19sZ ",
	       mode, number_of(row, "links"), owner, in, number_of(row, "size"),
	       row_text(row, "modified"));
}

static void entry_print(struct output *out, json_t *row)
{
	char text[PATH_TEXT_MAX];

	if (out->printer.json) {
		printer_row(&out->printer, row);
		return;
	}
	if (out->is_long)
		long_print(row);
	fputs(path_text(json_object_get(row, "name"), false, text), stdout);
	if (out->is_long && !json_is_null(json_object_get(row, "target")))
		printf(" -> %s",
		       path_text(json_object_get(row, "target"), false, text));
	putchar('\n');
}

static int print(struct output *out)
{
	size_t count = json_array_size(out->rows);
	_cleanup_free_ json_t **rows = calloc(count + 1, sizeof(*rows));

	if (!rows)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		rows[i] = json_array_get(out->rows, i);
	qsort(rows, count, sizeof(*rows), compare);
	if (out->printer.json)
		printer_begin(&out->printer);
	for (size_t i = 0; i < count; i++)
		entry_print(out, rows[i]);
	if (out->printer.json)
		printer_end(&out->printer);
	return 0;
}

static int ls(struct output *out, const char *store, const char *arg)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_free_ char *state = NULL, *path = NULL;
	int r = target_init(&target, store);

	if (!r)
		r = target_path(&target, arg, &state, &path);
	if (!r)
		r = target_store(&target);
	if (!r)
		r = store_request(
		        target.store, true,
		        request_new("ls", "state", state, "path", path, NULL),
		        keep_row, out, NULL);
	if (r)
		return r;
	if (print(out) < 0) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	return finish_output(EXIT_DONE);
}

static int run(const struct command *self, int argc, char **argv)
{
	struct output out = {.printer.fields = fields};
	const char *store = NULL;
	int code;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"long", 'l', .flag = &out.is_long},
	        {"json", .flag = &out.printer.json, .value = &out.printer.form},
	        {0},
	};

	if (!command_parse(self, options, 1, 1, &argc, &argv, &code) ||
	    !printer_check(&out.printer, self, &code))
		return code;
	out.rows = json_array();
	code = ls(&out, store, argv[0]);
	json_decref(out.rows);
	return code;
}

const struct command command_ls = {
        .name = "ls",
        .args = "[-s STORE] [-l] [--json[=lines]] STATE:/PATH",
        .summary = "List a directory of a state",
        .help = "Prints the names in the directory, sorted; for anything else, "
                "its own name.  A\n"
                "path in a mount can be given, too.\n"
                "\n"
                "  -l, --long         with permissions, number of links, "
                "owner, group, size\n"
                "                     and modification time (UTC)\n"
                "      --json[=lines] an array of objects, one a line; or only "
                "objects\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
