/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Restoring files, directories and forks.
 *
 * A directory is restored in two rounds over it and the directories below.  The
 * first round removes the entries that the source does not have, or has for
 * another inode; an inode that loses its last name becomes an orphan and keeps
 * its items.  The second round adds the missing entries: an inode that was
 * moved within the directory is then found as an orphan, by its number.  A
 * directory with another number is kept only if the source's number is in use
 * elsewhere in the fork.  Directories without any difference below them are
 * skipped.
 */
#include "fs.h"

#include <dirent.h>
#include <errno.h>
#include <search.h>
#include <stdlib.h>

#include "array.h"
#include "dirent_item.h"
#include "inode.h"
#include "restore_tree.h"

enum {
	ATTEMPTS = 6,     /* the last one holds the lock throughout */
	PIECE_WORK = 128, /* changes in one hold of the lock */
};

/* ---- Pieces ------------------------------------------------------------- */

int restore_piece(struct restore *r)
{
	uint64_t number = r->what->fork;
	struct state *fork = NULL;
	int err = number ? state_get(r->fs->forest, number, &fork) : 0;

	if (err)
		return err;
	side_state(&r->now->side, fork, &r->state);
	r->work = 0;
	return state_edit(&r->state, &r->to);
}

int restore_pause_now(struct restore *r)
{
	int err;

	store_unlock(r->fs->store);
	err = store_throttle(r->fs->store, true);
	if (!err)
		err = store_yield(r->fs->store);
	store_lock(r->fs->store);
	return err ? err : restore_piece(r);
}

int restore_pause(struct restore *r)
{
	if (r->exclusive || ++r->work < PIECE_WORK)
		return 0;
	return restore_pause_now(r);
}

/* ---- The two rounds ----------------------------------------------------- */

/* An entry of a directory, copied out of the tree. */
struct listed {
	uint64_t slot, ino;
	uint8_t type, len;
	char name[NAME_LEN_MAX + 1];
};

/* Return the next entry of a directory after `after`.  -ENOENT */
static int entry_next(struct tree *tree, uint64_t dir, uint64_t after,
                      struct listed *ret)
{
	struct key key = {dir, ITEM_DIRENT, after + 1};
	struct dirent_item d;
	struct item item;
	int err = tree_seek(tree, &key, &item);

	if (!err && (item.key.ino != dir || item.key.kind != ITEM_DIRENT))
		err = -ENOENT;
	if (!err)
		err = dirent_decode(item.value, item.len, &d);
	if (err)
		return err;
	ret->slot = item.key.off;
	ret->ino = d.ino;
	ret->type = d.type;
	ret->len = d.name_len;
	memcpy(ret->name, d.name, d.name_len);
	ret->name[d.name_len] = 0;
	return 0;
}

static int pair_add(struct restore *r, uint64_t from, uint64_t to)
{
	struct dir_pair *pair =
	        array_add(&r->pairs, &r->pairs_len, &r->pairs_room);

	if (!pair)
		return -ENOMEM;
	*pair = (struct dir_pair){from, to};
	return 0;
}

/*
 * Return true if the number of the source's directory is in use in the fork
 * outside of the restored directory, so the directory needs another number.
 */
static bool number_is_taken(struct restore *r, uint64_t dir)
{
	struct vnode v;

	return !restore_load(r, dir, &v) && v.inode.nlink &&
	       !restore_is_inside(r, hold_tree(&r->now->before), dir);
}

/* Keep an entry of the fork, adding a pair for a directory; or detach it. */
static int entry_weigh(struct restore *r, const struct dir_pair *pair,
                       const struct listed *entry)
{
	uint64_t ino;
	uint8_t type;
	int err = tree_entry(r->from, pair->from, entry->name, entry->len, &ino,
	                     &type);

	if (err && err != -ENOENT)
		return err;
	if (!err && type == DT_DIR && entry->type == DT_DIR) {
		if (ino == entry->ino && !restore_is_dirty(r, ino))
			return 0;
		if (ino == entry->ino || number_is_taken(r, ino))
			return pair_add(r, ino, entry->ino);
	}
	if (!err && type != DT_DIR && ino == entry->ino)
		return 0;
	return restore_detach(r, pair->to, entry->name);
}

/* The first round: detach entries. */
static int pairs_remove(struct restore *r)
{
	int err = 0;

	for (size_t i = 0; !err && i < r->pairs_len; i++) {
		struct listed entry = {0};

		for (;;) {
			struct dir_pair pair = r->pairs[i];

			err = entry_next(r->to, pair.to, entry.slot, &entry);
			if (!err)
				err = entry_weigh(r, &pair, &entry);
			if (!err)
				err = restore_pause(r);
			if (err)
				break;
		}
		if (err == -ENOENT)
			err = 0;
	}
	return err ? err : restore_empty(r);
}

