/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * coppice compact: return the free space in a store's file to the disk.
 *
 * The verb runs in this process, which alone has the store open.  Pending
 * deletions are carried out first.  The new file is in a directory below the
 * store's until it replaces the old one.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "store_access.h"
#include "command.h"
#include "escaped_name.h"
#include "row.h"
#include "size.h"
#include "stopping.h"
#include "target.h"
#include "util.h"

static const struct field fields[] = {
        {"path", "Path", FIELD_NAME, 0},
        {"before", "Before", FIELD_SIZE, 0},
        {"after", "After", FIELD_SIZE, 0},
        {"done", "Done", FIELD_BOOL, 0},
        {0},
};

struct compact {
	const char *path;
	bool dry_run, json;
	bool terminal; /* progress is shown, in a line that is overwritten */
	int64_t last;  /* mono_ns() of the last report */
	struct compact_space space;
	uint64_t after;
};

static int on_progress(void *arg, uint64_t done, uint64_t all)
{
	struct compact *compact = arg;
	int64_t now = mono_ns();

	if (stopping_signal())
		return -EINTR;
	if (!compact->terminal || now - compact->last < 200000000)
		return 0;
	compact->last = now;
	fprintf(stderr, "\r\033[Kcompacting: %d%%",
	        all ? (int)(100.0 * (double)done / (double)all) : 0);
	return 0;
}

static int fail(const struct compact *compact, int err)
{
	const char *reason = strerror(-err);

	switch (err) {
	case -EUCLEAN:
		reason = "it is damaged (see 'coppice check'); nothing was "
		         "changed";
		break;
	case -ENOSPC:
		reason = "its disk is full; nothing was changed";
		break;
	case -EPROTONOSUPPORT:
		reason = "a later version has written things that this one "
		         "does not know";
		break;
	case -EINTR:
		reason = "interrupted; nothing was changed";
		break;
	default:
		break;
	}
	complain("cannot compact '%s': %s", compact->path, reason);
	return err == -EUCLEAN ? EXIT_DAMAGE : EXIT_FAILED;
}

/* Carry out pending deletions, and commit everything. */
static int settle(struct store *store)
{
	struct forest *forest;
	int r = forest_open(store, &forest);

	if (r < 0)
		return r;
	r = forest_drain(forest);
	forest_close(forest);
	return r ? r : store_settle(store);
}

/* Complain if the new file might not fit the disk. */
static int space_check(const struct compact *compact)
{
	char needed[SIZE_TEXT_MAX], available[SIZE_TEXT_MAX];

	if (compact->space.needed <= compact->space.available)
		return EXIT_DONE;
	size_format(compact->space.needed, needed);
	size_format(compact->space.available, available);
	complain("cannot compact '%s': the new file needs up to %s on its "
	         "disk, where %s is free",
	         compact->path, needed, available);
	return EXIT_FAILED;
}

static int compact_open(struct compact *compact, struct store *store)
{
	const struct copy_options options = {on_progress, compact};
	int r = settle(store);

	if (!r)
		r = store_compact_need(store, &compact->space);
	if (r < 0)
		return fail(compact, r);
	r = space_check(compact);
	if (r || compact->dry_run) {
		compact->after = compact->space.needed;
		return r;
	}
	stopping_catch();
	r = store_compact(store, &options, &compact->after);
	if (compact->last)
		fputs("\r\033[K", stderr);
	return r ? fail(compact, r) : EXIT_DONE;
}

static void print_result(const struct compact *compact)
{
	struct printer printer = {.fields = fields, .json = true};
	char before[SIZE_TEXT_MAX], after[SIZE_TEXT_MAX];
	json_auto_t *row = NULL;

	if (compact->json) {
		row = json_pack("{s:o, s:I, s:I, s:b}", "path",
		                name_escape(compact->path), "before",
		                (json_int_t)compact->space.before, "after",
		                (json_int_t)compact->after, "done",
		                !compact->dry_run);
		printer_object(&printer, row);
		return;
	}
	size_format(compact->space.before, before);
	size_format(compact->after, after);
	if (compact->dry_run)
		printf("the file has %s; the new one would have up to %s\n",
		       before, after);
	else
		printf("the file had %s; it has %s now\n", before, after);
}

static int compact_store(struct compact *compact)
{
	const struct store_options options = {0};
	struct store *store;
	int closed, r, socket;

	r = daemon_client_connect(compact->path, &socket);
	if (!r) {
		close(socket);
		r = -EBUSY;
	} else if (r == -ENOENT) {
		r = store_open(compact->path, &options, &store);
	}
	if (r == -EBUSY) {
		complain("cannot compact '%s': it is mounted or in use; "
		         "unmount it first",
		         compact->path);
		return EXIT_FAILED;
	}
	if (r)
		return store_complain("compact", compact->path, r);
	r = compact_open(compact, store);
	closed = store_close(store);
	if (!r && closed)
		r = fail(compact, closed);
	if (!r)
		print_result(compact);
	else if (stopping_signal())
		raise(stopping_signal());
	return finish_output(r);
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	struct compact compact = {.terminal = isatty(STDERR_FILENO)};
	const char *store = NULL;
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"dry-run", 'n', .flag = &compact.dry_run},
	        {"json", .flag = &compact.json},
	        {0},
	};

	if (!command_parse(self, options, 0, 1, &argc, &argv, &r))
		return r;
	if (store && argc)
		return command_usage(self, NULL);
	if (argc)
		store = argv[0];
	r = target_init(&target, store);
	if (!r)
		r = target_store(&target);
	if (r)
		return r;
	compact.path = target.store;
	return compact_store(&compact);
}

const struct command command_compact = {
        .name = "compact",
        .args = "[-n] [--json] [STORE]",
        .summary = "Give freed space back to the disk",
        .help = "Writes a new file for the store, without the free space in "
                "the old one, and\n"
                "replaces the old one by it.  The store must not be mounted, "
                "and its disk needs\n"
                "space for the new file.\n"
                "\n"
                "  -n, --dry-run      only print the sizes\n"
                "      --json         an object with the sizes\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
