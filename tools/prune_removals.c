/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "prune_removals.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "util.h"

struct prune_removal {
	int64_t created;
	uint64_t frees; /* bytes, if no other state is deleted */
	char *row;      /* JSON: name, number, created, snapshot */
	char *reason;
};

int prune_removals_add(struct prune_removals *removals,
                       const struct prune_state *state)
{
	static const char *const keys[] = {"name", "number", "created",
	                                   "snapshot"};
	struct prune_removal made = {.created = state->created};
	json_auto_t *row = json_object();

	if (removals->len == removals->capacity) {
		size_t capacity =
		        removals->capacity ? 2 * removals->capacity : 64;
		struct prune_removal *grown =
		        reallocarray(removals->at, capacity, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		removals->at = grown;
		removals->capacity = capacity;
	}
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		json_object_set(row, keys[i],
		                json_object_get(state->row, keys[i]));
	made.frees = (uint64_t)json_integer_value(
	        json_object_get(state->row, "exclusive"));
	made.row = json_dumps(row, JSON_COMPACT);
	made.reason = strdup(state->reason);
	if (!made.row || !made.reason) {
		free(made.row);
		free(made.reason);
		return -ENOMEM;
	}
	removals->at[removals->len++] = made;
	return 0;
}

void prune_removals_release(struct prune_removals *removals)
{
	for (size_t i = 0; i < removals->len; i++) {
		free(removals->at[i].row);
		free(removals->at[i].reason);
	}
	free(removals->at);
}

/*
 * Delete a state, unless its name belongs to another one by now.  `now`:
 * without the trash.
 */
static int remove_one(struct store_access *access,
                      const struct prune_removal *removal, bool now)
{
	json_t *request = json_loads(removal->row, 0, NULL);

	if (request) {
		json_object_set_new(request, "verb", json_string("rm"));
		if (!json_is_true(json_object_get(request, "snapshot")))
			json_object_set_new(request, "recursive", json_true());
		if (now)
			json_object_set_new(request, "now", json_true());
	}
	return store_access_call(access, request, NULL, NULL, NULL);
}

int prune_removals_run(struct prune_removals *removals,
                       struct store_access *access)
{
	int code = EXIT_DONE;

	for (size_t i = 0; i < removals->len; i++) {
		int r = remove_one(access, &removals->at[i], false);

		code = MAX(code, r);
	}
	return code;
}

/* ---- Until enough is free ----------------------------------------------- */

/*
 * Wait until all deleted states are freed, and return the free bytes; with
 * `trash`, empty the trash first.  With dry_run, neither wait nor delete, but
 * with `trash` add the bytes that emptying it would free.
 */
static int free_bytes(struct store_access *access, bool dry_run, bool trash,
                      uint64_t *ret_bytes)
{
	json_auto_t *answer = NULL;
	json_t *request = request_new("gc", NULL);
	int r;

	if (request && !dry_run)
		json_object_set_new(request, "drain", json_true());
	if (request && trash)
		json_object_set_new(request, dry_run ? "measure" : "trash",
		                    json_true());
	r = store_access_call(access, request, NULL, NULL, &answer);
	if (!r)
		*ret_bytes = (uint64_t)json_integer_value(
		                     json_object_get(answer, "avail_bytes")) +
		             (uint64_t)json_integer_value(
		                     json_object_get(answer, "trash_bytes"));
	return r;
}

static int oldest_first(const void *a, const void *b)
{
	const struct prune_removal *x = a, *y = b;

	return x->created < y->created ? -1 : x->created > y->created;
}

static void report_one(const struct prune_removal *removal, bool remove,
                       prune_report_fn *report, void *arg)
{
	json_auto_t *row = json_loads(removal->row, 0, NULL);

	report(arg, row, remove,
	       remove ? removal->reason : "enough space is free");
}

int prune_removals_until_free(struct prune_removals *removals,
                              struct store_access *access, uint64_t bytes,
                              bool dry_run, prune_report_fn *report, void *arg)
{
	uint64_t available = 0;
	int code = free_bytes(access, dry_run, false, &available);
	size_t i = 0;

	if (code == EXIT_DONE && available < bytes)
		code = free_bytes(access, dry_run, true, &available);
	if (removals->len)
		qsort(removals->at, removals->len, sizeof(*removals->at),
		      oldest_first);
	while (code == EXIT_DONE && i < removals->len && available < bytes) {
		uint64_t missing = bytes - available, freed = 0;

		/* Delete enough states by their figures; free_bytes() waits. */
		do {
			const struct prune_removal *removal = &removals->at[i];
			int r = dry_run ? EXIT_DONE
			                : remove_one(access, removal, true);

			code = MAX(code, r);
			freed += removal->frees;
			if (!r)
				report_one(removal, true, report, arg);
		} while (++i < removals->len && freed < missing);
		if (dry_run)
			available += freed;
		else if (code == EXIT_DONE)
			code = free_bytes(access, false, false, &available);
	}
	for (; code == EXIT_DONE && i < removals->len; i++)
		report_one(&removals->at[i], false, report, arg);
	return code;
}
