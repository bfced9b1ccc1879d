/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "read_states.h"

#include <errno.h>
#include <stdio.h>

#include "escaped_name.h"
#include "util.h"

static int print_row(void *arg, json_t *row)
{
	printer_row(arg, row);
	/* The reader of a pipe may close it early. */
	return ferror(stdout) ? -EPIPE : 0;
}

static int read_one(struct store_access *access, json_t *request,
                    const char *name, struct printer *printer)
{
	json_t *names = json_pack("[o]", name_escape(name));
	json_t *one = json_copy(request);

	if (!one || !names || json_object_set_new(one, "names", names) < 0) {
		json_decref(one);
		one = NULL;
	}
	return store_access_call(access, one, print_row, printer, NULL);
}

/* Fail if one of the states does not exist. */
static int check_names(struct store_access *access, char **names)
{
	int r = EXIT_DONE;

	for (; !r && *names; names++)
		r = store_access_call(access,
		                      request_new("show", "name", *names, NULL),
		                      NULL, NULL, NULL);
	return r;
}

int read_states(const struct named_states *states, json_t *request,
                struct printer *printer)
{
	struct store_access access;
	char **names = states->names;
	int r, closed;

	r = store_access_open(&access, states->target.store, true);
	if (r || !request) {
		json_decref(request);
		if (!r)
			complain("out of memory");
		return r ? r : EXIT_FAILED;
	}
	r = check_names(&access, names);
	if (!r) {
		printer_begin(printer);
		if (!*names)
			r = store_access_call(&access, json_incref(request),
			                      print_row, printer, NULL);
		for (; !r && *names; names++)
			r = read_one(&access, request, *names, printer);
		printer_end(printer);
	}
	json_decref(request);
	closed = store_access_close(&access);
	return finish_output(MAX(r, closed));
}
