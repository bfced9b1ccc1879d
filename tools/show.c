/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice show: print the fields of one state. */
#include "store_access.h"
#include "command.h"
#include "target.h"
#include "state_row.h"
#include "util.h"

const struct field state_fields[] = {
        {"name", "Name", FIELD_NAME, 0},
        {"fork", "Of fork", FIELD_NAME, 0},
        {"snapshot", "Snapshot", FIELD_BOOL, 0},
        {"default", "Default", FIELD_BOOL, 0},
        {"created", "Created", FIELD_TIME, 0},
        {"origin", "Made from", FIELD_NAME, 0},
        {"unchanged", "Unchanged", FIELD_BOOL, 0},
        {"inodes", "Files", FIELD_COUNT, 0},
        {"bytes", "Size", FIELD_SIZE, 0},
        {"exclusive", "Frees", FIELD_SIZE, 0},
        {"snapshots", "Snapshots", FIELD_COUNT, 0},
        {"creator", "Creator", FIELD_COUNT, 0},
        {"description", "Description", FIELD_NAME, 0},
        {"held", "Held", FIELD_BOOL, 0},
        {"joined", "Joined", FIELD_NAMES, 0},
        {"number", "Number", FIELD_COUNT, 0},
        {"version", "Version", FIELD_COUNT, 0},
        {"parent", "Parent", FIELD_COUNT, 0},
        {0},
};

static int print_row(void *arg, json_t *row)
{
	printer_object(arg, row);
	return 0;
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_free_ char *state = NULL;
	struct printer printer = {.fields = state_fields};
	const char *store = NULL;
	json_t *request;
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"json", .flag = &printer.json},
	        {0},
	};

	if (!command_parse(self, options, 1, 1, &argc, &argv, &r))
		return r;
	r = target_init(&target, store);
	if (!r)
		r = target_state(&target, argv[0], false, &state);
	if (!r)
		r = target_store(&target);
	if (r)
		return r;
	request = request_new("show", "name", state, NULL);
	if (request)
		json_object_set_new(request, "properties", json_array());
	r = store_request(target.store, true, request, print_row, &printer,
	                  NULL);
	return finish_output(r);
}

const struct command command_show = {
        .name = "show",
        .args = "[-s STORE] [--json] STATE",
        .summary = "Show the details of one state",
        .help = "STATE is a fork's name, FORK~SNAPSHOT, FORK~N (the N-th "
                "newest snapshot),\n"
                "FORK~@TIME (the newest at or before the time), or a path in "
                "a mount.\n"
                "\n"
                "      --json         an object; sizes in bytes, times in UTC\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
