/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice import: mirror a directory into a state. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>

#include "command.h"
#include "diff_line.h"
#include "escaped_name.h"
#include "filter_options.h"
#include "import_meter.h"
#include "import_source.h"
#include "row.h"
#include "store_access.h"
#include "target.h"
#include "transfer.h"
#include "util.h"

enum { TRIES = 3 }; /* attempts while the state is being written to */

struct import {
	struct path_filter filter;
	struct import_options options;
	struct import_progress progress;
	int top;
	bool json;
};

static const struct field fields[] = {
        {"name", "name", FIELD_NAME, 0},
        {"files", "files", FIELD_COUNT, 0},
        {"directories", "directories", FIELD_COUNT, 0},
        {"bytes", "bytes", FIELD_SIZE, 0},
        {"added", "added", FIELD_COUNT, 0},
        {"changed", "changed", FIELD_COUNT, 0},
        {"deleted", "deleted", FIELD_COUNT, 0},
        {"bytes_read", "bytes read", FIELD_SIZE, 0},
        {"bytes_new", "bytes new", FIELD_SIZE, 0},
        {"failed", "failed", FIELD_COUNT, 0},
        {0},
};

static void import_release(struct import *im)
{
	path_filter_release(&im->filter);
	close_fd(&im->top);
}

static int top_open(struct import *im, const char *dir)
{
	im->top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (im->top >= 0)
		return EXIT_DONE;
	complain("cannot open '%s': %s", dir, strerror(errno));
	return EXIT_FAILED;
}

static int print_row(void *arg, json_t *row)
{
	static const struct diff_style style;
	struct import *im = arg;

	if (im->json)
		return 0;
	diff_line_print(&style, row);
	return ferror(stdout) ? -EPIPE : 0;
}

static int tree_send(void *arg, int socket)
{
	struct import *im = arg;

	return import_source_send(im->top, &im->options, &im->progress, socket);
}

/* Run the request once, with a thread that sends the source. */
static int import_once(struct import *im, struct store_access *access,
                       json_t *request, json_t **ret_answer, bool *ret_again)
{
	struct transfer transfer;
	int err, r;

	*ret_again = false;
	memset(&im->progress, 0, sizeof(im->progress));
	r = transfer_begin(&transfer, tree_send, im);
	if (r)
		return r;
	r = store_access_import(access, request, &transfer.there, print_row, im,
	                        ret_answer, ret_again);
	transfer_end(&transfer, true);
	err = transfer.error;
	if (err && err != -EPIPE && err != -ECONNRESET)
		complain("cannot send the source: %s", strerror(-err));
	return r;
}

static int import_run(struct import *im, const char *store, json_t *request,
                      bool meter, json_t **ret_answer)
{
	json_auto_t *owned = request;
	struct store_access access;
	struct import_meter m;
	struct stat st;
	bool again = true;
	int r = store_access_open(&access, store, false), closed;

	if (r)
		return r;
	if (!stat(store, &st)) {
		im->options.store_dev = st.st_dev;
		im->options.store_ino = st.st_ino;
	}
	for (int try = 1; again && try <= TRIES; try++) {
		if (meter)
			meter_start(&m, &im->progress, im->top, &im->options);
		r = import_once(im, &access, owned, ret_answer, &again);
		if (meter)
			meter_stop(&m);
	}
	if (!r && again) {
		complain("the state is being written to, and was not changed");
		r = EXIT_FAILED;
	}
	closed = store_access_close(&access);
	return r ? r : closed;
}

static int summary(struct import *im, json_t *answer)
{
	struct printer printer = {.fields = fields, .json = true};
	const struct import_progress *p = &im->progress;
	uint64_t failed =
	        p->failed +
	        (uint64_t)json_integer_value(json_object_get(answer, "in_way"));

	const struct {
		const char *key;
		uint64_t value;
	} counts[] = {
	        {"files", p->files},
	        {"directories", p->dirs},
	        {"bytes", p->size},
	        {"failed", failed},
	};

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		json_object_set_new(answer, counts[i].key,
		                    json_integer((json_int_t)counts[i].value));
	if (im->json)
		printer_object(&printer, answer);
	return failed ? EXIT_FAILED : EXIT_DONE;
}

