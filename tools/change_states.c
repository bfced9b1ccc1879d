/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "change_states.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "escaped_name.h"
#include "util.h"

/* Most bytes of names in a request, whose line may have 64 KiB. */
enum { NAMES_MAX = 12000 };

int named_states_init(struct named_states *states, const char *store, bool own,
                      int argc, char **argv)
{
	int r;

	*states = (struct named_states){0};
	states->names = calloc((size_t)argc + 1, sizeof(*states->names));
	if (!states->names) {
		complain("out of memory");
		return EXIT_FAILED;
	}
	r = target_init(&states->target, store);
	for (int i = 0; !r && i < argc; i++)
		r = target_state(&states->target, argv[i], own,
		                 &states->names[i]);
	return r ? r : target_store(&states->target);
}

void named_states_release(struct named_states *states)
{
	for (char **name = states->names; name && *name; name++)
		free(*name);
	free(states->names);
	target_release(&states->target);
}

/* Take the next names for a request, and return the one after them. */
static char **take_names(char **names, json_t **ret_names)
{
	json_t *taken = json_array();
	size_t bytes = 0;

	for (; taken && *names && bytes < NAMES_MAX; names++) {
		bytes += strlen(*names) + 3;
		if (json_array_append_new(taken, name_escape(*names)) < 0) {
			json_decref(taken);
			taken = NULL;
		}
	}
	*ret_names = taken;
	return names;
}

/* Send the request for all states.  *ret_pieces: the number of requests. */
static int send_pieces(struct store_access *access, json_t *request,
                       char **names, bool dry_run, int *ret_pieces)
{
	int r = EXIT_DONE, pieces = 0;

	for (; !r && *names; pieces++) {
		json_t *piece = json_copy(request), *taken;

		names = take_names(names, &taken);
		if (!piece || !taken ||
		    json_object_set_new(piece, "names", taken) < 0 ||
		    json_object_set_new(piece, "dry_run",
		                        json_boolean(dry_run)) < 0) {
			json_decref(piece);
			piece = NULL;
		}
		r = store_access_call(access, piece, NULL, NULL, NULL);
	}
	*ret_pieces = pieces;
	return r;
}

int change_states(const struct named_states *states, json_t *request)
{
	struct store_access access;
	int r, closed, pieces;

	r = store_access_open(&access, states->target.store, false);
	if (r) {
		json_decref(request);
		return r;
	}
	if (!request) {
		complain("out of memory");
		r = EXIT_FAILED;
	}
	/* Check several states by a dry run, before the first one changes. */
	if (!r && states->names[0] && states->names[1])
		r = send_pieces(&access, request, states->names, true, &pieces);
	if (!r)
		r = send_pieces(&access, request, states->names, false,
		                &pieces);
	json_decref(request);
	closed = store_access_close(&access);
	return MAX(r, closed);
}

int change_states_run(const struct command *self, const char *key, int argc,
                      char **argv)
{
	_cleanup_(named_states_release) struct named_states states = {0};
	const char *store = NULL;
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {0},
	};

	if (!command_parse(self, options, 2, INT_MAX, &argc, &argv, &r))
		return r;
	r = named_states_init(&states, store, true, argc - 1, argv + 1);
	return r ? r
	         : change_states(&states,
	                         request_new(self->name, key, argv[0], NULL));
}
