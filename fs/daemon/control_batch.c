/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_batch.h"

#include <errno.h>

#include "batch_condition.h"
#include "batch_step.h"
#include "util.h"

enum {
	STEP_BYTES = 2048, /* of records that an operation changes; a guess */
	BUILDS_MAX = 6,    /* of one tree, while its fork is written to */
};

/* ---- Reading ------------------------------------------------------------ */

/* Prefix the error message with the number of the line. */
static int line_fail(struct control *c, const struct step *step, int err)
{
	json_t *error = steal(&c->error);
	const char *text = json_string_value(json_object_get(error, "error"));

	err = fail(c, err, "line %jd: %s", (intmax_t)step->line,
	           text ? text : control_reason(err));
	json_decref(error);
	return err;
}

static int steps_read(struct control *c, json_t *ops, json_t *lines,
                      struct step *steps)
{
	size_t i, trees = 0;
	json_t *op;

	json_array_foreach(ops, i, op)
	{
		const json_t *line = json_array_get(lines, i);
		int err;

		steps[i].line =
		        line ? json_integer_value(line) : (json_int_t)i + 1;
		err = batch_step_read(c, op, &steps[i]);
		if (err < 0)
			return line_fail(c, &steps[i], err);
		trees += steps[i].operation->prepare != NULL;
	}
	if (trees > BATCH_TREES_MAX)
		return fail(c, -E2BIG,
		            "a batch has at most %d operations that clone, "
		            "join or restore",
		            BATCH_TREES_MAX);
	return 0;
}

/* ---- Trees -------------------------------------------------------------- */

/* Return true if the step failed only because its tree is not built. */
static bool wants_tree(struct control *c, const struct step *step, int err)
{
	return err == -EAGAIN && !c->error && step->change.prepared &&
	       step->change.prepared->wanted;
}

/* Build the tree that a step needs.  Lock NOT held. */
static int step_prepare(struct control *c, struct step *step)
{
	struct fs_prepared *prepared = step->change.prepared;
	json_t *batch = c->request;
	int err;

	if (++step->builds > BUILDS_MAX)
		return fail(c, -EBUSY, "the fork is written to all the time");
	c->request = step->request;
	err = step->operation->prepare(c, prepared);
	c->request = batch;
	return err;
}

/*
 * Hold the versions that the tree of a step is to be built from, after the
 * changes of the steps before it were undone.  Lock held.
 */
static int step_hold(struct control *c, struct step *step)
{
	int err = fs_prepared_hold(c->fs, step->change.prepared);

	return err ? fail(c, err, "cannot hold the trees: %s",
	                  control_reason(err))
	           : 0;
}

/* ---- The steps ---------------------------------------------------------- */

/* Check the conditions of a step and apply it.  Lock held. */
static int step_run(struct control *c, struct step *step)
{
	json_t *batch = c->request;
	int err = batch_conditions_check(c, step->op, step->operation->subject,
	                                 &step->seen);

	if (err == 0) {
		c->request = step->request;
		err = step->operation->change(c, &step->change);
		c->request = batch;
	}
	return err;
}

/* Release the results of a step that is about to be undone.  Lock held. */
static void step_undo(struct control *c, struct step *step)
{
	struct state_change *change = &step->change;
	struct fs_prepared *prepared = change->prepared;

	state_change_release_trees(c, change);
	json_decref(change->full);
	*change = (struct state_change){.prepared = prepared};
}

/*
 * Apply all steps in one hold of the lock.  1: all are undone, because the tree
 * of *ret_step must be built first, from versions that are held now.  On
 * failure *ret_step is the step that failed, if one did.
 */
