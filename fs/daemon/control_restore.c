/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The request "restore": copy a file or all of a state back into a fork. */
#include "control_restore.h"

#include <errno.h>

#include "control_diff.h"
#include "control_path.h"
#include "escaped_name.h"
#include "tree_changes.h"
#include "util.h"

enum { UNDO_TRIES = 100 };

struct request {
	struct control_path source, into;
	char undo[NAME_LEN_MAX + 1];
	char fork_name[NAME_LEN_MAX + 1];
	struct fs_restore what;
};

/* ---- The request -------------------------------------------------------- */

/* Determine the fork.  Lock held. */
static int fork_find(struct control *c, struct request *q, bool have_into,
                     const struct state *source)
{
	struct state *fork;
	int err;

	if (!have_into && !source->fork)
		return fail(c, -EINVAL,
		            "cannot restore '%s': it is a fork; name the fork "
		            "to restore with --into",
		            q->source.state);
	err = have_into ? state_resolve(c->forest, q->into.state, &fork)
	                : state_get(c->forest, source->fork, &fork);
	if (err < 0)
		return control_fail_state(c, "restore into", q->into.state,
		                          err);
	if (fork->flags & STATE_READONLY)
		return fail(c, -EROFS,
		            "cannot restore into '%s': it is a snapshot",
		            q->into.state);
	q->what.fork = fork->number;
	memcpy(q->fork_name, fork->name, sizeof(q->fork_name));
	return 0;
}

static int request_read(struct control *c, struct request *q)
{
	struct state *source;
	bool have_into;
	int err = control_path(c, "source", "source_path", true, &q->source);

	if (err < 0)
		return err;
	err = control_path(c, "into", "into_path", false, &q->into);
	if (err < 0 && err != -ENOENT)
		return err;
	have_into = !err;
	if (!json_object_get(c->request, "into_path"))
		strcpy(q->into.path, q->source.path);
	store_lock(c->store);
	err = state_resolve(c->forest, q->source.state, &source);
	if (err < 0) {
		err = control_fail_state(c, "restore", q->source.state, err);
	} else {
		q->what.source = source->number;
		err = fork_find(c, q, have_into, source);
	}
	store_unlock(c->store);
	if (!have_into)
		memcpy(q->into.state, q->fork_name, sizeof(q->fork_name));
	q->what.path = q->source.path;
	q->what.into = q->into.path;
	q->what.uid = c->cred.uid;
	q->what.dry_run = control_flag(c, "dry_run");
	return err;
}

/* ---- The verb ----------------------------------------------------------- */

/* Name the snapshot of the former tree by the time in UTC. */
static void undo_name(unsigned again, char name[NAME_LEN_MAX + 1])
{
	time_t now = time(NULL);
	struct tm tm;
	size_t len;

	gmtime_r(&now, &tm);
	len = strftime(name, NAME_LEN_MAX, "before-restore-%Y-%m-%dT%H:%M:%SZ",
	               &tm);
	if (again)
		snprintf(name + len, NAME_LEN_MAX + 1 - len, "-%u", again + 1);
}

static int fail_restore(struct control *c, const struct request *q, int err)
{
	switch (err) {
	case -EINTR:
		return c->ended = err;
	case -EISDIR:
		return fail(c, err,
		            "cannot restore into '%s:%s': a file cannot take "
		            "the place of a state's root directory",
		            q->into.state, q->into.path);
	case -ENOTDIR:
	case -ENOENT:
		return fail(c, err,
		            "cannot restore into '%s:%s': the directory that "
		            "it is in is missing",
		            q->into.state, q->into.path);
	case -EINVAL:
		return fail(c, err,
		            "cannot restore into '%s:%s': not a possible path",
		            q->into.state, q->into.path);
	default:
		return control_fail_path(c, "restore", &q->source, err);
	}
}

/* Check the path in the source first, for a message that names it. */
static int source_check(struct control *c, const struct request *q)
{
	struct state *source;
	struct inode inode;
	uint64_t ino;
	int err;

	store_lock(c->store);
	err = state_get(c->forest, q->what.source, &source);
	if (err < 0)
		err = control_fail_state(c, "restore", q->source.state, err);
	else
		err = control_path_find(c, "restore", &q->source,
		                        state_tree(source), &ino, &inode);
	store_unlock(c->store);
	return err;
}

static int answer_undo(struct control *c, const struct request *q)
{
	char full[2 * NAME_LEN_MAX + 2];

	snprintf(full, sizeof(full), "%s~%s", q->fork_name, q->undo);
	if (json_object_set_new(c->answer, "undo", name_escape(full)) < 0)
		return fail(c, -ENOMEM, "out of memory");
	return 0;
}

/* Return true if the fork has a snapshot of that name. */
static bool undo_taken(struct control *c, const struct request *q)
{
	struct state *other;
	int err;

	store_lock(c->store);
	err = state_find(c->forest, q->what.fork, q->undo, &other);
	store_unlock(c->store);
	return err == 0;
}

static int restore_run(struct control *c, struct request *q,
                       struct fs_restored *restored)
{
	bool undo = !control_flag(c, "no_undo") && !q->what.dry_run;
	int err = -EEXIST;

