/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The request "join": bring the changes of a state into a fork. */
#include "control_join.h"

#include <errno.h>

#include "control_diff.h"
#include "escaped_name.h"
#include "join_review.h"
#include "join_rules.h"
#include "tree_changes.h"
#include "util.h"

struct request {
	struct control *c;
	char from[STATE_NAME_MAX], into[STATE_NAME_MAX], base[STATE_NAME_MAX];
	bool have_into;
	struct join_rules rules;
	struct join_review review;
	json_t *edited; /* an edited plan; NULL: none.  The request's */
	bool plan;      /* answer with the plan */
	struct fs_join what;
	struct fs_joined *joined;
};

/* ---- The request -------------------------------------------------------- */

/* Find the fork that a state was made from.  Lock held. */
static int into_default(struct control *c, struct request *q,
                        struct state *from, struct state **ret_into)
{
	struct state *into;
	int err = state_get(c->forest, from->fork ? from->fork : from->origin,
	                    &into);

	if (!err && into->fork)
		err = state_get(c->forest, into->fork, &into);
	if (err || into->created > from->created)
		return fail(c, -ENOENT,
		            "cannot join '%s': the fork that it was made from "
		            "is gone, or there was none: name one with --into",
		            q->from);
	memcpy(q->into, into->name, sizeof(into->name));
	*ret_into = into;
	return 0;
}

/* Find the state that a fork was made from.  Lock held. */
static int from_default(struct control *c, struct request *q)
{
	char name[NAME_LEN_MAX * 2 + 2];
	struct state *into, *from;
	int err = state_resolve(c->forest, q->into, &into);

	if (err < 0)
		return control_fail_state(c, "refresh", q->into, err);
	err = state_get(c->forest, into->origin, &from);
	if (!err && from->fork)
		err = state_get(c->forest, from->fork, &from);
	if (err || from->created > into->created)
		return fail(
		        c, -ENOENT,
		        "cannot refresh '%s': the fork that it was made from "
		        "is gone, or there was none: name one with --from",
		        q->into);
	state_full_name(c->forest, from, name);
	memcpy(q->from, name, sizeof(name));
	return 0;
}

/* Find the three states.  Lock held. */
static int states_find(struct control *c, struct request *q)
{
	struct state *from, *into, *base;
	int err = state_resolve(c->forest, q->from, &from);

	if (err < 0)
		return control_fail_state(c, "join", q->from, err);
	q->what.from = from->number;
	if (q->have_into) {
		err = state_resolve(c->forest, q->into, &into);
		if (err < 0)
			return control_fail_state(c, "join into", q->into, err);
	} else {
		err = into_default(c, q, from, &into);
		if (err < 0)
			return err;
	}
	q->what.into = into->number;
	if (into->flags & STATE_READONLY)
		return fail(c, -EROFS,
		            "cannot join into '%s': it is a snapshot", q->into);
	if (q->what.from == q->what.into)
		return fail(c, -EINVAL, "cannot join '%s' into itself",
		            q->from);
	if (!*q->base)
		return 0;
	err = state_resolve(c->forest, q->base, &base);
	if (err < 0)
		return control_fail_state(c, "take as the base", q->base, err);
	q->what.base = base->number;
	return 0;
}

static int choose(void *arg, const struct join_inode *inode,
                  enum join_conflict kind);
static bool pin(void *arg, const struct join_inode *inode);
static bool text(void *arg, const struct join_inode *inode);
static int review(void *arg);

/* Read the arguments that do not name states, and set the callbacks. */
static void options_read(struct control *c, struct request *q)
{
	q->c = c;
	q->edited = json_object_get(c->request, "resolve");
	q->plan = control_flag(c, "plan");
	q->what.dry_run = q->plan || control_flag(c, "dry_run");
	q->what.ff_only = control_flag(c, "ff_only");
	q->what.squash = control_flag(c, "squash");
	q->what.choose = choose;
	q->what.pin = q->edited ? pin : NULL;
	q->what.review = q->edited ? review : NULL;
	q->what.text = join_rules_text(&q->rules) ? text : NULL;
	q->what.arg = q;
}

/* Read the arguments of the request; `*q` is all zero. */
static int arguments_read(struct control *c, struct request *q)
{
	int err = control_argument(c, "into", false, q->into);

	if (err < 0 && err != -ENOENT)
		return err;
	q->have_into = !err;
	/* Without "source", from_default() finds the state to refresh from. */
	err = control_argument(c, "source", !q->have_into, q->from);
	if (err < 0 && err != -ENOENT)
		return err;
	err = control_argument(c, "base", false, q->base);
	if (err < 0 && err != -ENOENT)
		return err;
	err = join_rules_read(c, &q->rules);
	if (!err)
		options_read(c, q);
	return err;
}

static int request_read(struct control *c, struct request *q)
{
	int err = arguments_read(c, q);

	if (err < 0)
		return err;
	store_lock(c->store);
	err = *q->from ? 0 : from_default(c, q);
	if (!err)
		err = states_find(c, q);
	store_unlock(c->store);
	return err;
}

