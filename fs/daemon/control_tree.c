/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_tree.h"

#include <errno.h>

#include "control_list.h"
#include "util.h"

enum { ROWS = 64 }; /* collected in one hold of the lock */

static int send_version(struct control *c, const struct unnamed_version *v)
{
	json_t *row = json_pack(
	        "{s:I, s:I, s:o}", "version", (json_int_t)v->version, "parent",
	        (json_int_t)v->parent, "created", control_time(v->created));

	if (!row)
		return fail(c, -ENOMEM, "out of memory");
	c->ended = c->fn(c->arg, row);
	json_decref(row);
	return c->ended;
}

int control_lineage(struct control *c)
{
	struct unnamed_version versions[ROWS];
	struct lineage_walk walk = {0};
	size_t count;
	/* Changed versions are in the table from the next commit on. */
	int err = store_settle(c->store);

	/* The lineage of a full store can be read, too. */
	if (err < 0 && err != -ENOSPC && err != -EROFS)
		return fail(c, err, "cannot read the lineage: %s",
		            control_reason(err));
	do {
		store_lock(c->store);
		err = lineage_unnamed(c->forest, &walk, versions, ROWS, &count);
		store_unlock(c->store);
		if (err < 0 && err != -EAGAIN)
			return fail(c, err, "cannot read the lineage: %s",
			            control_reason(err));
		for (size_t i = 0; i < count; i++) {
			int ended = send_version(c, &versions[i]);

			if (ended)
				return ended;
		}
		if (store_yield(c->store) < 0)
			return c->ended = -EPIPE;
	} while (err == -EAGAIN);
	return 0;
}
