/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice export: write a state's files to a directory. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>

#include "command.h"
#include "export_delete.h"
#include "export_target.h"
#include "filter_options.h"
#include "import_meter.h"
#include "row.h"
#include "store_access.h"
#include "target.h"
#include "transfer.h"
#include "util.h"

struct export
{
	int top;   /* -1: missing, in a dry run */
	bool made; /* this process made the directory */
	struct export_options options;
	struct export_report report;
	struct import_progress progress;
};

static const struct field fields[] = {
        {"name", "name", FIELD_NAME, 0},
        {"files", "files", FIELD_COUNT, 0},
        {"directories", "directories", FIELD_COUNT, 0},
        {"bytes", "bytes", FIELD_SIZE, 0},
        {"added", "added", FIELD_COUNT, 0},
        {"changed", "changed", FIELD_COUNT, 0},
        {"deleted", "deleted", FIELD_COUNT, 0},
        {"bytes_written", "bytes written", FIELD_SIZE, 0},
        {"failed", "failed", FIELD_COUNT, 0},
        {0},
};

/* Open the target; make it if it does not exist, except in a dry run. */
static int top_open(struct export *ex, const char *path)
{
	bool dry_run = ex->options.dry_run;

	ex->made = !dry_run && mkdir(path, 0700) == 0;
	if (!ex->made && !dry_run && errno != EEXIST) {
		complain("cannot make '%s': %s", path, strerror(errno));
		return EXIT_FAILED;
	}
	ex->top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ex->top >= 0 || (dry_run && errno == ENOENT))
		return EXIT_DONE;
	complain("cannot open '%s': %s", path, strerror(errno));
	return EXIT_FAILED;
}

/* Open the target, and check that it is new, empty or may be overwritten. */
static int target_open(struct export *ex, const char *path, const char *store)
{
	struct export_options *o = &ex->options;
	struct stat st;
	int r = top_open(ex, path);

	if (r)
		return r;
	if (ex->top < 0 || dir_is_empty(ex->top)) {
		/* There are no files to compare with. */
		o->overwrite = false;
	} else if (!o->overwrite) {
		complain("cannot export to '%s': it is not empty, and there is "
		         "no --overwrite",
		         path);
		return EXIT_FAILED;
	}
	o->ask = o->overwrite || o->dry_run;
	if (stat(store, &st) < 0)
		return EXIT_DONE;
	o->store_dev = st.st_dev;
	o->store_ino = st.st_ino;
	if (ex->top < 0 || fstat(ex->top, &st) < 0 ||
	    st.st_dev != o->store_dev || st.st_ino != o->store_ino)
		return EXIT_DONE;
	complain("cannot export to '%s': it is the store", path);
	return EXIT_FAILED;
}

static int files_make(void *arg, int socket)
{
	struct export *ex = arg;

	return export_target_make(ex->top, &ex->options, socket, &ex->report);
}

static int export_run(struct export *ex, const char *store, json_t *request,
                      bool meter, json_t **ret_answer)
{
	json_auto_t *owned = request;
	struct store_access access;
	struct transfer transfer;
	struct import_meter m;
	int closed, r = store_access_open(&access, store, true);

	if (r)
		return r;
	r = transfer_begin(&transfer, files_make, ex);
	if (r) {
		store_access_close(&access);
		return r;
	}
	if (meter)
		meter_start(&m, &ex->progress, -1, NULL);
	r = store_access_export(&access, owned, &transfer.there, ret_answer);
	/* Wait until everything that was sent is read. */
	transfer_end(&transfer, r);
	if (meter)
		meter_stop(&m);
	closed = store_access_close(&access);
	if (!r && transfer.error && !ex->progress.failed)
		complain("cannot make the files: %s",
		         strerror(-transfer.error));
	if (!r && (transfer.error || ex->progress.failed))
		r = EXIT_FAILED;
	return r ? r : closed;
}

static json_t *export_request(const struct export *ex, const char *state,
                              const char *path)
{
	json_t *request =
	        request_new("export", "name", state, "path", path, NULL);

	json_object_set_new(request, "ask", json_boolean(ex->options.ask));
	json_object_set_new(request, "rules",
	                    filter_options_json(ex->options.filter));
	return request;
}

