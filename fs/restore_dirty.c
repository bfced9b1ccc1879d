/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inodes that differ between a fork and the source of a restoration. */
#include "restore_tree.h"

#include <errno.h>
#include <stdlib.h>

#include "array.h"
#include "dirent_item.h"

enum { PIECE_NODES = 64 }; /* nodes compared in one hold of the lock */

static int dirty_add(struct restore *r, uint64_t ino)
{
	uint64_t *last = r->dirty_len ? &r->dirty[r->dirty_len - 1] : NULL;
	uint64_t *added;

	if (!ino || (last && *last == ino))
		return 0;
	added = array_add(&r->dirty, &r->dirty_len, &r->dirty_room);
	if (!added)
		return -ENOMEM;
	*added = ino;
	return 0;
}

static int differs(void *arg, const struct item *a, const struct item *b)
{
	return dirty_add(arg, a ? a->key.ino : b->key.ino);
}

/* Add the parents of an inode in a tree. */
static int parents_add(struct restore *r, struct tree *tree, uint64_t ino)
{
	struct key key = {.ino = ino, .kind = ITEM_BACKREF};
	struct backref_item b;
	struct cursor cursor;
	struct item item;
	int err;

	for (err = cursor_seek(&cursor, tree, &key, &item); !err;
	     err = cursor_next(&cursor, &item)) {
		if (item.key.ino != ino || item.key.kind != ITEM_BACKREF)
			return 0;
		err = backref_decode(item.value, item.len, &b);
		if (!err)
			err = dirty_add(r, b.parent);
		if (err)
			return err;
	}
	return err == -ENOENT ? 0 : err;
}

/*
 * Merge the numbers from index `old` on into those before: sort, and drop
 * duplicates.  *ret_new: the added numbers; the caller frees them.  NULL: no
 * memory.  Return their number.
 */
static size_t dirty_merge(struct restore *r, size_t old, uint64_t **ret_new)
{
	size_t count = r->dirty_len - old, left = 0;
	uint64_t *new = malloc(count * sizeof(*new) + 1);

	*ret_new = new;
	if (!new)
		return 0;
	memcpy(new, r->dirty + old, count * sizeof(*new));
	array_sort(new, count, number_compare);
	count = numbers_unique(new, count);
	for (size_t i = 0; i < count; i++)
		if (!array_find(r->dirty, old, new[i]))
			new[left++] = new[i];
	memcpy(r->dirty + old, new, left * sizeof(*new));
	r->dirty_len = old + left;
	array_sort(r->dirty, r->dirty_len, number_compare);
	return left;
}

/* Add the directories above the inodes that differ. */
static int dirty_climb(struct restore *r)
{
	uint64_t *level = NULL;
	size_t count = r->dirty_len;
	int err = 0;

	if (count) {
		level = malloc(count * sizeof(*level));
		if (!level)
			return -ENOMEM;
		memcpy(level, r->dirty, count * sizeof(*level));
	}
	while (!err && count) {
		size_t old = r->dirty_len;

		for (size_t i = 0; !err && i < count; i++) {
			err = parents_add(r, r->from, level[i]);
			if (!err)
				err = parents_add(r, hold_tree(&r->now->before),
				                  level[i]);
			if (!err)
				err = restore_pause(r);
		}
		free(level);
		level = NULL;
		if (!err) {
			count = dirty_merge(r, old, &level);
			err = level ? 0 : -ENOMEM;
		}
	}
	free(level);
	return err;
}

int restore_find_dirty(struct restore *r)
{
	struct key from = {0};
	int err;

	r->dirty_len = 0;
	do {
		err = tree_diff(r->from, hold_tree(&r->now->before), &from,
		                PIECE_NODES, differs, r);
		if (err == -EAGAIN && !r->exclusive) {
			int paused = restore_pause_now(r);

			err = paused ? paused : err;
		}
	} while (err == -EAGAIN);
	return err ? err : dirty_climb(r);
}
