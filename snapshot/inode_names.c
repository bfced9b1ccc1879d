/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "inode_names.h"

#include <errno.h>

#include "snapshot.h"
#include "util.h"

enum { PIECE = 256 };

int inode_name_compare(const struct inode_name *a, const struct inode_name *b)
{
	if (a->parent != b->parent)
		return a->parent < b->parent ? -1 : 1;
	return strcmp(a->name, b->name);
}

static int compare(const void *a, const void *b)
{
	return inode_name_compare(a, b);
}

static int name_add(struct inode_names *names, uint64_t parent,
                    const char *name, size_t len)
{
	struct inode_name *n;

	if (names->count == names->capacity) {
		size_t capacity = names->capacity ? 2 * names->capacity : 4;

		n = realloc(names->names, capacity * sizeof(*n));
		if (!n)
			return -ENOMEM;
		names->names = n;
		names->capacity = capacity;
	}
	n = &names->names[names->count++];
	n->parent = parent;
	n->len = (uint8_t)len;
	memcpy(n->name, name, len);
	n->name[len] = 0;
	return 0;
}

/* Add up to a piece of names from *off on.  -EAGAIN: there may be more. */
static int names_add_piece(struct tree *tree, uint64_t ino, uint64_t *off,
                           struct inode_names *names)
{
	const struct key key = {ino, ITEM_BACKREF, *off};
	struct backref_item b;
	struct cursor cursor;
	struct item item;
	int r = cursor_seek(&cursor, tree, &key, &item);

	for (int i = 0; !r; i++) {
		if (item.key.ino != ino || item.key.kind != ITEM_BACKREF)
			return 0;
		*off = item.key.off;
		if (i == PIECE)
			return -EAGAIN;
		r = backref_decode(item.value, item.len, &b);
		if (!r)
			r = name_add(names, b.parent, b.name, b.name_len);
		if (!r)
			r = cursor_next(&cursor, &item);
	}
	return r == -ENOENT ? 0 : r;
}

int inode_names_get(struct tree *tree, uint64_t ino, struct inode_names *names)
{
	uint64_t off = 0;
	int r;

	if (ino == INO_ROOT)
		return name_add(names, 0, "", 0);
	do {
		store_lock(tree->store);
		r = names_add_piece(tree, ino, &off, names);
		store_unlock(tree->store);
	} while (r == -EAGAIN && !store_yield(tree->store));
	if (r == -EAGAIN)
		return -EINTR;
	if (names->count > 1)
		qsort(names->names, names->count, sizeof(*names->names),
		      compare);
	return r;
}

void inode_names_clear(struct inode_names *names)
{
	names->count = 0;
}

void inode_names_release(struct inode_names *names)
{
	free(names->names);
	*names = (struct inode_names){0};
}

int inode_name_path(struct tree *tree, const struct inode_name *name,
                    char *ret_path)
{
	int r;

	if (!name->parent) {
		strcpy(ret_path, "/");
		return 0;
	}
	r = tree_path_of(tree, name->parent, name->name, name->len, ret_path);
	if (r == -ENAMETOOLONG) {
		snprintf(ret_path, TREE_PATH_SIZE, ".../%s", name->name);
		r = 0;
	}
	return r;
}
