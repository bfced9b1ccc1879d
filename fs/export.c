/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Exports: walking a tree, and sending its files. */
#include "fs.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>

#include "array.h"
#include "import_stream.h"
#include "inode.h"
#include "path_filter.h"
#include "want.h"

enum {
	ENTRIES = 64,        /* most entries read in one hold of the lock */
	DATA_MOST = 1 << 20, /* most bytes of a DATA */
};

/* An xattr whose value is kept in a chunk. */
struct long_value {
	char name[NAME_LEN_MAX + 1];
	uint64_t chunk;
};

/* An entry of a directory, copied out of the tree. */
struct exported {
	uint64_t ino;
	struct inode inode;
	char name[NAME_LEN_MAX + 1];
	bool done;  /* not sent as a file: see entry_take(), files_ask() */
	bool asked; /* the receiver was asked about it, by its first name */
};

struct exporting {
	struct fs *fs;
	struct tree *tree;
	const struct fs_export *what;
	struct import_stream stream;
	struct fs_export_counts *counts;
	void *sent;        /* tree of sent inode numbers with several names */
	uint64_t next_dir; /* number of the next directory */
	uint8_t *xattrs;   /* encoded; IMPORT_XATTRS_MAX bytes */
	size_t xattrs_len;
	uint64_t at; /* offset in the file that is being sent */
};

/* ---- Extended attributes ------------------------------------------------ */

/* Encode the short xattrs of an inode, and list the others.  Lock held. */
static int xattrs_list(struct exporting *e, uint64_t ino, struct writer *w,
                       struct long_value **values, size_t *len)
{
	struct key key = {.ino = ino, .kind = ITEM_XATTR};
	struct cursor cursor;
	struct xattr_item x;
	struct item item;
	size_t room = 0;
	int err = cursor_seek(&cursor, e->tree, &key, &item);

	for (; !err; err = cursor_next(&cursor, &item)) {
		struct long_value *value;

		if (item.key.ino != ino || item.key.kind != ITEM_XATTR)
			return 0;
		err = xattr_decode(item.value, item.len, &x);
		if (err)
			return err;
		if (!x.chunk) {
			import_bytes_put(w, x.name, x.name_len);
			import_bytes_put(w, x.value, x.len);
			continue;
		}
		value = array_add(values, len, &room);
		if (!value)
			return -ENOMEM;
		memcpy(value->name, x.name, x.name_len);
		value->chunk = x.chunk;
	}
	return err == -ENOENT ? 0 : err;
}

/* Encode all xattrs of an inode.  Lock NOT held. */
static int xattrs_read(struct exporting *e, uint64_t ino,
                       const struct inode *inode)
{
	struct writer w = writer_init(e->xattrs, IMPORT_XATTRS_MAX);
	_cleanup_free_ struct long_value *values = NULL;
	size_t len = 0;
	int err;

	e->xattrs_len = 0;
	if (!inode->xattrs)
		return 0;
	store_lock(e->fs->store);
	err = xattrs_list(e, ino, &w, &values, &len);
	store_unlock(e->fs->store);
	for (size_t i = 0; !err && i < len; i++) {
		_cleanup_chunk_ struct chunk *chunk = NULL;

		err = chunk_load(e->fs->store, values[i].chunk, &chunk);
		if (err)
			break;
		import_bytes_put(&w, values[i].name, strlen(values[i].name));
		import_bytes_put(&w, chunk_data(chunk), chunk_len(chunk));
	}
	e->xattrs_len = writer_len(&w);
	return err ? err : w.bad ? -E2BIG : 0;
}

/* ---- Files -------------------------------------------------------------- */

static struct import_attr attr_of(const struct exported *entry)
{
	return (struct import_attr){.inode = entry->inode, .ino = entry->ino};
}

/* Return 1 if another name of the inode was sent before, else note it. */
static int is_known(struct exporting *e, const struct exported *entry)
{
	uint64_t *number, **found;

	if (entry->inode.nlink < 2)
		return 0;
	number = malloc(sizeof(*number));
	if (!number)
		return -ENOMEM;
	*number = entry->ino;
	found = tsearch(number, &e->sent, number_compare);
	if (found && *found == number)
		return 0;
	free(number);
	return found ? 1 : -ENOMEM;
}

static int data_send(void *arg, const uint8_t *data, uint64_t len)
{
	struct exporting *e = arg;

	while (data && len) {
		size_t part = MIN(len, (uint64_t)DATA_MOST);
		struct writer *w = stream_begin(&e->stream, IMPORT_DATA);

		put_varint(w, e->at);
		put_bytes(w, data, part);
		stream_end(&e->stream);
		e->at += part;
		data += part;
		len -= part;
	}
	e->at += len;
	return e->stream.error;
}

/* Add the target of a symlink to the frame. */
static int target_send(void *arg, const uint8_t *data, uint64_t len)
{
	struct exporting *e = arg;

	if (data)
		put_bytes(&e->stream.frame, data, len);
	return 0;
}

