/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice diff: show the differences between two states. */
#include <errno.h>
#include <stdio.h>

#include "store_access.h"
#include "command.h"
#include "diff_line.h"
#include "escaped_name.h"
#include "patch.h"
#include "row.h"
#include "size.h"
#include "target.h"
#include "util.h"

enum { PATHS_MAX = 1000 };

struct output {
	struct printer printer;
	struct diff_style style;
	bool stat, patch;
	struct patch patches;
	unsigned long rows;
	unsigned long counts[4]; /* of the letters in `letters` */
	uint64_t grown, shrunk;  /* bytes */
	int err;
};

static const char letters[] = "M+-R";

/* ---- Sizes -------------------------------------------------------------- */

static const char *size_text(const json_t *size, char text[SIZE_TEXT_MAX])
{
	if (!json_is_integer(size))
		return "-";
	size_format((uint64_t)json_integer_value(size), text);
	return text;
}

static void stat_print(struct output *out, const json_t *row)
{
	const json_t *size = json_object_get(row, "size");
	const json_t *old = json_object_get(row, "old_size");
	json_int_t more = json_integer_value(size) - json_integer_value(old);
	uint64_t change = (uint64_t)(more < 0 ? -more : more);
	char a[SIZE_TEXT_MAX], b[SIZE_TEXT_MAX], by[SIZE_TEXT_MAX];

	*(more < 0 ? &out->shrunk : &out->grown) += change;
	printf(" %s ", row_text(row, "op"));
	diff_paths_print(&out->style, row);
	size_format(change, by);
	if (json_is_null(size) && json_is_null(old))
		printf(" |\n");
	else
		printf(" | %s -> %s (%c%s)\n", size_text(old, a),
		       size_text(size, b), more < 0 ? '-' : '+', by);
}

static void stat_end(const struct output *out)
{
	char grown[SIZE_TEXT_MAX], shrunk[SIZE_TEXT_MAX];

	size_format(out->grown, grown);
	size_format(out->shrunk, shrunk);
	printf(" %lu modified, %lu added, %lu removed, %lu renamed; +%s -%s\n",
	       out->counts[0], out->counts[1], out->counts[2], out->counts[3],
	       grown, shrunk);
}

/* ---- The verb ----------------------------------------------------------- */

static int on_row(void *arg, json_t *row)
{
	struct output *out = arg;
	const char *letter = strchr(letters, *row_text(row, "op"));

	if (*row_text(row, "op") && letter) {
		out->counts[letter - letters]++;
		out->rows++;
	}
	if (out->patch)
		out->err = patch_row(&out->patches, row);
	else if (out->printer.json)
		printer_row(&out->printer, row);
	else if (out->stat)
		stat_print(out, row);
	else
		diff_line_print(&out->style, row);
	if (out->err)
		return out->err;
	/* The reader of a pipe may close it early. */
	return ferror(stdout) ? -EPIPE : 0;
}

/* Return the request; NULL after a message. */
static json_t *request_make(struct target *target, const struct output *out,
                            bool all, int argc, char **argv)
{
	_cleanup_free_ char *a = NULL, *b = NULL, *a_path = NULL,
	                    *b_path = NULL;
	json_auto_t *request = NULL;
	json_t *paths = json_array();

	if (target_path(target, argv[0], &a, &a_path) ||
	    target_path(target, argv[1], &b, &b_path)) {
		json_decref(paths);
		return NULL;
	}
	if (strcmp(a_path, b_path)) {
		complain("'%s' and '%s' are not the same path in two states",
		         argv[0], argv[1]);
		json_decref(paths);
		return NULL;
	}
	for (int i = 2; i < argc; i++) {
		_cleanup_free_ char *path = NULL;

		if (asprintf(&path, "%s/%s", strcmp(a_path, "/") ? a_path : "",
		             argv[i] + strspn(argv[i], "/")) >= 0)
			json_array_append_new(paths, name_escape(path));
	}
	if (argc == 2 && strcmp(a_path, "/"))
		json_array_append_new(paths, name_escape(a_path));
	request = request_new("diff", "a", a, "b", b, NULL);
	if (!request || json_object_set_new(request, "paths", paths) < 0 ||
	    json_object_set_new(request, "all", json_boolean(all)) < 0 ||
	    json_object_set_new(request, "patch", json_boolean(out->patch)) <
	            0) {
		complain("out of memory");
		return NULL;
	}
	return steal(&request);
}

