/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The request "export". */
#include "control_export.h"

#include <errno.h>
#include <sys/socket.h>

#include "control_path.h"
#include "control_rules.h"
#include "escaped_name.h"
#include "util.h"

static int answer(struct control *c, const struct control_hold *hold,
                  const struct fs_export_counts *n)
{
	int err = control_answer_add(c, "name", name_escape(hold->name));

	if (!err)
		err = control_answer_add(c, "files",
		                         json_integer((json_int_t)n->files));
	if (!err)
		err = control_answer_add(c, "directories",
		                         json_integer((json_int_t)n->dirs));
	if (!err)
		err = control_answer_add(c, "bytes",
		                         json_integer((json_int_t)n->bytes));
	return err;
}

/* Send the files of a directory of a held state that the rules include. */
static int export_send(struct control *c, const struct control_path *path,
                       const struct control_hold *hold, uint64_t ino)
{
	struct path_filter filter = {0};
	const struct fs_export what = {.ino = ino,
	                               .filter = &filter,
	                               .ask = control_flag(c, "ask"),
	                               .socket = c->fd};
	struct fs_export_counts counts;
	int err = control_rules(c, &filter);

	if (!err) {
		err = fs_export(c->fs, &hold->hold, &what, &counts);
		shutdown(c->fd, SHUT_RDWR);
		err = err == -EPIPE ? fail(c, err,
		                           "the export of '%s' was not "
		                           "completed",
		                           path->state)
		      : err         ? control_fail_path(c, "export", path, err)
		                    : answer(c, hold, &counts);
	}
	path_filter_release(&filter);
	return err;
}

int control_export(struct control *c)
{
	struct control_hold hold = {0};
	struct control_path path;
	struct inode inode;
	uint64_t ino;
	int err = control_path(c, "name", "path", true, &path);

	if (!err && c->fd < 0)
		err = fail(c, -EINVAL, "no socket came with the request");
	if (!err)
		err = control_hold(c, "export", path.state, &hold);
	if (err)
		return err;
	store_lock(c->store);
	err = control_path_find(c, "export", &path, hold_tree(&hold.hold), &ino,
	                        &inode);
	store_unlock(c->store);
	if (!err && !S_ISDIR(inode.mode))
		err = fail(c, -ENOTDIR,
		           "cannot export '%s:%s': it is not a directory",
		           path.state, path.path);
	if (!err)
		err = export_send(c, &path, &hold, ino);
	control_release(c, &hold);
	return err;
}
