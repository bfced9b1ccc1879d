/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Walking the source of an import.
 *
 * If the state may have the entries of a directory, their attributes are sent
 * in frames of ENTRIES, and the walk continues.  The entries that the receiver
 * wants are sent when its answer is read.  In a directory that is new to the
 * state, entries are sent at once.
 */
#include "import_source.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>

#include "array.h"
#include "command.h"
#include "import_walk.h"
#include "util.h"

enum { NAMES_SORTED = 1024 }; /* most names sorted at a time */

void progress_clear(struct import_progress *progress)
{
	flockfile(stderr);
	if (atomic_exchange(&progress->shown, false))
		fputs("\r\033[K", stderr);
	funlockfile(stderr);
}

void source_complain(struct import_source *s, const struct source_dir *dir,
                     const char *name, const char *what)
{
	s->progress->failed++;
	progress_clear(s->progress);
	complain("%s%s%s: %s", dir ? dir->path + (*dir->path == '/') : "",
	         dir && *dir->path ? "/" : "", name, what);
}

/* ---- Directories -------------------------------------------------------- */

static int number_take(struct import_source *s, uint64_t *ret_number)
{
	if (s->numbers_len)
		*ret_number = s->numbers[--s->numbers_len];
	else if (s->numbers_end < IMPORT_DIRS_MAX)
		*ret_number = s->numbers_end++;
	else
		return -EMFILE;
	return 0;
}

static void dir_destroy(struct source_dir *dir)
{
	if (!dir)
		return;
	close_fd(&dir->fd);
	free(dir->path);
	free(dir);
}

/* Release a reference after an error, when nothing more is sent. */
static void dir_drop(struct source_dir *dir)
{
	if (!--dir->refs)
		dir_destroy(dir);
}

/* Release a reference; the last one sends the DONE of the directory. */
static int dir_unref(struct import_source *s, struct source_dir *dir)
{
	uint64_t *number;
	struct writer *w;

	if (--dir->refs)
		return 0;
	w = stream_begin(&s->stream, IMPORT_DONE);
	put_varint(w, dir->number);
	put_u8(w, dir->partial ? IMPORT_PARTIAL : 0);
	number = array_add(&s->numbers, &s->numbers_len, &s->numbers_room);
	if (number)
		*number = dir->number;
	dir_destroy(dir);
	return stream_end(&s->stream);
}

/* Send the DIR of an open directory. */
static int dir_send(struct import_source *s, struct source_dir *dir,
                    uint64_t parent, const char *name)
{
	struct import_attr attr;
	struct writer *w;
	struct stat st;
	int err = fstat(dir->fd, &st) < 0 ? -errno : 0;

	if (!err)
		err = source_xattrs(s, dir->fd, NULL);
	if (err)
		return err;
	s->progress->dirs++;
	attr = source_attr(&st);
	dir->dev = st.st_dev;
	w = stream_begin(&s->stream, IMPORT_DIR);
	put_varint(w, dir->number);
	put_varint(w, parent);
	if (dir->number)
		import_bytes_put(w, name, strlen(name));
	import_attr_put(w, &attr);
	import_bytes_put(w, s->xattrs, s->xattrs_len);
	return stream_end(&s->stream);
}

/* Send a KEEP: the state keeps a name that cannot be read in the source. */
static int keep_send(struct import_source *s, const struct source_dir *dir,
                     const char *name)
{
	struct writer *w = stream_begin(&s->stream, IMPORT_KEEP);

	put_varint(w, dir->number);
	import_bytes_put(w, name, strlen(name));
	return stream_end(&s->stream);
}

/* ---- Frames of entries -------------------------------------------------- */

static struct source_frame *frame_at(struct import_source *s, size_t i)
{
	return &s->frames[(s->first + i) % (IMPORT_WINDOW + 1)];
}

/* Read the answer to the oldest frame, and send the entries that it wants. */
static int answer_take(struct import_source *s)
{
	struct source_frame *f = frame_at(s, 0);
	uint8_t answer[1 + IMPORT_ENTRIES_MAX];
	struct source_dir *dir = f->dir;
	int err = stream_read(&s->stream, answer, 1 + f->len);

	if (err)
		return err;
	if (answer[0] & IMPORT_FRESH)
		dir->fresh = true;
	for (size_t i = 0; !err && i < f->len; i++) {
		const struct source_entry *e = &f->entries[i];

		if (answer[1 + i] != IMPORT_SAME)
			err = source_send(s, dir, f->names + e->name, &e->attr,
			                  answer[1 + i]);
	}
	s->first = (s->first + 1) % (IMPORT_WINDOW + 1);
	s->waiting--;
	if (!err)
		return dir_unref(s, dir);
	dir_drop(dir);
	return err;
}