static int content_send(struct exporting *e, const struct exported *entry)
{
	uint64_t size = entry->inode.size;
	struct writer *w;
	int err;

	e->at = 0;
	err = file_content(e->tree, entry->ino, size, data_send, e);
	if (e->stream.error)
		return e->stream.error;
	w = stream_begin(&e->stream, IMPORT_END);
	put_u8(w, err ? IMPORT_FAILED : 0);
	put_varint(w, size);
	return stream_end(&e->stream);
}

static struct writer *name_send(struct exporting *e, enum import_kind kind,
                                uint64_t dir, const struct exported *entry)
{
	struct writer *w = stream_begin(&e->stream, kind);

	put_varint(w, dir);
	import_bytes_put(w, entry->name, strlen(entry->name));
	return w;
}

/* Send the first name of a file, without the content of a regular one. */
static int head_send(struct exporting *e, uint64_t dir,
                     const struct exported *entry, unsigned flags)
{
	const struct import_attr attr = attr_of(entry);
	int err = xattrs_read(e, entry->ino, &entry->inode);
	struct writer *w;

	if (err)
		return err;
	w = name_send(e, IMPORT_FILE, dir, entry);
	put_u8(w, (uint8_t)flags);
	import_attr_put(w, &attr);
	import_bytes_put(w, e->xattrs, e->xattrs_len);
	if (S_ISLNK(entry->inode.mode))
		err = file_content(e->tree, entry->ino, entry->inode.size,
		                   target_send, e);
	return err ? err : stream_end(&e->stream);
}

/* Send an entry that is no directory. */
static int file_send(struct exporting *e, uint64_t dir,
                     const struct exported *entry)
{
	const struct import_attr attr = attr_of(entry);
	bool regular = S_ISREG(entry->inode.mode);
	int known = entry->asked ? 0 : is_known(e, entry), err;

	if (known < 0)
		return known;
	if (known) {
		import_attr_put(name_send(e, IMPORT_LINK, dir, entry), &attr);
		return stream_end(&e->stream);
	}
	if (regular && !entry->asked)
		e->counts->bytes += entry->inode.size;
	err = head_send(e, dir, entry, regular ? IMPORT_MORE : 0);
	return err || !regular ? err : content_send(e, entry);
}

/* Ask for the first name of a regular file. */
static int file_ask(struct exporting *e, uint64_t dir, struct exported *entry)
{
	int known;

	if (entry->done || !S_ISREG(entry->inode.mode))
		return 0;
	known = is_known(e, entry);
	if (known)
		return MIN(known, 0);
	entry->asked = true;
	e->counts->bytes += entry->inode.size;
	return head_send(e, dir, entry, IMPORT_META);
}

/* Ask for all regular files among the entries, and mark the unneeded ones. */
static int files_ask(struct exporting *e, uint64_t dir,
                     struct exported *entries, size_t count)
{
	uint8_t verdicts[ENTRIES];
	size_t asked = 0;
	int err = 0;

	for (size_t i = 0; !err && i < count; i++) {
		err = file_ask(e, dir, &entries[i]);
		asked += entries[i].asked;
	}
	if (err || !asked)
		return err;
	put_varint(stream_begin(&e->stream, IMPORT_ENTRIES), dir);
	err = stream_end(&e->stream);
	if (!err)
		err = stream_read(&e->stream, verdicts, asked);
	for (size_t i = 0, at = 0; !err && i < count; i++)
		if (entries[i].asked)
			entries[i].done = verdicts[at++] == IMPORT_SAME;
	return err;
}

/* ---- Directories -------------------------------------------------------- */

/* A directory that is not sent yet, or not complete. */
struct level {
	uint64_t ino;
	uint64_t number, parent; /* directory numbers of the frames */
	char *path; /* below the top, with a slash before each name */
	bool open;  /* its DIR was sent, with `number` */
};

struct levels {
	struct level *at;
	size_t len, room;
};

static int dir_begin(struct exporting *e, const struct level *level)
{
	const char *slash = strrchr(level->path, '/');
	struct import_attr attr = {.ino = level->ino};
	struct writer *w;
	int err;

	store_lock(e->fs->store);
	err = inode_load(e->tree, level->ino, &attr.inode);
	store_unlock(e->fs->store);
	if (!err)
		err = xattrs_read(e, level->ino, &attr.inode);
	if (err)
		return err == -ENOENT ? -EUCLEAN : err;
	e->counts->dirs++;
	w = stream_begin(&e->stream, IMPORT_DIR);
	put_varint(w, level->number);
	put_varint(w, level->parent);
	if (slash)
		import_bytes_put(w, slash + 1, strlen(slash + 1));
	import_attr_put(w, &attr);
	import_bytes_put(w, e->xattrs, e->xattrs_len);
	return stream_end(&e->stream);
}

/* Read the next entries, from *off on.  Lock held.  -EAGAIN: there are more. */
static int entries_read(struct exporting *e, uint64_t dir, uint64_t *off,
                        struct exported *entries, size_t *ret_count)
{
	const struct key key = {dir, ITEM_DIRENT, *off};
	struct cursor cursor;
	struct item item;
	int err = cursor_seek(&cursor, e->tree, &key, &item);

