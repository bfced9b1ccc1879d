/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Comparing two states. */
#include <errno.h>

#include "handle.h"
#include "util.h"

struct comparison {
	int (*fn)(void *arg, const struct coppice_difference *what);
	void *arg;
	int result; /* the last of fn; nonzero: it ended the comparison */
};

static int row(void *arg, const struct diff_row *row)
{
	struct comparison *c = arg;
	const struct inode *inode = row->has_b ? &row->b : &row->a;
	const struct coppice_difference what = {
	        .size = sizeof(what),
	        .change = (enum coppice_change)row->op,
	        .type = mode_type(inode->mode),
	        .path = row->path + 1,
	        .from = *row->from ? row->from + 1 : NULL,
	        .number = row->has_b ? row->b_ino : row->a_ino,
	        .old_bytes = row->has_a ? row->a.size : 0,
	        .new_bytes = row->has_b ? row->b.size : 0,
	};

	c->result = c->fn(c->arg, &what);
	return c->result;
}

int coppice_diff(struct coppice_state *a, struct coppice_state *b,
                 int (*fn)(void *arg, const struct coppice_difference *what),
                 void *arg)
{
	struct comparison comparison = {.fn = fn, .arg = arg};
	const struct diff_options options = {.row = row, .arg = &comparison};
	struct coppice *store = a->store;
	struct state_hold holds[2] = {{0}, {0}};
	int err = store_check(store);

	if (err)
		return err;
	if (b->store != store)
		return fail_text(-EXDEV, "states of two stores cannot be "
		                         "compared");
	store_lock(store->store);
	err = state_hold_now(a, &holds[0]);
	if (!err)
		err = state_hold_now(b, &holds[1]);
	store_unlock(store->store);
	if (!err && (!holds[0].version || !holds[1].version))
		err = -EOPNOTSUPP;
	if (!err)
		err = state_diff(hold_tree(&holds[0]), hold_tree(&holds[1]),
		                 &options);
	store_lock(store->store);
	hold_release(store->forest, &holds[0]);
	hold_release(store->forest, &holds[1]);
	store_unlock(store->store);
	if (comparison.result)
		return comparison.result;
	if (err == -EOPNOTSUPP)
		return fail_text(err, "cannot compare a fork that another "
		                      "process may change: compare a snapshot "
		                      "of it");
	return err ? fail_text(err, "cannot compare two states: %s",
	                       error_reason(err))
	           : 0;
}