	for (unsigned i = 0; err == -EEXIST && i < UNDO_TRIES; i++) {
		undo_name(i, q->undo);
		if (undo && undo_taken(c, q))
			continue;
		q->what.undo = undo ? q->undo : NULL;
		err = fs_restore(c->fs, &q->what, restored);
		if (!undo)
			break;
	}
	return err;
}

int control_restore(struct control *c)
{
	_cleanup_free_ struct request *q = calloc(1, sizeof(*q));
	struct fs_restored restored;
	int err = q ? request_read(c, q) : fail(c, -ENOMEM, "out of memory");

	if (!err)
		err = source_check(c, q);
	if (err)
		return err;
	err = restore_run(c, q, &restored);
	if (err)
		return fail_restore(c, q, err);
	if (q->what.dry_run) {
		err = control_diff_trees(c, hold_tree(&restored.before),
		                         hold_tree(&restored.side.hold));
	} else {
		if (c->mounts &&
		    mounts_tree_changed(c->mounts, q->what.fork,
		                        hold_tree(&restored.before),
		                        hold_tree(&restored.side.hold)))
			log_warning("mounts may show files of '%s' as they "
			            "were before they were restored",
			            q->fork_name);
		if (c->mounts && q->what.undo)
			control_announce(c, q->what.fork, q->undo, true);
		if (q->what.undo)
			err = answer_undo(c, q);
	}
	fs_restored_release(c->fs, &restored);
	return err;
}

/* ---- As a part of a batch ----------------------------------------------- */

/* Read the arguments; only the paths are optional. */
static int change_read(struct control *c, struct request *q)
{
	int err = control_path(c, "into", "into_path", true, &q->into);

	if (!err)
		err = control_path(c, "source", "source_path", true,
		                   &q->source);
	if (!err && !json_object_get(c->request, "source_path"))
		strcpy(q->source.path, q->into.path);
	return err;
}

/* Make a snapshot of the fork before the change. */
static int change_undo(struct control *c, struct request *q, struct state *fork,
                       struct state_change *ret)
{
	struct state *undo;
	int err = -EEXIST;

	for (unsigned i = 0; err == -EEXIST && i < UNDO_TRIES; i++) {
		undo_name(i, q->undo);
		err = fs_state_snapshot(c->fs, fork, q->undo, &c->cred, &undo);
	}
	if (err)
		return control_fail_state(c, "make snapshot", q->undo, err);
	state_change_name(ret, fork->number, q->undo, true);
	return 0;
}

/*
 * Switch to the prepared tree, or to the whole source's.  -EAGAIN: the tree
 * must be prepared first.
 */
static int change_switch(struct control *c, struct request *q,
                         struct state *fork, struct state *source,
                         struct state_change *ret)
{
	bool whole = !q->source.path[strspn(q->source.path, "/")] &&
	             !q->into.path[strspn(q->into.path, "/")];
	struct fs_tree_ids ids;
	int err = 0;

	if (!whole) {
		err = fs_tree_ids(fork, source, &ids);
		if (!err && !fs_prepared_fits(ret->prepared, &ids)) {
			fs_prepared_want(ret->prepared, &ids, fork->number);
			return -EAGAIN;
		}
	}
	if (!err && control_flag(c, "undo"))
		err = change_undo(c, q, fork, ret);
	if (err)
		return err;
	return whole ? fs_restore_whole(c->fs, source, fork, false,
	                                &ret->restored)
	             : fs_prepared_switch(c->fs, ret->prepared, fork,
	                                  &ret->restored);
}

int control_restore_change(struct control *c, struct state_change *ret)
{
	_cleanup_free_ struct request *q = calloc(1, sizeof(*q));
	struct state *fork, *source;
	int err = q ? change_read(c, q) : fail(c, -ENOMEM, "out of memory");

	if (err)
		return err;
	err = state_resolve(c->forest, q->source.state, &source);
	if (err)
		return control_fail_state(c, "restore", q->source.state, err);
	err = state_resolve(c->forest, q->into.state, &fork);
	if (!err && (fork->flags & STATE_READONLY))
		return fail(c, -EROFS, "cannot restore '%s': it is a snapshot",
		            q->into.state);
	if (!err)
		err = change_switch(c, q, fork, source, ret);
	if (err == -EAGAIN && ret->prepared->wanted)
		return err;
	return err ? control_fail_state(c, "restore", q->into.state, err)
	           : state_change_result(c, fork, ret);
}

int control_restore_prepare(struct control *c, struct fs_prepared *prepared)
{
	_cleanup_free_ struct request *q = calloc(1, sizeof(*q));
	struct inode inode;
	uint64_t ino;
	int err = q ? change_read(c, q) : fail(c, -ENOMEM, "out of memory");

	if (err)
		return err;
	store_lock(c->store);
	err = control_path_find(c, "restore", &q->source,
	                        hold_tree(&prepared->trees.theirs), &ino,
	                        &inode);
	store_unlock(c->store);
	if (err)
		return err;
	err = fs_prepare_restore(c->fs, prepared, q->source.path, q->into.path);
	return err ? fail_restore(c, q, err) : 0;
}
