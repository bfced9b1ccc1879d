/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finding paths.  Each handle of a state remembers directories that it has
 * found, with the stamp of the tree: while the tree has this stamp, the
 * directories have not changed.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "handle.h"

enum { DIRS_KNOWN = 1024 };

struct known_dir {
	/*
	 * Set by the thread that uses the entry.  Other threads do not wait,
	 * but find the directory in the tree.
	 */
	atomic_flag busy;
	size_t len;
	uint64_t stamp, ino;
	char *path; /* NULL: no directory */
};

struct known_dirs {
	struct known_dir at[DIRS_KNOWN];
};

void known_dirs_destroy(struct known_dirs *dirs)
{
	for (size_t i = 0; dirs && i < DIRS_KNOWN; i++)
		free(dirs->at[i].path);
	free(dirs);
}

/* Take the entry for a path.  NULL: it is busy, or there is no memory. */
static struct known_dir *entry_take(struct coppice_state *state,
                                    const char *path, size_t len)
{
	struct known_dirs *dirs = atomic_load(&state->dirs), *other = NULL;
	struct known_dir *entry;

	if (!dirs) {
		/* All zeroes: no flag is set. */
		dirs = calloc(1, sizeof(*dirs));
		if (!dirs)
			return NULL;
		if (!atomic_compare_exchange_strong(&state->dirs, &other,
		                                    dirs)) {
			free(dirs);
			dirs = other;
		}
	}
	entry = &dirs->at[store_hash(state->store->store, path, len) %
	                  DIRS_KNOWN];
	return atomic_flag_test_and_set(&entry->busy) ? NULL : entry;
}

static void entry_give_back(struct known_dir *entry)
{
	atomic_flag_clear(&entry->busy);
}

/* Return the inode number of a known directory, or 0. */
static uint64_t dir_recall(struct coppice_state *state, struct tree *tree,
                           const char *path, size_t len)
{
	struct known_dir *entry = entry_take(state, path, len);
	uint64_t ino = 0;

	if (!entry)
		return 0;
	if (entry->path && entry->stamp == tree->stamp && entry->len == len &&
	    !memcmp(entry->path, path, len))
		ino = entry->ino;
	entry_give_back(entry);
	return ino;
}

static void dir_remember(struct coppice_state *state, struct tree *tree,
                         const char *path, size_t len, uint64_t ino)
{
	struct known_dir *entry = entry_take(state, path, len);
	char *copy;

	if (!entry)
		return;
	copy = entry->len == len && entry->path ? entry->path : malloc(len);
	if (copy) {
		memcpy(copy, path, len);
		if (copy != entry->path)
			free(entry->path);
		entry->path = copy;
		entry->len = len;
		entry->stamp = tree->stamp;
		entry->ino = ino;
	}
	entry_give_back(entry);
}

/* Take one step of a path. */
static int path_step(struct tree *tree, const char *name, size_t len,
                     uint64_t *ino, uint8_t *type)
{
	if (*type != DT_DIR)
		return -ENOTDIR;
	if (len > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	if (len <= 2 && !memcmp(name, "..", len))
		return -EINVAL;
	return tree_entry(tree, *ino, name, len, ino, type);
}

static int path_walk(struct tree *tree, const char *path, size_t len,
                     uint64_t *ino, uint8_t *type)
{
	int err = 0;

	for (size_t at = 0; !err && at < len;) {
		const char *slash = memchr(path + at, '/', len - at);
		size_t part = slash ? (size_t)(slash - path) - at : len - at;

		if (part)
			err = path_step(tree, path + at, part, ino, type);
		at += part + 1;
	}
	return err;
}

/*
 * Return the length of a path without slashes at its end, and that of the part
 * before its last slash.
 */
static size_t path_split(const char *path, size_t *ret_above)
{
	size_t len = strlen(path);
	const char *slash;

	while (len && path[len - 1] == '/')
		len--;
	slash = memrchr(path, '/', len);
	*ret_above = slash ? (size_t)(slash - path) : 0;
	return len;
}

struct key state_path_key(struct coppice_state *state, struct tree *tree,
                          const char *path)
{
	size_t above, len = path_split(path, &above), at = above;
	struct key key = {INO_ROOT, ITEM_DIRENT, 0};

	if (above)
		key.ino = dir_recall(state, tree, path, above);
	at += path[at] == '/';
	if (len > at && len - at <= NAME_LEN_MAX)
		key.off = slot_first(tree->store, 0, path + at, len - at);
	return key;
}

int state_path(struct coppice_state *state, struct tree *tree, const char *path,
               uint64_t *ret_ino, uint8_t *ret_type)
{
	size_t above, len = path_split(path, &above);
	uint64_t ino = INO_ROOT, known;
	uint8_t type = DT_DIR;
	int err = 0;

	if (above) {
		known = dir_recall(state, tree, path, above);
		if (known) {
			ino = known;
		} else {
			err = path_walk(tree, path, above, &ino, &type);
			if (!err && type == DT_DIR)
				dir_remember(state, tree, path, above, ino);
		}
	}
	if (!err)
		err = path_walk(tree, path + above, len - above, &ino, &type);
	if (err)
		return err;
	*ret_ino = ino;
	*ret_type = type;
	return 0;
}
