/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The request "import". */
#include "control_import.h"

#include <errno.h>
#include <sys/socket.h>

#include "control_diff.h"
#include "control_path.h"
#include "control_rules.h"
#include "escaped_name.h"
#include "tree_changes.h"
#include "util.h"

struct request {
	struct fs_import what;
	struct path_filter filter;
	struct control_path to;
	char snapshot[STATE_NAME_MAX];
};

/*
 * Refuse to make a state whose name has a ':': more likely, the '/' that begins
 * a path after the ':' was forgotten.
 */
static int name_check(struct control *c, const char *name)
{
	struct state *state;
	int err;

	if (!strchr(name, ':'))
		return 0;
	store_lock(c->store);
	err = state_resolve(c->forest, name, &state);
	store_unlock(c->store);
	return err != -ENOENT ? 0
	                      : fail(c, err,
	                             "there is no state '%s'; a path after ':' "
	                             "begins with '/'",
	                             name);
}

static int request_read(struct control *c, struct request *q)
{
	struct fs_import *what = &q->what;
	int err = control_path(c, "name", "path", true, &q->to);

	if (!err)
		err = name_check(c, q->to.state);
	if (!err)
		err = control_rules(c, &q->filter);
	if (err)
		return err;
	err = control_argument(c, "snapshot", false, q->snapshot);
	if (err && err != -ENOENT)
		return err;
	what->snapshot = err ? NULL : q->snapshot;
	if (what->snapshot && name_check_snapshot(q->snapshot))
		return fail(c, -EINVAL,
		            "'%s' is not a possible name for a snapshot",
		            q->snapshot);
	what->state = q->to.state;
	what->path = q->to.path;
	what->cred = &c->cred;
	what->filter = &q->filter;
	what->keep_excluded = !control_flag(c, "delete_excluded");
	what->no_delete = control_flag(c, "no_delete");
	what->checksum = control_flag(c, "checksum");
	what->ignore_ctime = control_flag(c, "ignore_ctime");
	what->dry_run = control_flag(c, "dry_run");
	return 0;
}

static int import_fail(struct control *c, const struct request *q, int err)
{
	const char *name = q->to.state;

	switch (err) {
	case -EBUSY:
		return fail(c, err,
		            "cannot import into '%s': it is being written to, "
		            "and was not changed",
		            name);
	case -EPIPE:
	case -ECONNRESET:
		return fail(c, err, "the import into '%s' was not completed",
		            name);
	case -EROFS:
		return fail(c, err, "cannot import into '%s': it is a snapshot",
		            name);
	case -ENOTDIR:
		return fail(c, err,
		            "cannot import into '%s:%s': it is not a directory",
		            name, q->to.path);
	case -EEXIST:
		if (q->what.snapshot)
			return fail(c, err,
			            "cannot import into '%s': it has a "
			            "snapshot '%s', or there is a file '.snap' "
			            "in the source",
			            name, q->what.snapshot);
		break;
	case -EPROTO:
		return fail(c, err,
		            "cannot import into '%s': what was sent cannot "
		            "be read",
		            name);
	default:
		break;
	}
	if (strcmp(q->to.path, "/"))
		return control_fail_path(c, "import into", &q->to, err);
	return control_fail_state(c, "import into", name, err);
}

static int answer_counts(struct control *c, const struct fs_import_counts *n)
{
	const struct {
		const char *key;
		uint64_t value;
	} fields[] = {
	        {"added", n->added},         {"changed", n->changed},
	        {"deleted", n->deleted},     {"bytes_read", n->received},
	        {"bytes_new", n->new_bytes}, {"in_way", n->in_way},
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (json_object_set_new(
		            c->answer, fields[i].key,
		            json_integer((json_int_t)fields[i].value)))
			return fail(c, -ENOMEM, "out of memory");
	return 0;
}

static void import_announce(struct control *c, const struct request *q,
                            const struct fs_imported *imported)
{
	if (!c->mounts)
		return;
	if (imported->made)
		control_announce(c, 0, q->to.state, true);
	else if (mounts_tree_changed(c->mounts, imported->number,
	                             hold_tree(&imported->before),
	                             hold_tree(&imported->side.hold)))
		log_warning("mounts may show files of '%s' as they were "
		            "before an import",
		            q->to.state);
	if (q->what.snapshot)
		control_announce(c, imported->number, q->what.snapshot, true);
}

static int import_finish(struct control *c, const struct request *q,
                         struct fs_imported *imported)
{
	int err = 0;

	if (!q->what.dry_run) {
		import_announce(c, q, imported);
		err = store_wait(c->store, imported->txg);
		if (err)
			return fail(c, err,
			            "cannot save what was imported into '%s': "
			            "%s",
			            q->to.state, control_reason(err));
	}
	if (control_flag(c, "list"))
		err = control_diff_trees(c, hold_tree(&imported->before),
		                         hold_tree(&imported->side.hold));
	if (!err)
		err = control_answer_add(c, "name", name_escape(q->to.state));
	return err ? err : answer_counts(c, &imported->counts);
}

int control_import(struct control *c)
{
	_cleanup_free_ struct request *q = calloc(1, sizeof(*q));
	struct fs_imported imported = {0};
	int err = q ? request_read(c, q) : fail(c, -ENOMEM, "out of memory");

	if (!err && c->fd < 0)
		err = fail(c, -EINVAL, "no socket came with the request");
	if (!err) {
		err = fs_import(c->fs, &q->what, c->fd, &imported);
		/* The sender must not wait for answers any more. */
		shutdown(c->fd, SHUT_RDWR);
		err = err ? import_fail(c, q, err)
		          : import_finish(c, q, &imported);
		fs_imported_release(c->fs, &imported);
	}
	if (q)
		path_filter_release(&q->filter);
	return err;
}
