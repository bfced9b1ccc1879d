/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mode model: comparing what the mounts show with the model. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "model.h"

/* ---- Bytes -------------------------------------------------------------- */

static void compare_bytes(struct model *model, int inode, const uint8_t *found,
                          size_t from, size_t len, unsigned mount,
                          const char *how)
{
	const struct inode *node = &model->inodes[inode];
	const uint8_t *wanted = node->data + from;
	size_t bad = 0, count = 0;

	if (memcmp(found, wanted, len) == 0)
		return;
	while (found[bad] == wanted[bad])
		bad++;
	for (size_t i = bad; i < len; i++)
		count += found[i] != wanted[i];
	worker_fail(model->worker,
	            "file i%d through mount %u by %s: at %zu (page %zu + %zu) "
	            "is %02x, %02x expected; %zu bytes differ, size %zu",
	            inode, mount, how, from + bad, (from + bad) / PAGE,
	            (from + bad) % PAGE, found[bad], wanted[bad], count,
	            node->size);
}

/* The whole file or some of it. */
static void check_read(struct model *model, int inode, int fd, unsigned mount,
                       bool whole, const char *how)
{
	const struct inode *node = &model->inodes[inode];
	size_t from = 0, len = FILE_MAX, wanted;
	ssize_t n;

	if (!whole) {
		from = worker_below(model->worker, FILE_MAX);
		len = 1 + worker_below(model->worker, 3 * PAGE);
		if (from + len > FILE_MAX)
			len = FILE_MAX - from;
		if (fcntl(fd, F_GETFL) & O_DIRECT) {
			from &= ~(size_t)(PAGE - 1);
			len = (len + PAGE - 1) & ~(size_t)(PAGE - 1);
		}
	}
	wanted = from < node->size ? node->size - from : 0;
	if (wanted > len)
		wanted = len;
	n = pread(fd, model->buffer, len, (off_t)from);
	worker_need(model->worker, n >= 0, how);
	if ((size_t)n != wanted)
		worker_fail(model->worker,
		            "file i%d through mount %u by %s: read of %zu at "
		            "%zu is %zd bytes long, %zu expected (size %zu)",
		            inode, mount, how, len, from, n, wanted,
		            node->size);
	compare_bytes(model, inode, model->buffer, from, wanted, mount, how);
}

struct map_read {
	uint8_t *to;
	const uint8_t *from;
	size_t len;
};

static void map_read(void *arg)
{
	struct map_read *read = arg;

	memcpy(read->to, read->from, read->len);
}

static void check_map(struct model *model, struct map *map, bool whole)
{
	const struct inode *node = &model->inodes[map->inode];
	struct map_read read = {model->buffer, map->at, node->size};
	size_t from = 0;

	if (!whole && node->size) {
		from = worker_below(model->worker, (unsigned)node->size);
		read.from += from;
		read.len = node->size - from > PAGE ? PAGE : node->size - from;
	}
	map_access(model, map, map_read, &read);
	compare_bytes(model, map->inode, model->buffer, from, read.len,
	              map->mount, "map");
}

/* Data that SEEK_DATA leaves out must be zeros. */
static void check_seek(struct model *model, int inode, int fd, unsigned mount)
{
	const struct inode *node = &model->inodes[inode];
	size_t at = 0;

	while (at < node->size) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA), hole;

		if (data < 0 && errno != ENXIO)
			worker_need(model->worker, false, "SEEK_DATA");
		if (data < 0)
			data = (off_t)node->size;
		for (size_t i = at; i < (size_t)data && i < node->size; i++) {
			if (node->data[i])
				worker_fail(model->worker,
				            "file i%d through mount %u: hole "
				            "at %zu where there is data",
				            inode, mount, i);
		}
		if ((size_t)data >= node->size)
			break;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole <= data || (size_t)hole > node->size)
			worker_fail(model->worker,
			            "file i%d through mount %u: SEEK_HOLE "
			            "from %jd gives %jd, size %zu: %s",
			            inode, mount, (intmax_t)data,
			            (intmax_t)hole, node->size,
			            strerror(errno));
		at = (size_t)hole;
	}
}

/* ---- Attributes --------------------------------------------------------- */

