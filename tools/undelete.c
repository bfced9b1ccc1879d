/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice undelete: bring back states that were deleted. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "row.h"
#include "store_access.h"
#include "target.h"
#include "util.h"

static const struct field columns[] = {
        {"deleted", "DELETED", FIELD_TIME, -19},
        {"expires", "EXPIRES", FIELD_TIME, -19},
        {"number", "NUMBER", FIELD_COUNT, 8},
        {"frees", "HOLDS", FIELD_SIZE, 7},
        {"snapshots", "SNAPSHOTS", FIELD_COUNT, 9},
        {"name", "NAME", FIELD_NAME, 0},
        {0},
};

static const struct field json_fields[] = {
        {"name", "", FIELD_NAME, 0},
        {"snapshot", "", FIELD_BOOL, 0},
        {"number", "", FIELD_COUNT, 0},
        {"created", "", FIELD_TIME, 0},
        {"deleted", "", FIELD_TIME, 0},
        {"expires", "", FIELD_TIME, 0},
        {"inodes", "", FIELD_COUNT, 0},
        {"bytes", "", FIELD_SIZE, 0},
        {"frees", "", FIELD_SIZE, 0},
        {"snapshots", "", FIELD_COUNT, 0},
        {0},
};

struct undelete {
	struct printer printer;
	const char *store, *as, *number_text;
	uint64_t number; /* 0: by name */
	bool list;
};

static int print_row(void *arg, json_t *row)
{
	printer_row(arg, row);
	return ferror(stdout) ? -EPIPE : 0;
}

static int list_deleted(struct undelete *u, const char *store)
{
	struct printer *printer = &u->printer;
	int r;

	printer->fields = printer->json ? json_fields : columns;
	printer->header = true;
	printer_begin(printer);
	r = store_request(store, true, request_new("trash", NULL), print_row,
	                  printer, NULL);
	printer_end(printer);
	return finish_output(r);
}

/* Bring back one state.  name NULL: that with u->number. */
static int undelete_one(struct undelete *u, struct store_access *access,
                        const char *name)
{
	json_t *request =
	        request_new("undelete", "name", name, "as", u->as, NULL);
	json_auto_t *answer = NULL;
	_cleanup_free_ char *full = NULL;
	int r;

	if (request && u->number)
		json_object_set_new(request, "number",
		                    json_integer((json_int_t)u->number));
	r = store_access_call(access, request, NULL, NULL, &answer);
	if (!r && u->printer.json) {
		json_object_del(answer, "ok");
		printer_row(&u->printer, answer);
	} else if (!r && !answer_name(answer, "name", &full)) {
		puts(full);
	}
	return r;
}

static int undelete_states(struct undelete *u, const char *store, char **names)
{
	static const struct field fields[] = {
	        {"name", "", FIELD_NAME, 0},
	        {"number", "", FIELD_COUNT, 0},
	        {0},
	};
	struct store_access access;
	int code = store_access_open(&access, store, false), closed;

	if (code)
		return code;
	u->printer.fields = fields;
	if (u->printer.json)
		printer_begin(&u->printer);
	if (u->number)
		code = undelete_one(u, &access, NULL);
	for (; *names; names++) {
		int r = undelete_one(u, &access, *names);

		code = MAX(code, r);
	}
	if (u->printer.json)
		printer_end(&u->printer);
	closed = store_access_close(&access);
	return finish_output(MAX(code, closed));
}

static void free_strings(char ***strings)
{
	for (char **s = *strings; s && *s; s++)
		free(*s);
	free(*strings);
}

/*
 * Return the name that a deleted state had.  For a path in a mount, resolve the
 * directory above it, which still exists.
 */
static int deleted_name(struct target *target, const char *arg, char **ret_name)
{
	static const char snapdir[] = "/.snap";
	_cleanup_free_ char *parent = NULL, *fork = NULL;
	const char *slash = strrchr(arg, '/');
	size_t len = slash ? (size_t)(slash - arg) : 0;
	int r;

	if (*arg != '/' && *arg != '.') {
		*ret_name = strdup(arg);
		return *ret_name ? EXIT_DONE : EXIT_FAILED;
	}
	if (len < sizeof(snapdir) ||
	    strncmp(slash - sizeof(snapdir) + 1, snapdir, sizeof(snapdir) - 1))
		return target_new_fork(target, arg, ret_name);
	parent = strndup(arg, len - sizeof(snapdir) + 1);
	r = parent ? target_state(target, parent, true, &fork) : EXIT_FAILED;
	if (!r && asprintf(ret_name, "%s~%s", fork, slash + 1) < 0)
		r = EXIT_FAILED;
	return r;
}

static int undelete_run(struct undelete *u, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_(free_strings) char **names =
	        calloc((size_t)argc + 1, sizeof(*names));
	int r = names ? target_init(&target, u->store) : EXIT_FAILED;

	target.careful = !u->list;
	for (int i = 0; !r && i < argc; i++)
		r = deleted_name(&target, argv[i], &names[i]);
	if (!r)
		r = target_store(&target);
	if (r)
		return r;
	return u->list ? list_deleted(u, target.store)
	               : undelete_states(u, target.store, names);
}

static int number_read(struct undelete *u)
{
	char *end;

	if (!u->number_text)
		return 0;
	errno = 0;
	u->number = strtoull(u->number_text, &end, 10);
	return errno || *end || !u->number ||
	                       u->number_text[strspn(u->number_text,
	                                             "0123456789")]
	               ? -EINVAL
	               : 0;
}

static int run(const struct command *self, int argc, char **argv)
{
	struct undelete u = {0};
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &u.store},
	        {"list", 'l', .flag = &u.list},
	        {"as", .value = &u.as},
	        {"number", .value = &u.number_text},
	        {"json", .flag = &u.printer.json, .value = &u.printer.form},
	        {0},
	};

	if (!command_parse(self, options, 0, INT_MAX, &argc, &argv, &r) ||
	    !printer_check(&u.printer, self, &r))
		return r;
	if (number_read(&u))
		return command_usage(self,
		                     "--number takes the number of a state, "
		                     "not '%s'",
		                     u.number_text);
	if (u.list && (argc || u.as || u.number))
		return command_usage(self, "--list takes no states");
	if (!u.list && !argc == !u.number)
		return command_usage(self, u.number ? "give names or --number"
		                                    : "no state is given");
	if (u.as && argc > 1)
		return command_usage(self, "--as takes one state");
	return undelete_run(&u, argc, argv);
}

const struct command command_undelete = {
        .name = "undelete",
        .args = "[-s STORE] [--as NEW] [--json[=lines]] STATE...\n"
                "                        [-s STORE] [--as NEW] "
                "[--json[=lines]] --number N\n"
                "                        [-s STORE] [--json[=lines]] --list",
        .summary = "Bring deleted states back from the trash",
        .help = "Deleted states stay in the trash for the time that the mount "
                "option trash= has\n"
                "set, unless their space is needed before; by default there is "
                "no trash.  A fork\n"
                "comes back with its snapshots.  Prints the names.\n"
                "\n"
                "  -l, --list         list the states in the trash, with the "
                "space they hold\n"
                "      --as=NEW       under a new name; for a snapshot, "
                "without its\n"
                "                     fork's name, but a snapshot whose fork "
                "is deleted\n"
                "                     becomes the fork NEW\n"
                "      --number=N     the state with this number; a name means "
                "the one that\n"
                "                     was deleted last\n"
                "      --json[=lines] an array of objects, one a line; or only "
                "objects\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
