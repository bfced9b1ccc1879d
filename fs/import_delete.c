/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names that an import removes. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

#include "array.h"
#include "dirent_item.h"
#include "import_tree.h"
#include "orphan.h"

/* A directory that is searched for names to delete. */
struct level {
	struct import_dir *dir;
	struct key key; /* the next entry is here or after it */
	size_t seen;    /* number of slots in dir->seen before it */
	char name[NAME_LEN_MAX + 1]; /* in the level above; "" in the first */
};

/* The path down from an imported directory, the first level. */
struct levels {
	struct level *at;
	size_t len, room;
};

/* ---- One name ----------------------------------------------------------- */

int import_remove(struct importing *im, struct import_dir *dir,
                  const char *name)
{
	struct key key = {.ino = dir->ino, .kind = ITEM_DIRENT};
	struct vnode v = import_dir_vnode(im, dir), child;
	bool is_dir;
	int err = dir_find(&v, name, &key.off, &child);

	if (err)
		return err;
	is_dir = S_ISDIR(child.inode.mode);
	/* More frames for the directory may follow. */
	if (is_dir && import_dir_is_open(im, child.ino))
		return -EPROTO;
	if (is_dir && child.inode.size && im->what->no_delete) {
		im->counts->in_way++;
		return -ENOTEMPTY;
	}
	err = tree_del(im->tree, &key);
	if (!err)
		err = backref_del(&child, dir->ino, name);
	if (!err)
		err = import_dir_count(im, dir, -1, -is_dir);
	if (err)
		return err;
	im->counts->deleted++;
	return vnode_lose_name(&child, time_now());
}

/* ---- Directories -------------------------------------------------------- */

static int level_add(struct levels *levels, struct import_dir *dir,
                     const char *name)
{
	struct level *level =
	        array_add(&levels->at, &levels->len, &levels->room);

	if (!level)
		return -ENOMEM;
	level->dir = dir;
	level->key = (struct key){.ino = dir->ino, .kind = ITEM_DIRENT};
	strcpy(level->name, name);
	return 0;
}

/* Begin to search a directory that the source does not have. */
static int level_begin(struct importing *im, struct levels *levels,
                       const char *name, const char *path, uint64_t ino)
{
	struct import_dir *dir = calloc(1, sizeof(*dir));
	int err = dir ? 0 : -ENOMEM;

	if (!err && !(dir->path = strdup(path)))
		err = -ENOMEM;
	if (!err)
		err = inode_load(im->tree, ino, &dir->inode);
	if (!err) {
		dir->ino = ino;
		err = level_add(levels, dir, name);
	}
	if (err)
		import_dir_destroy(im, dir);
	return err;
}

/* End the last level, and remove its directory if it is empty. */
static int level_end(struct importing *im, struct levels *levels)
{
	struct level *level = &levels->at[--levels->len];
	int err;

	if (!levels->len)
		return 0;
	err = import_settle(im);
	if (!err && !level->dir->inode.size)
		err = import_remove(im, level[-1].dir, level->name);
	import_dir_destroy(im, level->dir);
	return err;
}

/* Find the next entry that the source does not have.  -ENOENT */
static int level_next(struct importing *im, struct level *level,
                      struct dirent_item *ret)
{
	const struct import_dir *dir = level->dir;
	struct key *key = &level->key;
	struct cursor cursor;
	struct item item;
	int err = cursor_seek(&cursor, im->tree, key, &item);

	for (; !err; err = cursor_next(&cursor, &item)) {
		if (item.key.ino != dir->ino || item.key.kind != ITEM_DIRENT)
			return -ENOENT;
		while (level->seen < dir->seen_len &&
		       dir->seen[level->seen] < item.key.off)
			level->seen++;
		key->off = item.key.off + 1;
		if (level->seen < dir->seen_len &&
		    dir->seen[level->seen] == item.key.off)
			continue;
		return dirent_decode(item.value, item.len, ret);
	}
	return err;
}

/* Delete an entry of the last level, unless the filter excludes it. */
static int extra_delete(struct importing *im, struct levels *levels,
                        const struct dirent_item *d)
{
	struct import_dir *dir = levels->at[levels->len - 1].dir;
	bool rules = im->what->keep_excluded && im->what->filter->len;
	_cleanup_free_ char *path = NULL;
	char name[NAME_LEN_MAX + 1];
	bool is_dir = d->type == DT_DIR;
	int err;

	memcpy(name, d->name, d->name_len);
	name[d->name_len] = 0;
	if (!rules)
		return import_remove(im, dir, name);
	err = import_path_join(dir, name, &path);
	if (err || path_filter_excludes(im->what->filter, path, is_dir))
		return err;
	return is_dir ? level_begin(im, levels, name, path, d->ino)
	              : import_remove(im, dir, name);
}

int import_extras_delete(struct importing *im, struct import_dir *dir)
{
	struct levels levels = {0};
	struct dirent_item d;
	int err;

	array_sort(dir->seen, dir->seen_len, number_compare);
	err = level_add(&levels, dir, "");
	while (!err && levels.len) {
		err = level_next(im, &levels.at[levels.len - 1], &d);
		if (!err)
			err = extra_delete(im, &levels, &d);
		else if (err == -ENOENT)
			err = level_end(im, &levels);
		if (!err)
			err = import_pause(im);
	}
	while (levels.len > 1)
		import_dir_destroy(im, levels.at[--levels.len].dir);
	free(levels.at);
	return err;
}