static void check_stat(struct model *model, int inode, const struct stat *st,
                       unsigned mount, const char *how)
{
	const struct inode *node = &model->inodes[inode];

	if ((size_t)st->st_size != node->size ||
	    (st->st_mode & 07777) != node->mode || st->st_uid != node->uid ||
	    st->st_nlink != node->links)
		worker_fail(model->worker,
		            "file i%d through mount %u by %s: size %jd, mode "
		            "%o, owner %u, %ju links; %zu, %o, %u, %u expected",
		            inode, mount, how, (intmax_t)st->st_size,
		            st->st_mode & 07777, st->st_uid,
		            (uintmax_t)st->st_nlink, node->size, node->mode,
		            node->uid, node->links);
}

static void check_fstat(struct model *model, int inode, int fd, unsigned mount)
{
	struct stat st;

	worker_need(model->worker, fstat(fd, &st) == 0, "fstat");
	check_stat(model, inode, &st, mount, "fstat");
}

static void check_xattrs(struct model *model, int inode, const char *path,
                         unsigned mount)
{
	const struct inode *node = &model->inodes[inode];

	for (int i = 0; i < XATTRS; i++) {
		char name[16];
		ssize_t n;
		size_t j = 0;

		snprintf(name, sizeof(name), "user.x%d", i);
		n = getxattr(path, name, model->buffer, FILE_MAX);
		if (!node->xattrs[i].set && n < 0 && errno == ENODATA)
			continue;
		while (n > 0 && j < (size_t)n &&
		       model->buffer[j] == node->xattrs[i].byte)
			j++;
		if (!node->xattrs[i].set || n < 0 ||
		    (size_t)n != node->xattrs[i].len || j < (size_t)n)
			worker_fail(model->worker,
			            "file i%d through mount %u: %s is %zd "
			            "bytes (%s), first %02x; %s %zu of %02x "
			            "expected",
			            inode, mount, name, n,
			            n < 0 ? strerror(errno) : "",
			            n > 0 ? model->buffer[0] : 0,
			            node->xattrs[i].set ? "" : "none, not",
			            node->xattrs[i].len, node->xattrs[i].byte);
	}
}

/* ---- Names -------------------------------------------------------------- */

/* The entries must be those of names[], no more, none twice. */
static void check_listing(struct model *model, const char *path, char letter,
                          const bool *names, unsigned count)
{
	bool seen[NAMES > DIR_NAMES ? NAMES : DIR_NAMES] = {false};
	DIR *listing = opendir(path);
	struct dirent *entry;

	if (!listing)
		worker_fail(model->worker, "opendir %s: %s", path,
		            strerror(errno));
	while ((entry = readdir(listing))) {
		unsigned i = (unsigned)(entry->d_name[1] - '0');

		if (entry->d_name[0] == '.')
			continue;
		if (entry->d_name[0] != letter || i >= count || !names[i] ||
		    seen[i])
			worker_fail(model->worker, "%s: %s is listed", path,
			            entry->d_name);
		seen[i] = true;
	}
	closedir(listing);
	for (unsigned i = 0; i < count; i++) {
		if (names[i] && !seen[i])
			worker_fail(model->worker, "%s: %c%u is not listed",
			            path, letter, i);
	}
}

static void check_symlink(struct model *model, const char *path, unsigned len)
{
	char text[SYMLINK_MAX + 2];
	ssize_t n = readlink(path, text, sizeof(text));

	if (n != (ssize_t)len)
		worker_fail(model->worker,
		            "%s: the symlink is %zd bytes long (%s), %u "
		            "expected",
		            path, n, n < 0 ? strerror(errno) : "", len);
}

static void check_absent(struct model *model, const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0 || errno != ENOENT)
		worker_fail(model->worker, "%s must not be there: %s", path,
		            errno == ENOENT ? "it is" : strerror(errno));
}

static void check_file(struct model *model, const char *path, int inode,
                       unsigned mount)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) < 0)
		worker_fail(model->worker, "lstat %s (i%d): %s", path, inode,
		            strerror(errno));
	check_stat(model, inode, &st, mount, "lstat");
	check_xattrs(model, inode, path, mount);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		worker_fail(model->worker, "open %s (i%d): %s", path, inode,
		            strerror(errno));
	check_fstat(model, inode, fd, mount);
	check_read(model, inode, fd, mount, true, "open and read");
	check_seek(model, inode, fd, mount);
	close(fd);
}

