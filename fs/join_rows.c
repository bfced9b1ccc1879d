/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The changes and the conflicts of a join, by path. */
#include "fs.h"

#include <errno.h>

#include "join_faces.h"
#include "join_tree.h"

struct rows {
	struct fs *fs;
	const struct fs_joined *joined;
	bool all; /* see fs_joined_rows() */
	int (*fn)(void *arg, const struct fs_join_row *row);
	void *arg;
	struct fs_join_row row;
};

/* ---- Paths -------------------------------------------------------------- */

/*
 * Return the face to take the name of a directory from: the result, unless it
 * has no name because there are conflicts.
 */
static const struct join_face *dir_face(const struct join_inode *dir)
{
	return dir->result.name_count          ? &dir->result
	       : dir->faces[JOIN_OURS].present ? &dir->faces[JOIN_OURS]
	                                       : &dir->faces[JOIN_THEIRS];
}

/* Find the name of a directory in the joined tree. */
static int dir_name(struct rows *rows, uint64_t dir, uint64_t *ret_parent,
                    char ret_name[NAME_LEN_MAX + 1])
{
	const struct join_inode *inode = plan_find(rows->joined->plan, dir);
	struct key key = {.ino = dir, .kind = ITEM_BACKREF};
	struct backref_item b;
	struct item item;
	int err;

	if (inode) {
		const struct join_face *face = dir_face(inode);

		if (!face->name_count)
			return -ENOENT;
		*ret_parent = face->names[0].parent;
		snprintf(ret_name, NAME_LEN_MAX + 1, "%s", face->names[0].name);
		return 0;
	}
	store_lock(rows->fs->store);
	err = tree_seek(joined_tree(rows->joined, JOIN_OURS), &key, &item);
	if (!err && (item.key.ino != dir || item.key.kind != ITEM_BACKREF))
		err = -ENOENT;
	if (!err)
		err = backref_decode(item.value, item.len, &b);
	if (!err) {
		memcpy(ret_name, b.name, b.name_len);
		ret_name[b.name_len] = 0;
		*ret_parent = b.parent;
	}
	store_unlock(rows->fs->store);
	return err;
}

/* Write the path of a name in the joined tree. */
static int result_path(struct rows *rows, const struct join_name *name,
                       char ret[TREE_PATH_SIZE])
{
	char path[TREE_PATH_SIZE], part[NAME_LEN_MAX + 1];
	size_t at = sizeof(path) - 1;
	uint64_t dir = name->parent;

	path[at] = 0;
	snprintf(part, sizeof(part), "%s", name->name);
	for (;;) {
		size_t len = strlen(part);
		int err;

		if (at < len + 1)
			return -ENAMETOOLONG;
		at -= len + 1;
		path[at] = '/';
		memcpy(path + at + 1, part, len);
		if (dir == INO_ROOT)
			break;
		err = dir_name(rows, dir, &dir, part);
		if (err)
			return err;
	}
	memcpy(ret, path + at, sizeof(path) - at);
	return 0;
}

/* Write the path of a name that the fork has. */
static int our_path(struct rows *rows, const struct join_name *name,
                    char ret[TREE_PATH_SIZE])
{
	int err;

	store_lock(rows->fs->store);
	err = tree_path_of(joined_tree(rows->joined, JOIN_OURS), name->parent,
	                   name->name, strlen(name->name), ret);
	store_unlock(rows->fs->store);
	return err;
}

int fs_joined_path(struct fs *fs, const struct fs_joined *joined,
                   const struct join_inode *inode, char ret[TREE_PATH_SIZE])
{
	unsigned side =
	        inode->faces[JOIN_OURS].present ? JOIN_OURS : JOIN_THEIRS;
	int err;

	store_lock(fs->store);
	err = tree_path_of(joined_tree(joined, side), inode->faces[side].ino,
	                   NULL, 0, ret);
	store_unlock(fs->store);
	return err;
}

/* ---- Rows --------------------------------------------------------------- */

static int row_send(struct rows *rows, enum fs_join_op op, int err)
{
	rows->row.op = op;
	if (op != JOIN_RENAMED)
		*rows->row.from = 0;
	return err ? err : rows->fn(rows->arg, &rows->row);
}