/* Restore the inode of a kept entry, or attach a missing entry. */
static int entry_bring(struct restore *r, const struct dir_pair *pair,
                       const struct listed *entry)
{
	uint64_t ino;
	int err = tree_entry(r->to, pair->to, entry->name, entry->len, &ino,
	                     NULL);

	if (!err) {
		if (entry->type == DT_DIR || !restore_is_dirty(r, ino))
			return 0;
		return restore_sync(r, entry->ino, ino);
	}
	if (err != -ENOENT)
		return err;
	err = restore_attach(r, pair->to, entry->name, entry->ino, &ino);
	if (!err && entry->type == DT_DIR)
		err = pair_add(r, entry->ino, ino);
	return err;
}

/* The second round: restore and attach entries, then the directories. */
static int pairs_add(struct restore *r)
{
	int err = 0;

	for (size_t i = 0; !err && i < r->pairs_len; i++) {
		struct listed entry = {0};

		for (;;) {
			struct dir_pair pair = r->pairs[i];

			err = entry_next(r->from, pair.from, entry.slot,
			                 &entry);
			if (!err)
				err = entry_bring(r, &pair, &entry);
			if (!err)
				err = restore_pause(r);
			if (err)
				break;
		}
		if (err == -ENOENT)
			err = restore_sync(r, r->pairs[i].from, r->pairs[i].to);
	}
	return err;
}

/* ---- Paths -------------------------------------------------------------- */

/* Take the next name of a path.  Return false at its end. */
static bool path_step(const char **path, char name[NAME_LEN_MAX + 1],
                      int *ret_err)
{
	size_t len;

	*path += strspn(*path, "/");
	len = strcspn(*path, "/");
	*ret_err = len > NAME_LEN_MAX ? -ENAMETOOLONG : 0;
	if (!len || *ret_err)
		return false;
	memcpy(name, *path, len);
	name[len] = 0;
	*path += len;
	if (!strcmp(name, ".") || !strcmp(name, "..")) {
		*ret_err = -EINVAL;
		return false;
	}
	return true;
}

static bool path_ends(const char *path)
{
	return !path[strspn(path, "/")];
}

/*
 * Find the directory of the last name of the target's path; restore missing
 * directories from the source.  *ret_name is "" for the root.
 */
static int parent_find(struct restore *r, uint64_t *ret_dir,
                       char ret_name[NAME_LEN_MAX + 1])
{
	bool same = !strcmp(r->what->path, r->what->into);
	uint64_t dir = INO_ROOT, from = INO_ROOT, next;
	const char *path = r->what->into;
	uint8_t type;
	int err;

	*ret_name = 0;
	while (path_step(&path, ret_name, &err)) {
		size_t len = strlen(ret_name);

		if (path_ends(path))
			break;
		if (same)
			err = tree_entry(r->from, from, ret_name, len, &from,
			                 NULL);
		if (!err)
			err = tree_entry(r->to, dir, ret_name, len, &next,
			                 &type);
		if (!err && type != DT_DIR)
			err = -ENOTDIR;
		if (err == -ENOENT && same)
			err = restore_attach(r, dir, ret_name, from, &next);
		if (err)
			return err;
		dir = next;
	}
	*ret_dir = dir;
	return err;
}

static int dir_touch(struct restore *r, uint64_t dir)
{
	struct vnode v;
	int err = restore_load(r, dir, &v);

	if (err)
		return err;
	vnode_touch(&v);
	return vnode_store(&v);
}

/* Restore the file of the paths; or add the pair of its directories. */
static int top_restore(struct restore *r, uint64_t source, bool is_dir)
{
	char name[NAME_LEN_MAX + 1];
	uint64_t dir = 0, ino;
	uint8_t type;
	int err = parent_find(r, &dir, name);

	if (err)
		return err;
	if (!*name)
		return is_dir ? pair_add(r, source, INO_ROOT) : -EISDIR;
	err = tree_entry(r->to, dir, name, strlen(name), &ino, &type);
	if (!err && is_dir && type == DT_DIR)
		return pair_add(r, source, ino);
	if (!err && !is_dir && ino == source)
		return restore_sync(r, source, ino);
	if (!err)
		err = restore_detach(r, dir, name);
	if (!err || err == -ENOENT)
		err = restore_empty(r);
	if (!err)
		err = restore_attach(r, dir, name, source, &ino);
	if (!err)
		err = dir_touch(r, dir);
	return err || !is_dir ? err : pair_add(r, source, ino);
}

/* ---- Building and switching --------------------------------------------- */

static bool is_whole(const struct fs_restore *what)
{
	return path_ends(what->path) && path_ends(what->into);
}