static int diff(struct output *out, const char *store, bool all, int argc,
                char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	json_t *request;
	int r = target_init(&target, store);

	if (r)
		return EXIT_TROUBLE;
	request = request_make(&target, out, all, argc, argv);
	if (!request)
		return EXIT_TROUBLE;
	if (target_store(&target)) {
		json_decref(request);
		return EXIT_TROUBLE;
	}
	if (out->printer.json)
		printer_begin(&out->printer);
	r = store_request(target.store, true, request, on_row, out, NULL);
	if (!r && out->patch)
		r = patch_end(&out->patches);
	if (out->printer.json)
		printer_end(&out->printer);
	else if (!r && out->stat && out->rows)
		stat_end(out);
	patch_release(&out->patches);
	if (finish_output(r) || r)
		return EXIT_TROUBLE;
	return out->rows ? EXIT_DIFFERS : EXIT_SAME;
}

static int run(const struct command *self, int argc, char **argv)
{
	struct output out = {.printer.fields = diff_fields};
	const char *store = NULL;
	bool all = false;
	int code;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"all", 'a', .flag = &all},
	        {"types", 'F', .flag = &out.style.types},
	        {"times", 't', .flag = &out.style.times},
	        {"tabs", 'H', .flag = &out.style.tabs},
	        {"null", 'z', .flag = &out.style.raw},
	        {"name-only", .flag = &out.style.names},
	        {"stat", .flag = &out.stat},
	        {"patch", 'p', .flag = &out.patch},
	        {"json", .flag = &out.printer.json, .value = &out.printer.form},
	        {0},
	};

	if (!command_parse(self, options, 2, PATHS_MAX, &argc, &argv, &code) ||
	    !printer_check(&out.printer, self, &code))
		return code;
	if (out.printer.json + out.stat + out.patch + out.style.names > 1)
		return command_usage(self, "--json, --stat, --patch and "
		                           "--name-only exclude each other");
	return diff(&out, store, all, argc, argv);
}

const struct command command_diff = {
        .name = "diff",
        .args = "[-s STORE] [-aFtHz]\n"
                "               [--stat | --patch | --name-only | "
                "--json[=lines]] A B [PATH]...",
        .summary = "Show what differs between two states",
        .help = "Prints the changes that lead from the state A to the state B, "
                "which can be any\n"
                "two; with PATH, only those at or below that path.  A and B "
                "can also be\n"
                "STATE:/PATH or paths in a mount, both with the same path.  "
                "Each line has a\n"
                "letter and a path: M modified, + added, - removed, R renamed. "
                " Exits with 0 if\n"
                "nothing differs, 1 if something differs, 2 on trouble.\n"
                "\n"
                "  -a, --all          also list files of which only the "
                "modification time\n"
                "                     differs, and directories of which that "
                "or the entries\n"
                "                     differ\n"
                "  -F, --types        print the type after the letter: F / @ | "
                "= C B\n"
                "  -t, --times        print the change time first\n"
                "  -H, --tabs         print a tab instead of the arrow of R\n"
                "  -z, --null         print names as they are, and a NUL after "
                "each\n"
                "      --name-only    print only paths\n"
                "      --stat         print sizes, and a summary\n"
                "  -p, --patch        print a unified diff of text files, by "
                "diff(1)\n"
                "      --json[=lines] an array of objects, one a line; or only "
                "objects\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