/* Return the next name of `face` that `other` does not have, or NULL. */
static const struct join_name *name_only(const struct join_face *face,
                                         const struct join_face *other,
                                         size_t *at)
{
	for (; face->present && *at < face->name_count; ++*at) {
		if (!other->present || !face_has_name(other, &face->names[*at]))
			return &face->names[(*at)++];
	}
	return NULL;
}

/*
 * Send the names that the join adds and removes; one of each makes a renaming.
 */
static int names_send(struct rows *rows, const struct join_inode *inode,
                      bool *ret_any)
{
	const struct join_face *ours = &inode->faces[JOIN_OURS];
	const struct join_face *result = &inode->result;
	size_t lost_at = 0, new_at = 0;
	int err = 0;

	*ret_any = false;
	while (!err) {
		const struct join_name *lost =
		        name_only(ours, result, &lost_at);
		const struct join_name *new = name_only(result, ours, &new_at);

		if (!lost && !new)
			break;
		*ret_any = true;
		if (new)
			err = result_path(rows, new, rows->row.path);
		if (lost && !err)
			err = our_path(rows, lost,
			               new ? rows->row.from : rows->row.path);
		err = row_send(rows,
		               !lost  ? JOIN_ADDED
		               : !new ? JOIN_REMOVED
		                      : JOIN_RENAMED,
		               err);
	}
	return err;
}

/*
 * Return true if the join changes more of an inode than its names and, for a
 * directory, its times.
 */
static bool is_modified(const struct join_inode *inode)
{
	const struct inode *ours = &inode->faces[JOIN_OURS].inode;
	const struct inode *result = &inode->result.inode;

	if (!inode->faces[JOIN_OURS].present || !inode->result.present)
		return false;
	for (size_t i = 0; i < inode->result.xattr_count; i++) {
		if (inode->result.xattrs[i].side != JOIN_OURS)
			return true;
	}
	if (inode->result.xattr_count != inode->faces[JOIN_OURS].xattr_count ||
	    ours->mode != result->mode || ours->uid != result->uid ||
	    ours->gid != result->gid)
		return true;
	return !S_ISDIR(ours->mode) &&
	       (inode->content != JOIN_OURS || inode->merged ||
	        ours->mtime.sec != result->mtime.sec ||
	        ours->mtime.nsec != result->mtime.nsec);
}

/* Send one row, with the path of fs_joined_path(). */
static int inode_send_as(struct rows *rows, const struct join_inode *inode,
                         enum fs_join_op op)
{
	return row_send(
	        rows, op,
	        fs_joined_path(rows->fs, rows->joined, inode, rows->row.path));
}

static int inode_send(struct rows *rows, const struct join_inode *inode)
{
	const struct join_face *ours = &inode->faces[JOIN_OURS];
	bool any;
	int err;

	rows->row.ino = inode->ino;
	rows->row.inode = inode;
	rows->row.mode = inode->result.present ? inode->result.inode.mode
	                                       : ours->inode.mode;
	if (inode->conflicts)
		return inode_send_as(rows, inode, JOIN_CONFLICT);
	if (rows->joined->conflicts && !rows->all)
		return 0;
	if (join_is_ours(inode))
		return rows->all && inode->decided && !inode->stands_for
		               ? inode_send_as(rows, inode, JOIN_KEPT)
		               : 0;
	err = names_send(rows, inode, &any);
	if (err || !is_modified(inode))
		return err;
	if (inode->ino == INO_ROOT)
		strcpy(rows->row.path, "/");
	else
		err = result_path(rows, &inode->result.names[0],
		                  rows->row.path);
	return row_send(rows, JOIN_MODIFIED, err);
}

int fs_joined_rows(struct fs *fs, const struct fs_joined *joined, bool all,
                   int (*fn)(void *arg, const struct fs_join_row *row),
                   void *arg)
{
	struct rows *rows = calloc(1, sizeof(*rows));
	const struct join_inode *inode;
	int err = 0;

	if (!rows)
		return -ENOMEM;
	rows->fs = fs;
	rows->joined = joined;
	rows->all = all;
	rows->fn = fn;
	rows->arg = arg;
	for (size_t n = 0;
	     !err && joined->plan && (inode = plan_inode(joined->plan, n)); n++)
		err = inode_send(rows, inode);
	free(rows);
	return err;
}