/* ---- Conflicts ---------------------------------------------------------- */

static int choose(void *arg, const struct join_inode *inode,
                  enum join_conflict kind)
{
	struct request *q = arg;
	int choice = join_review_choice(&q->review, inode);

	return choice != JOIN_NOBODY
	               ? choice
	               : join_rules_choose(&q->rules, q->c->fs, q->joined,
	                                   inode, kind);
}

static bool pin(void *arg, const struct join_inode *inode)
{
	struct request *q = arg;

	return join_review_choice(&q->review, inode) == JOIN_OURS;
}

static bool text(void *arg, const struct join_inode *inode)
{
	struct request *q = arg;

	return join_review_choice(&q->review, inode) == JOIN_NOBODY &&
	       join_rules_text_of(&q->rules, q->c->fs, q->joined, inode);
}

static int review(void *arg)
{
	struct request *q = arg;

	return join_review_read(&q->review, q->c, q->edited, &q->what,
	                        q->joined);
}

static json_t *kinds_json(unsigned kinds)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < JOIN_CONFLICTS; i++) {
		if (kinds & 1U << i)
			json_array_append_new(
			        array, json_string(join_conflict_name(
			                       (enum join_conflict)(1U << i))));
	}
	return array;
}

/* ---- Rows --------------------------------------------------------------- */

static json_t *changes_json(unsigned changes)
{
	json_t *array = json_array();

	for (unsigned i = 0; i < JOIN_CHANGES; i++) {
		if (changes & 1U << i)
			json_array_append_new(
			        array, json_string(join_change_name(
			                       (enum join_change)(1U << i))));
	}
	return array;
}

/* Add the members of a row of a plan. */
static int row_plan(json_t *json, const struct join_inode *inode)
{
	json_t *plan = json_pack(
	        "{s:o, s:o, s:b, s:o, s:n}", "ours",
	        changes_json(inode->changed[JOIN_OURS]), "theirs",
	        changes_json(inode->changed[JOIN_THEIRS]), "text",
	        inode->merged, "choices", join_choices_json(inode), "choose");
	int err = plan ? json_object_update(json, plan) : -1;

	json_decref(plan);
	return err;
}

static int row_send(void *arg, const struct fs_join_row *row)
{
	struct request *q = arg;
	struct control *c = q->c;
	const char op[] = {(char)row->op, 0};
	json_t *json;

	json = json_pack("{s:s, s:o, s:o, s:s, s:o, s:o, s:o}", "op", op,
	                 "path", name_escape(row->path), "from",
	                 *row->from ? name_escape(row->from) : json_null(),
	                 "type", type_name(row->mode), "inode",
	                 row->ino ? json_integer((json_int_t)row->ino)
	                          : json_null(),
	                 "conflicts", kinds_json(row->inode->conflicts),
	                 "decided", kinds_json(row->inode->decided));
	if (!json || (q->plan && row_plan(json, row->inode) < 0)) {
		json_decref(json);
		return fail(c, -ENOMEM, "out of memory");
	}
	c->ended = c->fn ? c->fn(c->arg, json) : 0;
	json_decref(json);
	return c->ended;
}

/* ---- The verb ----------------------------------------------------------- */

static int fail_join(struct control *c, const struct request *q, int err)
{
	if (c->error)
		return err;
	switch (err) {
	case -EINTR:
		return c->ended = err;
	case -EOPNOTSUPP:
		return fail(c, err,
		            "cannot merge text: libgit2 is not there, or the "
		            "program was built without it");
	case -ENOTEMPTY:
		return fail(c, err,
		            "cannot join '%s' into '%s': that has changes of "
		            "its own",
		            q->from, q->into);
	case -ENODATA:
		return fail(c, err,
		            "cannot join '%s' into '%s': they have no version "
		            "in common; name the version to compare them "
		            "with by --base",
		            q->from, q->into);
	case -EMLINK:
		return fail(c, err,
		            "cannot join '%s' into '%s': they have too many "
		            "newest common versions; choose one with --base",
		            q->from, q->into);
	case -ELOOP:
		return fail(c, err,
		            "cannot join '%s' into '%s': the choices "
		            "contradict each other",
		            q->from, q->into);
	case -EBUSY:
		return fail(c, err,
		            "cannot join '%s' into '%s': it is written to all "
		            "the time",
		            q->from, q->into);
	default:
		return control_fail_state(c, "join", q->from, err);
	}
}