/* The options that are sent to the store. */
struct wishes {
	const char *snapshot;
	bool checksum, ignore_ctime, no_delete, delete_excluded, list;
};

static json_t *import_request(const struct import *im, const char *state,
                              const char *path, const struct wishes *w)
{
	json_t *request = request_new("import", "name", state, "path", path,
	                              "snapshot", w->snapshot, NULL);
	const struct {
		const char *key;
		bool value;
	} flags[] = {
	        {"checksum", w->checksum},
	        {"ignore_ctime", w->ignore_ctime},
	        {"no_delete", w->no_delete},
	        {"delete_excluded", w->delete_excluded},
	        {"dry_run", im->options.dry_run},
	        {"list", w->list},
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		json_object_set_new(request, flags[i].key,
		                    json_boolean(flags[i].value));
	json_object_set_new(request, "rules", filter_options_json(&im->filter));
	return request;
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_(import_release) struct import im = {.top = -1};
	_cleanup_free_ char *state = NULL, *path = NULL;
	const char *store = NULL, *from = NULL;
	bool progress = false, verbose = false, json = false;
	struct option_list rules = {0};
	json_auto_t *answer = NULL;
	struct wishes w = {0};
	int r;
	const struct command_option options[] = {
	        {"from", .value = &from},
	        {"snapshot", .value = &w.snapshot},
	        FILTER_OPTIONS(&rules),
	        {"one-file-system", 'x', .flag = &im.options.one_file_system},
	        {"checksum", 'c', .flag = &w.checksum},
	        {"ignore-ctime", .flag = &w.ignore_ctime},
	        {"no-delete", .flag = &w.no_delete},
	        {"delete-excluded", .flag = &w.delete_excluded},
	        {"dry-run", 'n', .flag = &im.options.dry_run},
	        {"verbose", 'v', .flag = &verbose},
	        {"progress", .flag = &progress},
	        {"json", .flag = &json},
	        {"store", 's', .value = &store},
	        {0},
	};

	if (!command_parse(self, options, 1, 1, &argc, &argv, &r))
		return r;
	if (!from)
		return command_usage(self, "--from is missing");
	im.json = json;
	w.list = (verbose || im.options.dry_run) && !json;
	r = filter_options_read(&rules, &im.filter);
	if (!r)
		r = target_init(&target, store);
	if (!r)
		r = target_path(&target, argv[0], &state, &path);
	if (!r)
		r = target_store(&target);
	if (!r)
		r = top_open(&im, from);
	if (r)
		return r;
	im.options.filter = &im.filter;
	im.options.whole = !path[strspn(path, "/")];
	im.options.superuser = !geteuid();
	r = import_run(&im, target.store, import_request(&im, state, path, &w),
	               progress || isatty(STDERR_FILENO), &answer);
	if (!r)
		r = summary(&im, answer);
	return finish_output(r);
}

const struct command command_import = {
        .name = "import",
        .args = "[OPTION]... --from=DIR STATE[:/PATH]",
        .summary = "Mirror a directory into a state, without the mount",
        .help = "Makes STATE, or the directory PATH in it, equal to DIR in one "
                "step: what is not\n"
                "in DIR is deleted.  Files whose size, mtime and ctime have "
                "not changed since the\n"
                "last import are not read.  STATE is made if it does not "
                "exist.\n"
                "\n"
                "      --from=DIR         the directory to be read\n"
                "      --snapshot=NAME    make this snapshot of the "
                "result\n" FILTER_OPTIONS_HELP
                "      --delete-excluded  delete excluded files of the state\n"
                "      --no-delete        do not delete what DIR does not "
                "have\n"
                "  -x, --one-file-system  do not enter other file systems\n"
                "  -c, --checksum         read all files\n"
                "      --ignore-ctime     compare only size and mtime\n"
                "  -n, --dry-run          print what would change, as 'diff' "
                "does\n"
                "  -v, --verbose          print what has changed\n"
                "      --progress         show progress even if stderr is not "
                "a terminal\n"
                "      --json             print an object with the totals\n"
                "  -s, --store=STORE      the store's directory\n",
        .run = run,
};
