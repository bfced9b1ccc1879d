/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice export: make a directory what a state is. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>

#include "command.h"
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
	int top;
	struct import_progress progress;
};

static const struct field fields[] = {
        {"name", "name", FIELD_NAME, 0},
        {"files", "files", FIELD_COUNT, 0},
        {"directories", "directories", FIELD_COUNT, 0},
        {"bytes", "bytes", FIELD_SIZE, 0},
        {"failed", "failed", FIELD_COUNT, 0},
        {0},
};

static bool is_empty(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	bool empty = stream;

	if (!stream)
		close_fd(&fd);
	while (empty && (d = readdir(stream)))
		empty = !strcmp(d->d_name, ".") || !strcmp(d->d_name, "..");
	if (stream)
		closedir(stream);
	return empty;
}

/* Open the target, which is made or must be empty.  *ret_made: it was made. */
static int target_open(struct export *ex, const char *path, bool *ret_made)
{
	*ret_made = mkdir(path, 0700) == 0;
	if (!*ret_made && errno != EEXIST) {
		complain("cannot make '%s': %s", path, strerror(errno));
		return EXIT_FAILED;
	}
	ex->top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ex->top < 0) {
		complain("cannot open '%s': %s", path, strerror(errno));
		return EXIT_FAILED;
	}
	if (is_empty(ex->top))
		return EXIT_DONE;
	complain("cannot export to '%s': it is not empty", path);
	return EXIT_FAILED;
}

static int files_make(void *arg, int socket)
{
	struct export *ex = arg;

	return export_target_make(ex->top, socket, &ex->progress);
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
	/* All that was sent is read. */
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

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_free_ char *state = NULL, *path = NULL;
	const char *store = NULL, *to = NULL;
	struct printer printer = {.fields = fields, .json = true};
	struct export ex = {.top = -1};
	json_auto_t *answer = NULL;
	bool made = false, sync = false, progress = false, json = false;
	_cleanup_(path_filter_release) struct path_filter filter = {0};
	struct option_list rules = {0};
	json_t *request;
	int r;
	const struct command_option options[] = {
	        {"to", .value = &to},
	        {"exclude", .list = &rules},
	        {"include", .list = &rules},
	        {"exclude-from", .list = &rules},
	        {"include-from", .list = &rules},
	        {"filter", 'f', .list = &rules},
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
	r = filter_options_read(&rules, &filter);
	if (!r)
		r = target_init(&target, store);
	if (!r)
		r = target_path(&target, argv[0], &state, &path);
	if (!r)
		r = target_store(&target);
	if (!r)
		r = target_open(&ex, to, &made);
	if (!r) {
		request = request_new("export", "name", state, "path", path,
		                      NULL);
		json_object_set_new(request, "rules",
		                    filter_options_json(&filter));
		r = export_run(&ex, target.store, request,
		               progress || isatty(STDERR_FILENO), &answer);
	}
	if (!r && sync && syncfs(ex.top) < 0) {
		complain("cannot sync '%s': %s", to, strerror(errno));
		r = EXIT_FAILED;
	}
	close_fd(&ex.top);
	/* Only a directory that has stayed empty goes. */
	if (r && made)
		rmdir(to);
	if (json && answer) {
		json_object_set_new(
		        answer, "failed",
		        json_integer((json_int_t)ex.progress.failed));
		printer_object(&printer, answer);
	}
	return finish_output(r);
}

const struct command command_export = {
        .name = "export",
        .args = "[OPTION]... --to=DIR STATE[:/PATH]",
        .summary = "Write a state to a directory, without the mount",
        .help = "DIR, which is made or must be empty, gets what is in STATE, "
                "or in the directory\n"
                "PATH of it, as of one instant: contents, owners, modes, "
                "times, attributes, ACLs,\n"
                "hard links and holes.\n"
                "\n"
                "      --to=DIR           the directory to be filled\n"
                "      --exclude=PATTERN  leave out what matches, as rsync "
                "does\n"
                "      --include=PATTERN  do not\n"
                "      --exclude-from=FILE, --include-from=FILE\n"
                "                         read patterns, one a line\n"
                "  -f, --filter=RULE      '- PATTERN', '+ PATTERN' or '!'\n"
                "      --fsync            sync DIR's file system at the end\n"
                "      --progress         show it where there is no "
                "terminal, too\n"
                "      --json             print an object that sums up\n"
                "  -s, --store=STORE      the store's directory\n",
        .run = run,
};