/* Hold the trees, and begin the side head. */
static int restore_begin(struct restore *r)
{
	const struct fs_restore *what = r->what;
	struct state *source, *fork;
	int err = state_get(r->fs->forest, what->source, &source);

	if (!err)
		err = state_get(r->fs->forest, what->fork, &fork);
	if (!err && fork->flags & STATE_READONLY)
		err = -EROFS;
	if (!err)
		err = state_hold(fork, &r->now->before);
	if (!err)
		err = state_hold(source, &r->source);
	if (!err)
		err = side_begin(fork, &r->now->side);
	if (err)
		return err;
	r->from = hold_tree(&r->source);
	return restore_piece(r);
}

int restore_build(struct restore *r)
{
	struct inode inode;
	uint64_t ino;
	int err = tree_path_find(r->from, r->what->path, &ino, &inode);

	if (!err)
		err = restore_find_dirty(r);
	if (!err)
		err = top_restore(r, ino, S_ISDIR(inode.mode));
	if (!err)
		err = pairs_remove(r);
	return err ? err : pairs_add(r);
}

void restore_release(struct restore *r)
{
	tdestroy(r->links, free);
	free(r->dirty);
	free(r->pairs);
	free(r->removed);
	r->links = NULL;
	r->dirty = r->removed = NULL;
	r->pairs = NULL;
	r->dirty_len = r->dirty_room = 0;
	r->pairs_len = r->pairs_room = 0;
	r->removed_len = r->removed_room = 0;
}

/*
 * Make the snapshot, and switch.  -EAGAIN: the fork has changed since the side
 * head was begun.
 */
static int restore_switch(struct restore *r)
{
	struct fs *fs = r->fs;
	const struct fs_cred cred = {.uid = r->what->uid};
	struct state *fork, *undo;
	int err = state_get(fs->forest, r->what->fork, &fork);

	if (err || r->what->dry_run)
		return err;
	if (!side_is_current(&r->now->side, fork))
		return -EAGAIN;
	err = side_check_quota(&r->now->side, fork);
	if (!err && r->what->undo) {
		err = fs_state_snapshot(fs, fork, r->what->undo, &cred, &undo);
		/* The search for a number may have released the lock. */
		if (!err)
			err = state_get(fs->forest, r->what->fork, &fork);
		if (!err && !side_is_current(&r->now->side, fork)) {
			fs_state_destroy(fs, undo, false);
			return -EAGAIN;
		}
	}
	if (!err)
		err = side_switch(&r->now->side, fork);
	if (err)
		return err;
	fork_switched(fs, fork);
	return 0;
}

/* Make the snapshot, and restore the whole fork.  Lock held. */
static int restore_whole(struct restore *r)
{
	const struct fs_restore *what = r->what;
	const struct fs_cred cred = {.uid = what->uid};
	struct state *source, *fork, *undo = NULL;
	uint64_t made = 0;
	int err = state_get(r->fs->forest, what->fork, &fork);

	if (!err && what->undo && !what->dry_run) {
		err = fs_state_snapshot(r->fs, fork, what->undo, &cred, &undo);
		made = err ? 0 : undo->number;
	}
	/* The search for a number may have released the lock. */
	if (!err)
		err = state_get(r->fs->forest, what->source, &source);
	if (!err)
		err = state_get(r->fs->forest, what->fork, &fork);
	if (!err)
		err = fs_restore_whole(r->fs, source, fork, what->dry_run,
		                       r->now);
	if (err && made && !state_get(r->fs->forest, made, &undo))
		fs_state_destroy(r->fs, undo, false);
	return err;
}

/* Release the source and the memory of one attempt.  Lock held. */
static void attempt_end(struct restore *r)
{
	hold_release(r->fs->forest, &r->source);
	restore_release(r);
}

/* Build the side head, and switch to it.  Lock held, but released meanwhile. */
static int restore_attempt(struct restore *r)
{
	int err = restore_begin(r);

	if (!err)
		err = restore_build(r);
	if (!err)
		err = restore_switch(r);
	attempt_end(r);
	if (err) {
		side_end(r->fs->forest, &r->now->side);
		hold_release(r->fs->forest, &r->now->before);
	}
	return err;
}

int fs_restore(struct fs *fs, const struct fs_restore *what,
               struct fs_restored *ret_restored)
{
	struct restore r = {.fs = fs, .what = what, .now = ret_restored};
	int err = -EAGAIN;

	*ret_restored = (struct fs_restored){0};
	for (int attempt = 1; err == -EAGAIN; attempt++) {
		err = store_throttle(fs->store, true);
		if (err)
			break;
		r.exclusive = attempt >= ATTEMPTS;
		store_lock(fs->store);
		err = is_whole(what) ? restore_whole(&r) : restore_attempt(&r);
		store_unlock(fs->store);
	}
	return err;
}

void fs_restored_release(struct fs *fs, struct fs_restored *restored)
{
	store_lock(fs->store);
	hold_release(fs->forest, &restored->before);
	side_end(fs->forest, &restored->side);
	store_unlock(fs->store);
}