static int answer_join(struct control *c, const struct request *q)
{
	json_t *bases = json_array();

	for (unsigned i = 0; i < q->joined->base_count; i++)
		json_array_append_new(bases,
		                      json_integer((json_int_t)hold_version(
		                              &q->joined->bases[i])));
	if (json_object_set_new(c->answer, "into", name_escape(q->into)) < 0 ||
	    json_object_set_new(c->answer, "bases", bases) < 0 ||
	    json_object_set_new(c->answer, "joined",
	                        json_boolean(q->joined->done)) < 0)
		return fail(c, -ENOMEM, "out of memory");
	if (q->plan &&
	    (json_object_set_new(c->answer, "plan",
	                         join_plan_json(c, &q->what, q->joined)) < 0 ||
	     json_object_set_new(c->answer, "conflicts",
	                         json_integer(q->joined->conflicts)) < 0))
		return fail(c, -ENOMEM, "out of memory");
	return 0;
}

static int join_finish(struct control *c, struct request *q)
{
	struct fs_joined *joined = q->joined;
	int err;

	if (joined->done && c->mounts &&
	    mounts_tree_changed(c->mounts, q->what.into,
	                        hold_tree(&joined->now.before),
	                        hold_tree(&joined->now.side.hold)))
		log_warning("mounts may show files of '%s' as they were before "
		            "the join",
		            q->into);
	err = fs_joined_rows(c->fs, joined, q->plan, row_send, q);
	if (err && !c->ended && !c->error)
		err = fail(c, err, "cannot list what the join %s: %s",
		           joined->done ? "has done" : "would do",
		           control_reason(err));
	if (!err && joined->conflicts && !q->plan)
		err = fail(c, -EEXIST,
		           "cannot join '%s' into '%s': %d conflict%s", q->from,
		           q->into, joined->conflicts,
		           joined->conflicts == 1 ? "" : "s");
	return err ? err : answer_join(c, q);
}

int control_join(struct control *c)
{
	_cleanup_free_ struct request *q = calloc(1, sizeof(*q));
	struct fs_joined joined;
	int err = q ? request_read(c, q) : fail(c, -ENOMEM, "out of memory");

	if (err)
		return err;
	q->joined = &joined;
	err = fs_join(c->fs, &q->what, &joined);
	/* A plan that has been carried out is stale, too. */
	if (!err && q->edited && !joined.plan)
		err = review(q);
	err = err ? fail_join(c, q, err) : join_finish(c, q);
	fs_joined_release(c->fs, &joined);
	join_review_release(&q->review);
	return err;
}

/* ---- As a part of a batch ----------------------------------------------- */

/*
 * Find the tree of the join.  -EAGAIN: the tree must be built first; 1: there
 * is nothing to join.
 */
static int change_find(struct control *c, struct request *q,
                       struct fs_prepared *prepared, struct state *into,
                       struct state *from)
{
	struct fs_tree_ids ids;
	int r = fs_tree_ids(into, from, &ids);

	if (r || fs_prepared_fits(prepared, &ids))
		return r;
	r = fs_join_ids(c->fs, &q->what, &ids, prepared->suffix);
	if (r)
		return r;
	fs_prepared_want(prepared, &ids, into->number);
	return -EAGAIN;
}

int control_join_change(struct control *c, struct state_change *ret)
{
	_cleanup_free_ struct request *q = calloc(1, sizeof(*q));
	int r = q ? arguments_read(c, q) : fail(c, -ENOMEM, "out of memory");
	struct fs_prepared *prepared = ret->prepared;
	struct state *into, *from;

	if (!r)
		r = states_find(c, q);
	if (r < 0)
		return r;
	r = state_get(c->forest, q->what.into, &into);
	if (!r)
		r = state_get(c->forest, q->what.from, &from);
	if (!r)
		r = change_find(c, q, prepared, into, from);
	if (!r)
		r = fs_prepared_switch(c->fs, prepared, into, &ret->restored);
	if (!r)
		r = fs_join_record(c->fs, &q->what, prepared->ids.from);
	if (r == -EAGAIN && prepared->wanted)
		return r;
	return r < 0 ? fail_join(c, q, r) : state_change_result(c, into, ret);
}

/* Fail with a message that names the first conflict. */
static int fail_conflicts(struct control *c, const struct request *q)
{
	const struct fs_joined *joined = q->joined;
	const struct join_inode *inode;
	char path[TREE_PATH_SIZE] = "?";
	size_t n = 0;

	while ((inode = plan_inode(joined->plan, n)) && !inode->conflicts)
		n++;
	if (inode)
		fs_joined_path(c->fs, joined, inode, path);
	return fail(c, -EEXIST,
	            "cannot join '%s' into '%s': %d conflict%s, the first in "
	            "'%s'",
	            q->from, q->into, joined->conflicts,
	            joined->conflicts == 1 ? "" : "s", path);
}

int control_join_prepare(struct control *c, struct fs_prepared *prepared)
{
	_cleanup_free_ struct request *q = calloc(1, sizeof(*q));
	int err = q ? arguments_read(c, q) : fail(c, -ENOMEM, "out of memory");

	if (err < 0)
		return err;
	q->joined = &prepared->trees;
	q->what.base = *q->base != 0;
	err = fs_prepare_join(c->fs, prepared, &q->what);
	if (err)
		return fail_join(c, q, err);
	return prepared->trees.conflicts ? fail_conflicts(c, q) : 0;
}
