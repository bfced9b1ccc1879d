/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_check.h"

#include <errno.h>

#include "escaped_name.h"
#include "util.h"

enum { PROGRESS_NS = 200000000 }; /* between two rows of progress */

struct report {
	control_row_fn *fn;
	void *arg;
	bool progress;    /* rows of progress are requested */
	int64_t last;     /* mono_ns() of the last row of progress */
	json_int_t found; /* number of findings */
};

static json_t *text_or_null(const char *text)
{
	return text ? name_escape(text) : json_null();
}

static int send_row(struct report *t, json_t *row)
{
	int r;

	if (!row)
		return -ENOMEM;
	r = t->fn(t->arg, row);
	json_decref(row);
	return r > 0 ? -ECANCELED : r;
}

static int on_found(void *arg, const struct finding *f)
{
	struct report *t = arg;

	t->found++;
	return send_row(
	        t,
	        json_pack("{s:s, s:o?, s:o?, s:I, s:I, s:I, s:o}", "kind",
	                  f->kind, "state", text_or_null(f->state), "path",
	                  text_or_null(f->path), "inode", (json_int_t)f->ino,
	                  "version", (json_int_t)f->version, "block",
	                  (json_int_t)f->block, "text", name_escape(f->text)));
}

static int on_progress(void *arg, const char *what, uint64_t done, uint64_t all)
{
	struct report *t = arg;
	int64_t now = mono_ns();

	if (!t->progress || now - t->last < PROGRESS_NS)
		return 0;
	t->last = now;
	return send_row(t,
	                json_pack("{s:s, s:I, s:I}", "progress", what, "done",
	                          (json_int_t)done, "all", (json_int_t)all));
}

int control_check(struct store *store, json_t *request, control_row_fn *fn,
                  void *arg, json_t *answer)
{
	struct report t = {
	        .fn = fn,
	        .arg = arg,
	        .progress = json_is_true(json_object_get(request, "progress")),
	        .last = mono_ns(),
	};
	struct check_options options = {
	        .data = json_is_true(json_object_get(request, "data")),
	        .found = on_found,
	        .progress = on_progress,
	        .arg = &t,
	};
	int r = forest_check(store, &options);

	if (!r && json_object_set_new(answer, "found", json_integer(t.found)))
		r = -ENOMEM;
	return r;
}
