/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "inode_path.h"

#include <string.h>

enum { PARTS_MAX = 2048 };

/* Put "/name" before `at`; NULL: the buffer is full. */
static char *part_put(char *start, char *at, const char *name, size_t len)
{
	if ((size_t)(at - start) < len + 1)
		return NULL;
	at -= len;
	memcpy(at, name, len);
	*--at = '/';
	return at;
}

const char *inode_path(item_seek_fn *seek, void *arg, uint64_t ino,
                       const char *name, size_t name_len,
                       char out[INODE_PATH_SIZE])
{
	char *at = out + INODE_PATH_SIZE - 1;

	*at = 0;
	if (name)
		at = part_put(out, at, name, name_len);
	for (int i = 0; at && ino != INO_ROOT; i++) {
		struct key key = {.ino = ino, .kind = ITEM_BACKREF};
		struct backref_item b;
		struct item item;

		if (i == PARTS_MAX || seek(arg, &key, &item) ||
		    item.key.ino != ino || item.key.kind != ITEM_BACKREF ||
		    backref_decode(item.value, item.len, &b))
			return NULL;
		at = part_put(out, at, b.name, b.name_len);
		ino = b.parent;
	}
	return at && !*at ? "/" : at;
}
