/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_gc.h"

#include <errno.h>

#include "util.h"

enum { FORKS_MOST = 100 }; /* names of forks in a row */

/* Return the bytes that emptying the trash would free.  Lock held. */
static int trash_bytes(struct control *c, uint64_t *ret_bytes)
{
	struct trash_walk walk = {0};
	struct space *space;
	struct state *s;
	int err = space_create(c->forest, &space);

	if (err < 0)
		return err;
	while (!(err = trash_next(c->forest, &walk, &s))) {
		err = trash_measure(c->forest, space, s->number);
		if (err && err != -ESTALE)
			break;
	}
	if (err == -ENOENT)
		err = space_frees(space, ret_bytes);
	space_destroy(space);
	return err;
}

/* Send a row for a swept version.  Lock NOT held. */
static int on_swept(void *arg, const struct swept *swept)
{
	struct control *c = arg;
	json_t *forks = json_array(), *row;
	struct state *s;

	store_lock(c->store);
	for (size_t i = 0; forks && i < MIN(swept->forks_len, FORKS_MOST); i++)
		if (!state_get(c->forest, swept->forks[i], &s))
			json_array_append_new(forks, control_full_name(c, s));
	store_unlock(c->store);
	row = json_pack("{s:I, s:I, s:b, s:I, s:o}", "version",
	                (json_int_t)swept->version, "frees",
	                (json_int_t)swept->bytes, "swept_before",
	                swept->was_hollow, "forks_count",
	                (json_int_t)swept->forks_len, "forks", forks);
	if (!row)
		return -ENOMEM;
	c->ended = c->fn(c->arg, row);
	json_decref(row);
	return c->ended;
}

int control_gc(struct control *c)
{
	struct store_stats stats;
	uint64_t backlog, trash, bytes = 0;
	int err = 0;

	if (control_flag(c, "trash"))
		err = forest_empty_trash(c->forest, &trash);
	if (err == 0 && control_flag(c, "deep"))
		err = forest_sweep(c->forest, control_flag(c, "dry_run"),
		                   on_swept, c);
	if (c->ended)
		return c->ended;
	if (err == 0 && control_flag(c, "drain"))
		err = forest_drain(c->forest);
	if (err < 0)
		return fail(c, err,
		            "cannot free the space of deleted states: %s",
		            control_reason(err));
	store_stats(c->store, &stats);
	store_lock(c->store);
	backlog = forest_backlog(c->forest);
	trash = forest_trash_count(c->forest);
	if (control_flag(c, "measure"))
		err = trash_bytes(c, &bytes);
	store_unlock(c->store);
	if (err < 0)
		return fail(c, err, "cannot measure: %s", control_reason(err));
	json_decref(c->answer);
	c->answer = json_pack("{s:I, s:I, s:I, s:I}", "backlog",
	                      (json_int_t)backlog, "trash", (json_int_t)trash,
	                      "avail_bytes", (json_int_t)stats.avail_bytes,
	                      "free_bytes", (json_int_t)stats.free_bytes);
	if (!c->answer)
		return fail(c, -ENOMEM, "out of memory");
	if (control_flag(c, "measure"))
		json_object_set_new(c->answer, "trash_bytes",
		                    json_integer((json_int_t)bytes));
	return 0;
}