static int steps_try(struct control *c, struct step *steps, size_t count,
                     bool dry_run, struct step **ret_step)
{
	size_t done = 0;
	bool wants;
	int err = forest_undo_begin(c->forest);

	if (err < 0)
		return fail(c, err, "cannot change the states: %s",
		            control_reason(err));
	for (; err == 0 && done < count; done++)
		err = step_run(c, &steps[done]);
	if (err == 0 && !dry_run) {
		forest_undo_end(c->forest, false);
		return 0;
	}
	if (err < 0)
		*ret_step = &steps[done - 1];
	wants = err < 0 && wants_tree(c, *ret_step, err);
	/* Nothing may hold what is undone; a dry run's rows need the names. */
	for (size_t i = 0; i < done; i++) {
		if (err < 0)
			step_undo(c, &steps[i]);
		else
			state_change_release_trees(c, &steps[i].change);
	}
	if (!wants) {
		forest_undo_end(c->forest, true);
		return err;
	}
	err = forest_undo_frozen(c->forest);
	if (err < 0)
		return fail(c, err, "cannot hold the trees: %s",
		            control_reason(err));
	err = step_hold(c, *ret_step);
	for (size_t i = 0; i < done; i++) {
		struct batch_seen *seen = &steps[i].seen;

		if (seen->number && !seen->until)
			seen->until = store_next_seq(c->store);
	}
	return err ? err : 1;
}

/* Wait until there is memory and space for the changes of the steps. */
static int steps_throttle(struct control *c, size_t count)
{
	int err = store_throttle(c->store, true);

	if (!err)
		err = store_throttle_write(c->store, count * STEP_BYTES);
	return err ? fail(c, err, "cannot change the states: %s",
	                  control_reason(err))
	           : 0;
}

static int steps_run(struct control *c, struct step *steps, size_t count,
                     bool dry_run)
{
	struct step *failed;
	int r;

	do {
		failed = NULL;
		r = steps_throttle(c, count);
		if (r < 0)
			return r;
		store_lock(c->store);
		r = steps_try(c, steps, count, dry_run, &failed);
		store_unlock(c->store);
		if (r == 1 && !(r = step_prepare(c, failed)))
			r = 1;
		if (r < 0 && failed && !c->ended)
			return line_fail(c, failed, r);
	} while (r == 1);
	return r;
}

static json_t *number_json(uint64_t number, bool known)
{
	return known && number ? json_integer((json_int_t)number) : json_null();
}

static int row_send(struct control *c, const struct step *step, bool known)
{
	const struct state_change *change = &step->change;
	json_t *row =
	        json_pack("{s:I, s:s, s:O, s:o, s:o}", "line", step->line, "op",
	                  step->operation->name, "name", change->full, "number",
	                  number_json(change->number, known), "version",
	                  number_json(change->version, known));

	if (!row)
		return fail(c, -ENOMEM, "out of memory");
	c->ended = c->fn(c->arg, row);
	json_decref(row);
	return c->ended;
}

/* ---- The verb ----------------------------------------------------------- */

/* Announce the changes, make them durable, and answer. */
static int steps_finish(struct control *c, struct step *steps, size_t count,
                        bool dry_run)
{
	int err = 0;

	for (size_t i = 0; !dry_run && i < count; i++)
		state_change_announce(c, &steps[i].change);
	if (!dry_run)
		err = store_sync(c->store);
	if (err < 0)
		return fail(c, err,
		            "the batch is done, but cannot be saved yet: %s",
		            control_reason(err));
	for (size_t i = 0; err == 0 && i < count; i++)
		err = row_send(c, &steps[i], !dry_run);
	return err;
}

int control_batch(struct control *c)
{
	json_t *ops = json_object_get(c->request, "ops");
	json_t *lines = json_object_get(c->request, "lines");
	bool dry_run = control_flag(c, "dry_run");
	size_t count = json_array_size(ops);
	_cleanup_free_ struct step *steps = NULL;
	int err;

	if (!json_is_array(ops))
		return fail(c, -EINVAL, "the request has no \"ops\"");
	if (count > BATCH_OPS_MAX)
		return fail(c, -E2BIG, "a batch has at most %d operations",
		            BATCH_OPS_MAX);
	steps = calloc(count + 1, sizeof(*steps));
	if (!steps)
		return fail(c, -ENOMEM, "out of memory");
	err = steps_read(c, ops, lines, steps);
	if (err == 0)
		err = steps_run(c, steps, count, dry_run);
	if (err == 0)
		err = steps_finish(c, steps, count, dry_run);
	for (size_t i = 0; i < count; i++)
		batch_step_release(c, &steps[i]);
	return err;
}