static void summary_print(const struct export *ex, json_t *answer)
{
	struct printer printer = {.fields = fields, .json = true};
	const struct export_counts *n = &ex->report.counts;
	const struct {
		const char *key;
		uint64_t value;
	} counts[] = {
	        {"added", n->added},
	        {"changed", n->changed},
	        {"deleted", n->deleted},
	        {"bytes_written", n->bytes},
	        {"failed", ex->progress.failed},
	};

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		json_object_set_new(answer, counts[i].key,
		                    json_integer((json_int_t)counts[i].value));
	printer_object(&printer, answer);
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_free_ char *state = NULL, *path = NULL;
	const char *store = NULL, *to = NULL;
	struct export ex = {.top = -1};
	struct export_options *o = &ex.options;
	json_auto_t *answer = NULL;
	bool sync = false, progress = false, json = false, verbose = false;
	_cleanup_(path_filter_release) struct path_filter filter = {0};
	struct option_list rules = {0};
	int r;
	const struct command_option options[] = {
	        {"to", .value = &to},
	        FILTER_OPTIONS(&rules),
	        {"overwrite", .flag = &o->overwrite},
	        {"delete", .flag = &o->delete},
	        {"checksum", 'c', .flag = &o->checksum},
	        {"dry-run", 'n', .flag = &o->dry_run},
	        {"verbose", 'v', .flag = &verbose},
	        {"fsync", .flag = &sync},
	        {"progress", .flag = &progress},
	        {"json", .flag = &json},
	        {"store", 's', .value = &store},
	        {0},
	};

	if (!command_parse(self, options, 1, 1, &argc, &argv, &r))
		return r;
	if (!to)
		return command_usage(self, "--to is missing");
	if (o->delete && !o->overwrite)
		return command_usage(self, "--delete goes with --overwrite");
	r = filter_options_read(&rules, &filter);
	if (!r)
		r = target_init(&target, store);
	if (!r)
		r = target_path(&target, argv[0], &state, &path);
	if (!r)
		r = target_store(&target);
	if (!r)
		r = target_open(&ex, to, target.store);
	o->filter = &filter;
	ex.report.progress = &ex.progress;
	ex.report.list = (verbose || o->dry_run) && !json;
	if (!r)
		r = export_run(&ex, target.store,
		               export_request(&ex, state, path),
		               progress || isatty(STDERR_FILENO), &answer);
	if (!r && sync && ex.top >= 0 && syncfs(ex.top) < 0) {
		complain("cannot sync '%s': %s", to, strerror(errno));
		r = EXIT_FAILED;
	}
	close_fd(&ex.top);
	/* After an error, remove the new directory if it is empty. */
	if (r && ex.made)
		rmdir(to);
	if (json && answer)
		summary_print(&ex, answer);
	return finish_output(r);
}

const struct command command_export = {
        .name = "export",
        .args = "[OPTION]... --to=DIR STATE[:/PATH]",
        .summary = "Write a state to a directory, without the mount",
        .help = "Writes what is in STATE, or in the directory PATH of it, to "
                "DIR, which is made\n"
                "or must be empty; with --overwrite, writes only what differs "
                "in DIR.  STATE is\n"
                "read as of one instant.  Contents, owners, modes, times, "
                "attributes, ACLs, hard\n"
                "links and holes are kept.\n"
                "\n"
                "      --to=DIR           the directory to be "
                "filled\n" FILTER_OPTIONS_HELP
                "      --overwrite        replace what differs by size, mtime "
                "or attributes\n"
                "      --delete           delete what STATE does not have\n"
                "  -c, --checksum         compare contents, too\n"
                "  -n, --dry-run          print what would change, as 'diff' "
                "does\n"
                "  -v, --verbose          print what has changed\n"
                "      --fsync            sync DIR's file system at the end\n"
                "      --progress         show progress even if stderr is not "
                "a terminal\n"
                "      --json             print an object with the totals\n"
                "  -s, --store=STORE      the store's directory\n",
        .run = run,
};
