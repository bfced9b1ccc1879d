/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_file.h"

#include <errno.h>
#include <limits.h>

#include "content_rows.h"
#include "control_diff.h"
#include "control_list.h"
#include "control_path.h"
#include "escaped_name.h"
#include "util.h"

/* A file in a held state. */
struct held_file {
	struct control *c;
	struct control_path path;
	struct control_hold hold;
	uint64_t ino;
	struct inode inode;
};

static void held_file_release(struct held_file *file)
{
	control_release(file->c, &file->hold);
}

static int held_file_find(struct held_file *file, const char *verb)
{
	struct control *c = file->c;
	int err = control_path(c, "state", "path", true, &file->path);

	if (!err)
		err = control_hold(c, verb, file->path.state, &file->hold);
	if (err)
		return err;
	store_lock(c->store);
	err = control_path_find(c, verb, &file->path,
	                        hold_tree(&file->hold.hold), &file->ino,
	                        &file->inode);
	store_unlock(c->store);
	return err;
}

int control_cat(struct control *c)
{
	_cleanup_(held_file_release) struct held_file file = {.c = c};
	int err = held_file_find(&file, "read");

	if (err)
		return err;
	if (!S_ISREG(file.inode.mode))
		return fail(c, S_ISDIR(file.inode.mode) ? -EISDIR : -EINVAL,
		            "cannot read '%s:%s': it is a %s", file.path.state,
		            file.path.path, type_name(file.inode.mode));
	err = content_rows_send(c, hold_tree(&file.hold.hold), file.ino,
	                        file.inode.size, NULL);
	if (c->ended)
		return c->ended;
	return err < 0 ? control_fail_path(c, "read", &file.path, err) : 0;
}

/* ---- ls ----------------------------------------------------------------- */

enum { ENTRIES = 64 }; /* collected in one hold of the lock */

struct entry {
	char name[NAME_LEN_MAX + 1];
	uint64_t ino;
	struct inode inode;
};

/* The target of a symlink, read piece by piece. */
struct target {
	char text[PATH_MAX];
	size_t len;
};

static int target_add(void *arg, const uint8_t *data, uint64_t len)
{
	struct target *target = arg;

	if (!data || target->len + len >= sizeof(target->text))
		return -EUCLEAN;
	memcpy(target->text + target->len, data, len);
	target->len += len;
	target->text[target->len] = 0;
	return 0;
}

static int64_t time_ns(struct timestamp t)
{
	return t.sec * 1000000000 + t.nsec;
}

static int entry_send(struct held_file *file, const struct entry *e)
{
	struct control *c = file->c;
	struct target target = {.text = ""};
	json_t *row;
	int err = 0;

	if (S_ISLNK(e->inode.mode))
		err = file_content(hold_tree(&file->hold.hold), e->ino,
		                   e->inode.size, target_add, &target);
	if (err)
		return err;
	row = json_pack(
	        "{s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:o}", "name",
	        name_escape(e->name), "type", type_name(e->inode.mode), "mode",
	        (json_int_t)(e->inode.mode & 07777), "links",
	        (json_int_t)e->inode.nlink, "uid", (json_int_t)e->inode.uid,
	        "gid", (json_int_t)e->inode.gid, "size",
	        (json_int_t)e->inode.size, "modified",
	        control_time(time_ns(e->inode.mtime)), "inode",
	        (json_int_t)e->ino, "target",
	        S_ISLNK(e->inode.mode) ? name_escape(target.text)
	                               : json_null());
	if (!row)
		return -ENOMEM;
	c->ended = c->fn(c->arg, row);
	json_decref(row);
	return c->ended;
}

/*
 * Read the next entries, from *off on.  -EAGAIN: there are more.  Lock held.
 */
static int entries_read(struct tree *tree, uint64_t dir, uint64_t *off,
                        struct entry entries[ENTRIES], size_t *ret_count)
{
	const struct key key = {dir, ITEM_DIRENT, *off};
	struct cursor cursor;
	struct item item;
	size_t count = 0;
	int err = cursor_seek(&cursor, tree, &key, &item);

	while (!err && item.key.ino == dir && item.key.kind == ITEM_DIRENT) {
		struct entry *e = &entries[count];
		struct dirent_item d;

		*off = item.key.off;
		*ret_count = count;
		if (count == ENTRIES)
			return -EAGAIN;
		err = dirent_decode(item.value, item.len, &d);
		if (err)
			break;
		memcpy(e->name, d.name, d.name_len);
		e->name[d.name_len] = 0;
		e->ino = d.ino;
		err = tree_inode(tree, d.ino, &e->inode);
		if (!err)
			count++;
		if (!err || err == -ENOENT)
			err = cursor_next(&cursor, &item);
	}
	*ret_count = count;
	return err == -ENOENT ? 0 : err;
}

static int dir_send(struct held_file *file)
{
	_cleanup_free_ struct entry *entries =
	        calloc(ENTRIES, sizeof(*entries));
	struct store *store = file->c->store;
	uint64_t off = 0;
	int more = -EAGAIN, err = 0;

	if (!entries)
		return -ENOMEM;
	while (!err && more == -EAGAIN) {
		size_t count = 0;

		store_lock(store);
		more = entries_read(hold_tree(&file->hold.hold), file->ino,
		                    &off, entries, &count);
		store_unlock(store);
		if (more && more != -EAGAIN)
			return more;
		for (size_t i = 0; !err && i < count; i++)
			err = entry_send(file, &entries[i]);
		if (!err)
			err = store_yield(store);
	}
	return err;
}

/* Send the file itself, under the last part of its path. */
static int self_send(struct held_file *file)
{
	const char *slash = strrchr(file->path.path, '/');
	struct entry *e = calloc(1, sizeof(*e));
	int err;

	if (!e)
		return -ENOMEM;
	snprintf(e->name, sizeof(e->name), "%.255s",
	         slash ? slash + 1 : file->path.path);
	e->ino = file->ino;
	e->inode = file->inode;
	err = entry_send(file, e);
	free(e);
	return err;
}

int control_ls(struct control *c)
{
	_cleanup_(held_file_release) struct held_file file = {.c = c};
	int err = held_file_find(&file, "list");

	if (err)
		return err;
	err = S_ISDIR(file.inode.mode) ? dir_send(&file) : self_send(&file);
	if (c->ended)
		return c->ended;
	return err < 0 ? control_fail_path(c, "list", &file.path, err) : 0;
}
