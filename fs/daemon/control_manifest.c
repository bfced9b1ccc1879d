/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_manifest.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "array.h"
#include "control_path.h"
#include "digest.h"
#include "escaped_name.h"
#include "util.h"

enum { PIECE = 256 }; /* entries read in one hold of the lock */

struct entry {
	char *name;
	uint64_t ino;
};

/* A directory whose entries are being sent. */
struct level {
	struct entry *entries;
	size_t len, capacity, next;
	size_t path_len; /* of the directory's path */
};

struct manifest {
	struct control *c;
	struct control_hold hold;
	struct tree *tree;
	const char *hash; /* NULL: no digests */
	struct digest *digest;
	struct level *levels; /* from the top to the present directory */
	size_t len, capacity;
	char *path; /* of the present file: ".", "./a", "./a/b" */
	size_t path_capacity;
};

static void level_release(struct level *level)
{
	for (size_t i = 0; i < level->len; i++)
		free(level->entries[i].name);
	free(level->entries);
}

static void manifest_release(struct manifest *m)
{
	while (m->len)
		level_release(&m->levels[--m->len]);
	free(m->levels);
	free(m->path);
	digest_destroy(m->digest);
	control_release(m->c, &m->hold);
}

/* ---- Directories -------------------------------------------------------- */

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name,
	              ((const struct entry *)b)->name);
}

static int entry_add(struct level *level, const struct item *item)
{
	struct dirent_item d;
	struct entry *entry;
	int err = dirent_decode(item->value, item->len, &d);

	if (err < 0)
		return err;
	entry = array_add(&level->entries, &level->len, &level->capacity);
	if (!entry)
		return -ENOMEM;
	entry->ino = d.ino;
	entry->name = strndup(d.name, d.name_len);
	return entry->name ? 0 : -ENOMEM;
}

/* Read some entries.  -ENOENT: there are no more after them.  Lock held. */
static int entries_some(struct tree *tree, struct key *key, struct level *level)
{
	struct cursor cursor;
	struct item item;
	uint64_t dir = key->ino;
	int err = cursor_seek(&cursor, tree, key, &item);

	for (int i = 0; !err && i < PIECE; i++) {
		if (item.key.ino != dir || item.key.kind != ITEM_DIRENT)
			return -ENOENT;
		*key = item.key;
		key->off++;
		err = entry_add(level, &item);
		if (!err)
			err = cursor_next(&cursor, &item);
	}
	return err;
}

/* Read the entries of a directory, which are sent next. */
static int level_enter(struct manifest *m, uint64_t dir, size_t path_len)
{
	struct level *level = array_add(&m->levels, &m->len, &m->capacity);
	struct key key = {.ino = dir, .kind = ITEM_DIRENT};
	int err;

	if (!level)
		return -ENOMEM;
	level->path_len = path_len;
	do {
		store_lock(m->c->store);
		err = entries_some(m->tree, &key, level);
		store_unlock(m->c->store);
		if (!err)
			err = store_yield(m->c->store);
	} while (!err);
	if (err != -ENOENT)
		return err;
	array_sort(level->entries, level->len, compare_entries);
	return 0;
}

/* ---- Rows --------------------------------------------------------------- */

static const char *type_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
		return "file";
	case S_IFDIR:
		return "dir";
	case S_IFLNK:
		return "link";
	case S_IFCHR:
		return "char";
	case S_IFBLK:
		return "block";
	case S_IFIFO:
		return "fifo";
	default:
		return "socket";
	}
}

/* A text that is read piece by piece. */
struct text {
	char bytes[TREE_PATH_SIZE];
	size_t len;
};

static int text_add(void *arg, const uint8_t *data, uint64_t len)
{
	struct text *text = arg;

	if (!data || len >= sizeof(text->bytes) - text->len)
		return -EUCLEAN;
	memcpy(text->bytes + text->len, data, len);
	text->len += len;
	text->bytes[text->len] = 0;
	return 0;
}

static int set(json_t *row, const char *key, json_t *value)
{
	return !value || json_object_set_new(row, key, value) ? -ENOMEM : 0;
}