/* Send the frame that is being made, unless it is empty. */
static int frame_send(struct import_source *s)
{
	struct source_frame *f = frame_at(s, s->waiting);
	struct writer *w;
	int err;

	if (!f->len)
		return 0;
	w = stream_begin(&s->stream, IMPORT_ENTRIES);
	put_varint(w, f->dir->number);
	for (size_t i = 0; i < f->len; i++) {
		const char *name = f->names + f->entries[i].name;

		import_bytes_put(w, name, strlen(name));
		import_attr_put(w, &f->entries[i].attr);
	}
	err = stream_end(&s->stream);
	f->dir->refs++;
	s->waiting++;
	if (!err && s->waiting == IMPORT_WINDOW)
		err = answer_take(s);
	f = frame_at(s, s->waiting);
	f->len = f->names_len = 0;
	return err;
}

static int entry_add(struct import_source *s, struct source_dir *dir,
                     const char *name, const struct stat *st)
{
	struct source_frame *f = frame_at(s, s->waiting);
	size_t len = strlen(name) + 1;
	struct source_entry *e = &f->entries[f->len++];

	f->dir = dir;
	e->attr = source_attr(st);
	e->name = (uint32_t)f->names_len;
	memcpy(f->names + f->names_len, name, len);
	f->names_len += len;
	return f->len == IMPORT_ENTRIES_MAX ? frame_send(s) : 0;
}

/* ---- The walk ----------------------------------------------------------- */

/* A name of a directory. */
struct listed {
	uint64_t ino; /* must be first, for number_compare() */
	char *name;
};

struct names {
	struct listed *at;
	size_t len, room;
};

static void names_release(struct names *names)
{
	for (size_t i = 0; i < names->len; i++)
		free(names->at[i].name);
	free(names->at);
	*names = (struct names){0};
}

static int names_add(struct names *names, uint64_t ino, const char *name)
{
	struct listed *added = array_add(&names->at, &names->len, &names->room);

	if (added)
		*added = (struct listed){ino, strdup(name)};
	return added && added->name ? 0 : -ENOMEM;
}

static bool is_excluded(const struct import_source *s,
                        const struct source_dir *dir, const char *name,
                        bool is_dir)
{
	_cleanup_free_ char *path = NULL;

	if (!s->options->filter->len)
		return false;
	if (asprintf(&path, "%s/%s", dir->path, name) < 0)
		return path = NULL, false;
	return path_filter_excludes(s->options->filter, path, is_dir);
}

/* Report and return true if a name cannot be imported: .snap, or the store. */
static bool is_left_out(struct import_source *s, const struct source_dir *dir,
                        const char *name, const struct stat *st)
{
	if (s->options->whole && !dir->number && !strcmp(name, ".snap")) {
		source_complain(s, dir, name,
		                "the top of a state cannot have this name");
		return true;
	}
	if (S_ISDIR(st->st_mode) && st->st_dev == s->options->store_dev &&
	    st->st_ino == s->options->store_ino) {
		complain("%s%s%s: left out: it is the store",
		         dir->path + (*dir->path == '/'), *dir->path ? "/" : "",
		         name);
		return true;
	}
	return false;
}

static bool is_device(const struct stat *st)
{
	return S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);
}

/* Send a name, or add it to a frame or to the subdirectories. */
static int name_visit(struct import_source *s, struct source_dir *dir,
                      const char *name, struct names *subdirs)
{
	struct import_attr attr;
	struct stat st;

	if (strlen(name) > NAME_LEN_MAX) {
		source_complain(s, dir, name, strerror(ENAMETOOLONG));
		return 0;
	}
	if (fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		source_complain(s, dir, name,
		                errno == ENOENT
		                        ? "it went while the source was read"
		                        : strerror(errno));
		return errno == ENOENT ? 0 : keep_send(s, dir, name);
	}
	if (is_excluded(s, dir, name, S_ISDIR(st.st_mode)) ||
	    is_left_out(s, dir, name, &st))
		return 0;
	if (S_ISDIR(st.st_mode))
		return names_add(subdirs, st.st_ino, name);
	if (is_device(&st) && !s->options->superuser) {
		source_complain(s, dir, name, "only root can import devices");
		return keep_send(s, dir, name);
	}
	s->progress->files++;
	if (S_ISREG(st.st_mode))
		s->progress->size += (uint64_t)st.st_size;
	if (!dir->fresh)
		return entry_add(s, dir, name, &st);
	attr = source_attr(&st);
	return source_send(s, dir, name, &attr, IMPORT_WANT);
}

/* Visit names in the order of their inodes, often their order on the disk. */
static int names_visit(struct import_source *s, struct source_dir *dir,
                       struct names *names, struct names *subdirs)
{
	int err = 0;

	array_sort(names->at, names->len, number_compare);
	for (size_t i = 0; !err && i < names->len; i++)
		err = name_visit(s, dir, names->at[i].name, subdirs);
	names_release(names);
	return err ? err : s->stream.error;
}

/* Visit all names of a directory. */
static int dir_read(struct import_source *s, struct source_dir *dir,
                    struct names *subdirs)
{
	/* Not dup(): it would share the position of an earlier attempt. */
	int fd = source_open(dir->fd, ".", O_DIRECTORY), err = 0;
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct names names = {0};
	struct dirent *d = NULL;

