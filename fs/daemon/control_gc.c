/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_gc.h"

#include <errno.h>

int control_gc(struct control *c)
{
	int err = control_flag(c, "drain") ? forest_drain(c->forest) : 0;
	struct store_stats stats;
	uint64_t backlog;

	if (err < 0)
		return fail(c, err,
		            "cannot free the space of deleted states: %s",
		            control_reason(err));
	store_stats(c->store, &stats);
	store_lock(c->store);
	backlog = forest_backlog(c->forest);
	store_unlock(c->store);
	json_decref(c->answer);
	c->answer = json_pack("{s:I, s:I, s:I}", "backlog", (json_int_t)backlog,
	                      "avail_bytes", (json_int_t)stats.avail_bytes,
	                      "free_bytes", (json_int_t)stats.free_bytes);
	return c->answer ? 0 : fail(c, -ENOMEM, "out of memory");
}