static void check_dir(struct model *model, const char *path,
                      const struct dir *dir, unsigned mount)
{
	bool names[NAMES];
	struct stat st;

	if (stat(path, &st) < 0)
		worker_fail(model->worker, "stat %s: %s", path,
		            strerror(errno));
	if ((st.st_mode & 07777) != dir->mode)
		worker_fail(model->worker, "%s: mode %o, %o expected", path,
		            st.st_mode & 07777, dir->mode);
	for (int i = 0; i < NAMES; i++)
		names[i] = dir->names[i].inode != NONE || dir->names[i].target;
	check_listing(model, path, 'f', names, NAMES);
	for (int i = 0; i < NAMES; i++) {
		const struct name *name = &dir->names[i];
		char file[PATH_LEN + 8];

		snprintf(file, sizeof(file), "%s/f%d", path, i);
		if (name->target)
			check_symlink(model, file, name->target);
		else if (name->inode == NONE)
			check_absent(model, file);
		else
			check_file(model, file, name->inode, mount);
	}
}

/* Links that a snapshot does not have are no difference: none are made. */
static void check_tree(struct model *model, const char *top, unsigned mount)
{
	bool names[DIR_NAMES] = {false};

	for (int i = 0; i < DIRS; i++) {
		if (model->dirs[i].name != NONE)
			names[model->dirs[i].name] = true;
	}
	check_listing(model, top, 'd', names, DIR_NAMES);
	for (int i = 0; i < DIRS; i++) {
		char path[PATH_LEN];

		if (model->dirs[i].name == NONE)
			continue;
		snprintf(path, sizeof(path), "%s/d%d", top,
		         model->dirs[i].name);
		check_dir(model, path, &model->dirs[i], mount);
	}
}

/* ---- All of it ---------------------------------------------------------- */

void check_all(struct model *model, unsigned mount)
{
	char top[PATH_LEN];

	check_tree(model, path_of_top(model, mount, top), mount);
}

void check_snapshot(struct model *model, const char *top)
{
	check_tree(model, top, MOUNTS_MAX);
}

void check_open(struct model *model)
{
	for (int i = 0; i < HANDLES; i++) {
		struct handle *handle = &model->handles[i];

		if (handle->fd == NONE)
			continue;
		check_fstat(model, handle->inode, handle->fd, handle->mount);
		check_read(model, handle->inode, handle->fd, handle->mount,
		           true, "old descriptor");
	}
	for (int i = 0; i < MAPS; i++) {
		if (model->maps[i].at)
			check_map(model, &model->maps[i], true);
	}
}

static bool find_place(const struct model *model, int inode,
                       struct place *ret_place)
{
	for (int i = 0; i < DIRS; i++) {
		for (int j = 0; j < NAMES; j++) {
			if (model->dirs[i].name != NONE &&
			    model->dirs[i].names[j].inode == inode) {
				*ret_place = (struct place){i, j};
				return true;
			}
		}
	}
	return false;
}

static void check_by_name(struct model *model, int inode)
{
	struct worker *worker = model->worker;
	unsigned mount = some_mount(model);
	bool direct = worker_one_in(worker, 4);
	char path[PATH_LEN];
	struct place place;
	struct stat st;
	int fd;

	if (!find_place(model, inode, &place))
		return;
	path_of(model, mount, place, path);
	if (worker_one_in(worker, 2)) {
		if (lstat(path, &st) < 0)
			worker_fail(worker, "lstat %s (i%d): %s", path, inode,
			            strerror(errno));
		check_stat(model, inode, &st, mount, "lstat");
		check_xattrs(model, inode, path, mount);
		return;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | (direct ? O_DIRECT : 0));
	if (fd < 0)
		worker_fail(worker, "open %s (i%d): %s", path, inode,
		            strerror(errno));
	check_read(model, inode, fd, mount, worker_one_in(worker, 2),
	           direct ? "direct read" : "open and read");
	close(fd);
}

void check_some(struct model *model, int inode)
{
	struct worker *worker = model->worker;

	for (int i = 0; i < HANDLES; i++) {
		struct handle *handle = &model->handles[i];

		if (handle->fd == NONE || handle->inode != inode ||
		    worker_one_in(worker, 2))
			continue;
		if (worker_one_in(worker, 2))
			check_fstat(model, inode, handle->fd, handle->mount);
		if (worker_one_in(worker, 2))
			check_read(model, inode, handle->fd, handle->mount,
			           worker_one_in(worker, 2), "old descriptor");
	}
	for (int i = 0; i < MAPS; i++) {
		if (model->maps[i].at && model->maps[i].inode == inode &&
		    worker_one_in(worker, 2))
			check_map(model, &model->maps[i],
			          worker_one_in(worker, 2));
	}
	for (int i = 0; i < 2; i++)
		check_by_name(model, inode);
}