	if (!stream) {
		close_fd(&fd);
		dir->partial = true;
		source_complain(s, dir, ".", strerror(errno));
		return 0;
	}
	while (!err && (errno = 0, d = readdir(stream))) {
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		err = names_add(&names, d->d_ino, d->d_name);
		if (!err && names.len == NAMES_SORTED)
			err = names_visit(s, dir, &names, subdirs);
	}
	if (!err && !d && errno) {
		dir->partial = true;
		source_complain(s, dir, ".", strerror(errno));
	}
	closedir(stream);
	if (!err)
		err = names_visit(s, dir, &names, subdirs);
	names_release(&names);
	return err ? err : frame_send(s);
}

static int dir_walk(struct import_source *s, struct source_dir *dir);

/* Open a subdirectory.  *ret_sub NULL and 0: it failed, and was reported. */
static int subdir_open(struct import_source *s, struct source_dir *dir,
                       const char *name, struct source_dir **ret_sub)
{
	struct source_dir *sub = calloc(1, sizeof(*sub));
	int err = sub ? 0 : -ENOMEM;

	*ret_sub = NULL;
	if (err)
		return err;
	sub->fd = source_open(dir->fd, name, O_DIRECTORY);
	if (sub->fd < 0) {
		source_complain(s, dir, name, strerror(-sub->fd));
		err = sub->fd == -ENOENT ? 0 : keep_send(s, dir, name);
		dir_destroy(sub);
		return err;
	}
	if (asprintf(&sub->path, "%s/%s", dir->path, name) < 0) {
		sub->path = NULL;
		err = -ENOMEM;
	}
	if (!err)
		err = number_take(s, &sub->number);
	if (err) {
		dir_destroy(sub);
		return err;
	}
	sub->refs = 1;
	sub->fresh = dir->fresh;
	*ret_sub = sub;
	return 0;
}

static int subdir_walk(struct import_source *s, struct source_dir *dir,
                       const char *name)
{
	struct source_dir *sub;
	int err = subdir_open(s, dir, name, &sub);

	if (err || !sub)
		return err;
	err = dir_send(s, sub, dir->number, name);
	if (err) {
		if (!s->stream.error) {
			source_complain(s, dir, name, strerror(-err));
			err = keep_send(s, dir, name);
		}
		dir_destroy(sub);
		return err;
	}
	if (!s->options->one_file_system || sub->dev == s->dev)
		err = dir_walk(s, sub);
	if (!err)
		return dir_unref(s, sub);
	dir_drop(sub);
	return err;
}

static int dir_walk(struct import_source *s, struct source_dir *dir)
{
	struct names subdirs = {0};
	int err = dir_read(s, dir, &subdirs);

	for (size_t i = 0; !err && i < subdirs.len; i++)
		err = subdir_walk(s, dir, subdirs.at[i].name);
	names_release(&subdirs);
	return err;
}

/* Send everything.  Releases `top`, after an error, too. */
static int top_walk(struct import_source *s, struct source_dir *top)
{
	uint8_t hello[IMPORT_HELLO_LEN];
	int err = dir_send(s, top, 0, "");

	if (!err)
		err = stream_read(&s->stream, hello, sizeof(hello));
	if (!err) {
		s->dev = top->dev;
		s->chunk_size = be32_get(hello);
		top->fresh = hello[4] & IMPORT_FRESH;
		err = dir_walk(s, top);
	}
	while (!err && s->waiting)
		err = answer_take(s);
	if (err)
		dir_drop(top);
	else
		err = dir_unref(s, top);
	if (err)
		return err;
	stream_begin(&s->stream, IMPORT_COMMIT);
	stream_end(&s->stream);
	return stream_flush(&s->stream);
}

int import_source_send(int top, const struct import_options *options,
                       struct import_progress *progress, int socket)
{
	struct import_source s = {
	        .options = options, .progress = progress, .numbers_end = 1};
	struct source_dir *dir = calloc(1, sizeof(*dir));
	int err = stream_init(&s.stream, socket);

	s.frames = calloc(IMPORT_WINDOW + 1, sizeof(*s.frames));
	s.xattrs = malloc(IMPORT_XATTRS_MAX);
	if (dir) {
		dir->fd = fcntl(top, F_DUPFD_CLOEXEC, 0);
		dir->path = strdup("");
		dir->refs = 1;
	}
	if (!err && (!s.frames || !s.xattrs || !dir || !dir->path))
		err = -ENOMEM;
	if (err)
		dir_destroy(dir);
	else
		err = top_walk(&s, dir);
	for (; s.waiting; s.waiting--)
		dir_drop(frame_at(&s, s.waiting - 1)->dir);
	tdestroy(s.links, free);
	free(s.frames);
	free(s.xattrs);
	free(s.numbers);
	stream_release(&s.stream);
	return err;
}
