/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The request "restore": what a state has, back into a fork. */
#include "control_restore.h"

#include <errno.h>

#include "control_path.h"
#include "escaped_name.h"
#include "tree_changes.h"
#include "util.h"

enum { UNDO_TRIES = 100, PIECE_NODES = 64 };

struct request {
	struct control_path source, into;
	char undo[NAME_LEN_MAX + 1];
	char fork_name[NAME_LEN_MAX + 1];
	struct fs_restore what;
};

/* ---- What is asked for -------------------------------------------------- */

/* Determine the fork.  Lock held. */
static int fork_find(struct control *c, struct request *q, bool have_into,
                     const struct state *source)
{
	struct state *fork;
	int err;

	if (!have_into && !source->fork)
		return fail(c, -EINVAL,
		            "cannot restore '%s': it is a fork, so say with "
		            "--into which fork is to be like it",
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
	q->what.dry_run = control_flag(c, "dry_run");
	return err;
}

/* ---- Rows --------------------------------------------------------------- */

struct rows {
	struct control *c;
	struct tree *before, *after;
	char op;
	char path[TREE_PATH_SIZE];
	struct key next;
};

static bool row_of_name(struct rows *rows, const struct item *item,
                        struct tree *tree, char op)
{
	struct dirent_item d;

	rows->op = op;
	return !dirent_decode(item->value, item->len, &d) &&
	       !tree_path_of(tree, item->key.ino, d.name, d.name_len,
	                     rows->path);
}

/* Describe one difference, and stop the walk for it to be sent. */
static int row_make(void *arg, const struct item *before,
                    const struct item *after)
{
	struct rows *rows = arg;
	const struct item *item = before ? before : after;
	struct inode inode;
	bool made = false;

	if (item->key.kind == ITEM_DIRENT)
		made = !after    ? row_of_name(rows, before, rows->before, '-')
		       : !before ? row_of_name(rows, after, rows->after, '+')
		                 : row_of_name(rows, after, rows->after, 'M');
	else if (item->key.kind == ITEM_INODE && before && after &&
	         !inode_decode(after->value, after->len, &inode) &&
	         inode.nlink) {
		rows->op = 'M';
		made = !tree_path_of(rows->after, item->key.ino, NULL, 0,
		                     rows->path);
	}
	if (!made)
		return 0;
	rows->next = item->key;
	rows->next.off++;
	return 1;
}

/* Send what the trees differ in, a row a name. */
static int rows_send(struct control *c, struct fs_restored *restored)
{
	struct rows rows = {
	        .c = c,
	        .before = hold_tree(&restored->before),
	        .after = hold_tree(&restored->side.hold),
	};
	struct key from = {0};
	char op[2] = "";
	int err;

	do {
		json_t *row = NULL;

		store_lock(c->store);
		err = tree_diff(rows.before, rows.after, &from, PIECE_NODES,
		                row_make, &rows);
		store_unlock(c->store);
		if (err == 1) {
			from = rows.next;
			op[0] = rows.op;
			row = json_pack("{s:s, s:o}", "op", op, "path",
			                name_escape(rows.path));
			if (!row)
				return fail(c, -ENOMEM, "out of memory");
			c->ended = c->fn ? c->fn(c->arg, row) : 0;
			json_decref(row);
			if (c->ended)
				return c->ended;
		}
		if (err == -EAGAIN)
			store_yield(c->store);
	} while (err == 1 || err == -EAGAIN);
	return err < 0 ? fail(c, err, "cannot compare: %s", control_reason(err))
	               : 0;
}

/* ---- The verb ----------------------------------------------------------- */

/* Name the snapshot of the former tree by the time, in UTC. */
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

/* Check the path in the source, for a message of its own. */
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

static int restore_run(struct control *c, struct request *q,
                       struct fs_restored *restored)
{
	bool undo = !control_flag(c, "no_undo") && !q->what.dry_run;
	int err = -EEXIST;

	for (unsigned i = 0; err == -EEXIST && i < UNDO_TRIES; i++) {
		undo_name(i, q->undo);
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
		err = rows_send(c, &restored);
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