	for (*ret_count = 0; !err; err = cursor_next(&cursor, &item)) {
		struct exported *entry = &entries[*ret_count];
		struct dirent_item d;

		if (item.key.ino != dir || item.key.kind != ITEM_DIRENT)
			return 0;
		*off = item.key.off;
		if (*ret_count == ENTRIES)
			return -EAGAIN;
		err = dirent_decode(item.value, item.len, &d);
		if (!err)
			err = inode_load(e->tree, d.ino, &entry->inode);
		if (err)
			return err == -ENOENT ? -EUCLEAN : err;
		entry->ino = d.ino;
		memcpy(entry->name, d.name, d.name_len);
		entry->name[d.name_len] = 0;
		++*ret_count;
	}
	return err == -ENOENT ? 0 : err;
}

/* Add a subdirectory.  Takes the ownership of *path. */
static int level_add(struct levels *levels, uint64_t parent, uint64_t ino,
                     char **path)
{
	struct level *level =
	        array_add(&levels->at, &levels->len, &levels->room);

	if (!level)
		return -ENOMEM;
	level->ino = ino;
	level->parent = parent;
	level->path = steal(path);
	return 0;
}

/* Count an entry of the directory `path`, or add it if it is a directory. */
static int entry_take(struct exporting *e, struct levels *levels,
                      uint64_t number, const char *path, struct exported *entry)
{
	const struct path_filter *filter = e->what->filter;
	bool is_dir = S_ISDIR(entry->inode.mode), excluded = false;
	_cleanup_free_ char *own = NULL;

	if (is_dir || filter->len) {
		if (asprintf(&own, "%s/%s", path, entry->name) < 0) {
			own = NULL;
			return -ENOMEM;
		}
		excluded = path_filter_excludes(filter, own, is_dir);
	}
	entry->asked = false;
	entry->done = is_dir || excluded;
	e->counts->files += !entry->done;
	return is_dir && !excluded ? level_add(levels, number, entry->ino, &own)
	                           : 0;
}

static int entries_send(struct exporting *e, struct levels *levels,
                        uint64_t number, const char *path,
                        struct exported *entries, size_t count)
{
	int err = 0;

	for (size_t i = 0; !err && i < count; i++)
		err = entry_take(e, levels, number, path, &entries[i]);
	if (!err && e->what->ask)
		err = files_ask(e, number, entries, count);
	for (size_t i = 0; !err && i < count; i++)
		if (!entries[i].done)
			err = file_send(e, number, &entries[i]);
	return err;
}

/* Send the files of a directory, and add its subdirectories. */
static int dir_read(struct exporting *e, struct levels *levels, uint64_t number,
                    uint64_t ino, const char *path)
{
	_cleanup_free_ struct exported *entries =
	        calloc(ENTRIES, sizeof(*entries));
	int more = -EAGAIN, err = entries ? 0 : -ENOMEM;
	uint64_t off = 0;

	while (!err && more == -EAGAIN) {
		size_t count;

		store_lock(e->fs->store);
		more = entries_read(e, ino, &off, entries, &count);
		store_unlock(e->fs->store);
		err = entries_send(e, levels, number, path, entries, count);
		if (!err)
			err = store_yield(e->fs->store);
	}
	return err ? err : more;
}

static int dirs_send(struct exporting *e, struct levels *levels)
{
	int err = 0;

	while (!err && levels->len) {
		struct level *level = &levels->at[levels->len - 1];
		struct writer *w;

		if (level->open) {
			w = stream_begin(&e->stream, IMPORT_DONE);
			put_varint(w, level->number);
			put_u8(w, 0);
			err = stream_end(&e->stream);
			free(level->path);
			levels->len--;
			continue;
		}
		level->open = true;
		level->number = e->next_dir++;
		err = dir_begin(e, level);
		if (!err)
			err = dir_read(e, levels, level->number, level->ino,
			               level->path);
	}
	return err;
}

static int export_run(struct exporting *e, uint64_t ino)
{
	struct levels levels = {0};
	char *path = strdup("");
	int err = path ? level_add(&levels, 0, ino, &path) : -ENOMEM;

	if (!err)
		err = dirs_send(e, &levels);
	free(path);
	while (levels.len)
		free(levels.at[--levels.len].path);
	free(levels.at);
	if (err)
		return err;
	stream_begin(&e->stream, IMPORT_COMMIT);
	stream_end(&e->stream);
	return stream_flush(&e->stream);
}

int fs_export(struct fs *fs, const struct state_hold *hold,
              const struct fs_export *what, struct fs_export_counts *ret_counts)
{
	struct exporting e = {.fs = fs,
	                      .tree = hold_tree(hold),
	                      .what = what,
	                      .counts = ret_counts};
	int err = stream_init(&e.stream, what->socket);

	*ret_counts = (struct fs_export_counts){0};
	e.xattrs = malloc(IMPORT_XATTRS_MAX);
	if (!err && !e.xattrs)
		err = -ENOMEM;
	if (!err)
		err = export_run(&e, what->ino);
	tdestroy(e.sent, free);
	free(e.xattrs);
	stream_release(&e.stream);
	return err == -ECONNRESET ? -EPIPE : err;
}