/* Add the members that only some kinds of files have. */
static int row_kind(struct manifest *m, uint64_t ino, const struct inode *inode,
                    json_t *row)
{
	_cleanup_free_ struct text *text = NULL;
	char hex[DIGEST_TEXT_MAX];
	int err = 0;

	if (S_ISREG(inode->mode)) {
		err = set(row, "size", json_integer((json_int_t)inode->size));
		if (err || !m->digest)
			return err;
		err = digest_file(m->digest, m->tree, ino, inode->size, hex);
		return err ? err : set(row, m->hash, json_string(hex));
	}
	if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode)) {
		err = set(row, "major", json_integer(major(inode->rdev)));
		return err ? err
		           : set(row, "minor",
		                 json_integer(minor(inode->rdev)));
	}
	if (!S_ISLNK(inode->mode))
		return 0;
	text = calloc(1, sizeof(*text));
	if (!text)
		return -ENOMEM;
	err = file_content(m->tree, ino, inode->size, text_add, text);
	return err ? err : set(row, "link", name_escape(text->bytes));
}

static int row_send(struct manifest *m, uint64_t ino, const struct inode *inode)
{
	struct control *c = m->c;
	json_auto_t *row = json_pack(
	        "{s:o, s:s, s:i, s:I, s:I, s:I, s:I, s:I}", "path",
	        name_escape(m->path), "type", type_of(inode->mode), "mode",
	        (int)(inode->mode & 07777), "uid", (json_int_t)inode->uid,
	        "gid", (json_int_t)inode->gid, "nlink",
	        (json_int_t)inode->nlink, "sec", (json_int_t)inode->mtime.sec,
	        "nsec", (json_int_t)inode->mtime.nsec);
	int err = row ? row_kind(m, ino, inode, row) : -ENOMEM;

	if (err)
		return err;
	c->ended = c->fn(c->arg, row);
	return c->ended;
}

/* ---- The walk ----------------------------------------------------------- */

/* Set the path to that of an entry. */
static int path_set(struct manifest *m, size_t dir_len, const char *name)
{
	size_t size = dir_len + strlen(name) + 2;

	if (size > m->path_capacity) {
		char *path = realloc(m->path, 2 * size);

		if (!path)
			return -ENOMEM;
		m->path = path;
		m->path_capacity = 2 * size;
	}
	if (dir_len)
		m->path[dir_len++] = '/';
	strcpy(m->path + dir_len, name);
	return 0;
}

static int visit(struct manifest *m, uint64_t ino)
{
	struct inode inode;
	int err;

	store_lock(m->c->store);
	err = tree_inode(m->tree, ino, &inode);
	store_unlock(m->c->store);
	if (err == -ENOENT)
		err = -EUCLEAN;
	if (!err)
		err = row_send(m, ino, &inode);
	if (!err && S_ISDIR(inode.mode))
		err = level_enter(m, ino, strlen(m->path));
	return err ? err : store_yield(m->c->store);
}

static int walk(struct manifest *m, uint64_t top)
{
	int err = path_set(m, 0, ".");

	if (!err)
		err = visit(m, top);
	while (!err && m->len) {
		struct level *level = &m->levels[m->len - 1];
		const struct entry *entry = &level->entries[level->next];

		if (level->next == level->len) {
			level_release(level);
			m->len--;
			continue;
		}
		level->next++;
		err = path_set(m, level->path_len, entry->name);
		if (!err)
			err = visit(m, entry->ino);
	}
	return err;
}

static int digest_begin(struct manifest *m)
{
	json_t *hash = json_object_get(m->c->request, "hash");
	int err;

	if (!hash)
		return 0;
	m->hash = json_string_value(hash);
	err = m->hash ? digest_create(m->hash, &m->digest) : -EINVAL;
	if (err == -EINVAL)
		return fail(m->c, err, "\"hash\" is not a digest");
	if (err == -EOPNOTSUPP)
		return fail(m->c, err,
		            "this program was built without SHA-256; there is "
		            "--hash=xxh3");
	return err;
}

int control_manifest(struct control *c)
{
	_cleanup_(manifest_release) struct manifest m = {.c = c};
	struct control_path path;
	struct inode inode;
	uint64_t top;
	int err = control_path(c, "name", "path", true, &path);

	if (!err)
		err = digest_begin(&m);
	if (!err)
		err = control_hold(c, "list", path.state, &m.hold);
	if (err < 0)
		return err;
	m.tree = hold_tree(&m.hold.hold);
	store_lock(c->store);
	err = control_path_find(c, "list", &path, m.tree, &top, &inode);
	store_unlock(c->store);
	if (!err)
		err = walk(&m, top);
	if (err < 0 && !c->ended)
		return control_fail_path(c, "list", &path, err);
	return err;
}
