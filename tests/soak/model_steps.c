/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mode model: steps that change the bytes of files. */
#include "model_steps.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- Choosing ----------------------------------------------------------- */

unsigned below(struct model *model, unsigned n)
{
	return worker_below(model->worker, n);
}

bool one_in(struct model *model, unsigned n)
{
	return worker_one_in(model->worker, n);
}

void need(struct model *model, bool good, const char *what)
{
	worker_need(model->worker, good, what);
}

struct name *name_at(struct model *model, struct place place)
{
	return &model->dirs[place.dir].names[place.name];
}

bool some_place(struct model *model, struct place *ret_place)
{
	unsigned from = below(model, DIRS);

	for (unsigned i = 0; i < DIRS; i++) {
		int dir = (int)((from + i) % DIRS);

		if (model->dirs[dir].name != NONE) {
			*ret_place =
			        (struct place){dir, (int)below(model, NAMES)};
			return true;
		}
	}
	return false;
}

bool some_file(struct model *model, struct place *ret_place)
{
	for (int i = 0; i < 10; i++) {
		if (some_place(model, ret_place) &&
		    name_at(model, *ret_place)->inode != NONE)
			return true;
	}
	return false;
}

/* A descriptor that is open, or one that opens now and is kept. */
static struct handle *some_handle(struct model *model, bool writing)
{
	struct handle *handle = &model->handles[below(model, HANDLES)];
	char path[PATH_LEN];
	struct place place;

	if (handle->fd != NONE && !one_in(model, 8))
		return handle;
	if (!some_file(model, &place))
		return NULL;
	if (handle->fd != NONE)
		handle_close(model, handle);
	handle->mount = some_mount(model);
	handle->inode = name_at(model, place)->inode;
	handle->flags = O_RDWR;
	if (one_in(model, 4))
		handle->flags |= O_APPEND;
	if (one_in(model, 5))
		handle->flags |= O_DIRECT;
	path_of(model, handle->mount, place, path);
	worker_step(model->worker, "open i%d through %u%s%s", handle->inode,
	            handle->mount, handle->flags & O_APPEND ? " append" : "",
	            handle->flags & O_DIRECT ? " direct" : "");
	handle->fd = open(path, handle->flags | O_CLOEXEC);
	need(model, handle->fd >= 0, path);
	inode_hold(model, handle->inode);
	return handle;
}

/* Choose where to write, and how much: pages, ends of files, ends of chunks. */
static void some_range(struct model *model, const struct inode *node,
                       size_t *ret_from, size_t *ret_len)
{
	static const size_t lens[] = {1,        10,    100,      PAGE,  5000,
	                              2 * PAGE, 30000, 64 << 10, 140000};
	size_t from = 0, len = lens[below(model, sizeof(lens) / sizeof(*lens))];

	switch (below(model, 6)) {
	case 0:
		from = node->size;
		break;
	case 1:
		from = below(model, FILE_MAX / PAGE) * PAGE + 10;
		break;
	case 2:
		from = below(model, FILE_MAX / PAGE) * PAGE;
		break;
	case 3:
		from = (size_t)(64 << 10) * below(model, 6);
		from = from > 50 ? from - 50 : 0;
		break;
	case 4:
		from = node->size ? below(model, (unsigned)node->size) : 0;
		break;
	default:
		from = below(model, 3 * PAGE);
	}
	if (from >= FILE_MAX)
		from = FILE_MAX - PAGE;
	if (len > FILE_MAX - from)
		len = FILE_MAX - from;
	*ret_from = from;
	*ret_len = len;
}

static void wrote(struct model *model, int inode, size_t from, size_t len,
                  int byte)
{
	struct inode *node = &model->inodes[inode];

	memset(node->data + from, byte, len);
	if (from + len > node->size)
		node->size = from + len;
}

static void resized(struct model *model, int inode, size_t size)
{
	struct inode *node = &model->inodes[inode];

	if (size < node->size)
		memset(node->data + size, 0, node->size - size);
	node->size = size;
}

/* ---- Bytes -------------------------------------------------------------- */

static int step_write(struct model *model)
{
	struct handle *handle = some_handle(model, true);
	struct inode *node;
	size_t from, len;
	ssize_t n;

	if (!handle)
		return NONE;
	node = &model->inodes[handle->inode];
	some_range(model, node, &from, &len);
	if (handle->flags & O_APPEND) {
		from = node->size;
		if (len > FILE_MAX - from)
			len = FILE_MAX - from;
	}
	if (handle->flags & O_DIRECT && one_in(model, 2)) {
		from &= handle->flags & O_APPEND ? from : ~(size_t)(PAGE - 1);
		len &= ~(size_t)(PAGE - 1);
	}
	if (!len)
		return NONE;
	worker_step(model->worker, "write i%d through %u%s%s %zu+%zu byte %02x",
	            handle->inode, handle->mount,
	            handle->flags & O_APPEND ? " append" : "",
	            handle->flags & O_DIRECT ? " direct" : "", from, len,
	            model->byte);
	memset(model->buffer, model->byte, len);
	n = pwrite(handle->fd, model->buffer, len, (off_t)from);
	need(model, n == (ssize_t)len, "pwrite");
	wrote(model, handle->inode, from, len, model->byte);
	return handle->inode;
}

static int step_truncate(struct model *model)
{
	struct handle *handle = some_handle(model, true);
	size_t from, len;

	if (!handle)
		return NONE;
	some_range(model, &model->inodes[handle->inode], &from, &len);
	if (one_in(model, 2))
		from += len;
	worker_step(model->worker, "ftruncate i%d through %u to %zu from %zu",
	            handle->inode, handle->mount, from,
	            model->inodes[handle->inode].size);
	need(model, ftruncate(handle->fd, (off_t)from) == 0, "ftruncate");
	resized(model, handle->inode, from);
	return handle->inode;
}

static int step_truncate_path(struct model *model)
{
	unsigned mount = some_mount(model);
	char path[PATH_LEN];
	struct place place;
	size_t from, len;
	int inode, fd;

	if (!some_file(model, &place))
		return NONE;
	inode = name_at(model, place)->inode;
	path_of(model, mount, place, path);
	if (one_in(model, 3)) {
		worker_step(model->worker, "open i%d through %u O_TRUNC", inode,
		            mount);
		fd = open(path, O_RDWR | O_TRUNC | O_CLOEXEC);
		need(model, fd >= 0, path);
		close(fd);
		resized(model, inode, 0);
		return inode;
	}
	some_range(model, &model->inodes[inode], &from, &len);
	worker_step(model->worker, "truncate i%d through %u to %zu", inode,
	            mount, from);
	need(model, truncate(path, (off_t)from) == 0, path);
	resized(model, inode, from);
	return inode;
}

static int step_fallocate(struct model *model)
{
	static const struct {
		int mode;
		bool zeroes, grows;
		const char *name;
	} kinds[] = {
	        {0, false, true, "allocate"},
	        {FALLOC_FL_KEEP_SIZE, false, false, "allocate beyond"},
	        {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, true, false,
	         "punch"},
	        {FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, true, false,
	         "punch"},
	        {FALLOC_FL_ZERO_RANGE, true, true, "zero"},
	        {FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, true, false,
	         "zero within"},
	};
	unsigned kind = below(model, sizeof(kinds) / sizeof(*kinds));
	struct handle *handle = some_handle(model, true);
	struct inode *node;
	size_t from, len;

	if (!handle)
		return NONE;
	node = &model->inodes[handle->inode];
	some_range(model, node, &from, &len);
	worker_step(model->worker, "%s i%d through %u %zu+%zu",
	            kinds[kind].name, handle->inode, handle->mount, from, len);
	if (fallocate(handle->fd, kinds[kind].mode, (off_t)from, (off_t)len)) {
		need(model, errno == EOPNOTSUPP, "fallocate");
		return NONE;
	}
	if (kinds[kind].grows && from + len > node->size)
		node->size = from + len;
	if (kinds[kind].zeroes && from < node->size)
		memset(node->data + from, 0,
		       from + len < node->size ? len : node->size - from);
	return handle->inode;
}

static int step_copy_range(struct model *model)
{
	struct handle *in = some_handle(model, false);
	struct handle *out = some_handle(model, true);
	size_t from, to, len, done = 0;

	if (!in || !out || in->fd == NONE || in->inode == out->inode ||
	    out->flags & O_APPEND)
		return NONE;
	some_range(model, &model->inodes[in->inode], &from, &len);
	if (from >= model->inodes[in->inode].size)
		return NONE;
	if (len > model->inodes[in->inode].size - from)
		len = model->inodes[in->inode].size - from;
	some_range(model, &model->inodes[out->inode], &to, &done);
	if (one_in(model, 3))
		to = from; /* chunks may be shared */
	if (len > FILE_MAX - to)
		len = FILE_MAX - to;
	worker_step(model->worker,
	            "copy i%d through %u %zu+%zu to i%d through "
	            "%u at %zu",
	            in->inode, in->mount, from, len, out->inode, out->mount,
	            to);
	for (done = 0; done < len;) {
		off_t a = (off_t)(from + done), b = (off_t)(to + done);
		ssize_t n =
		        copy_file_range(in->fd, &a, out->fd, &b, len - done, 0);

		if (n < 0 && in->mount != out->mount &&
		    (errno == EXDEV || errno == EINVAL))
			break; /* no copying between mounts on this kernel */
		if (n <= 0)
			worker_fail(model->worker,
			            "copy_file_range at %zu of %zu: %zd, %s",
			            done, len, n, strerror(errno));
		done += (size_t)n;
	}
	if (done) {
		memcpy(model->buffer, model->inodes[in->inode].data + from,
		       done);
		wrote(model, out->inode, to, done, 0);
		memcpy(model->inodes[out->inode].data + to, model->buffer,
		       done);
	}
	return out->inode;
}

/* ---- Maps --------------------------------------------------------------- */

static struct map *some_map(struct model *model)
{
	struct map *map = &model->maps[below(model, MAPS)];
	struct handle *handle;

	if (map->at && !one_in(model, 8))
		return map;
	handle = some_handle(model, true);
	if (!handle)
		return NULL;
	if (map->at)
		map_close(model, map);
	worker_step(model->worker, "map i%d through %u", handle->inode,
	            handle->mount);
	map->at = mmap(NULL, FILE_MAX, PROT_READ | PROT_WRITE, MAP_SHARED,
	               handle->fd, 0);
	if (map->at == MAP_FAILED) {
		map->at = NULL;
		need(model, errno == ENODEV, "mmap");
		model->unmapped++;
		return NULL;
	}
	map->mount = handle->mount;
	map->inode = handle->inode;
	inode_hold(model, map->inode);
	return map;
}

struct map_write {
	uint8_t *at;
	uint8_t byte;
	size_t len;
};

static void map_write(void *arg)
{
	struct map_write *write = arg;

	memset(write->at, write->byte, write->len);
}

/* A page that is dirty is anybody's: the write and msync(2) are one step. */
static int step_map_write(struct model *model)
{
	struct map *map = some_map(model);
	struct map_write write;
	struct inode *node;
	size_t from, len, page;

	if (!map)
		return NONE;
	node = &model->inodes[map->inode];
	if (!node->size)
		return NONE;
	some_range(model, node, &from, &len);
	from %= node->size;
	if (len > node->size - from)
		len = node->size - from;
	worker_step(model->worker, "map write i%d through %u %zu+%zu byte %02x",
	            map->inode, map->mount, from, len, model->byte);
	write = (struct map_write){map->at + from, model->byte, len};
	map_access(model, map, map_write, &write);
	page = from & ~(size_t)(PAGE - 1);
	need(model, msync(map->at + page, from + len - page, MS_SYNC) == 0,
	     "msync");
	wrote(model, map->inode, from, len, model->byte);
	return map->inode;
}

static int step_map_drop(struct model *model)
{
	struct map *map = &model->maps[below(model, MAPS)];

	if (map->at) {
		worker_step(model->worker, "unmap i%d through %u", map->inode,
		            map->mount);
		map_close(model, map);
	}
	return NONE;
}

/* Take pages out of one mount's cache. */
static int step_drop_cache(struct model *model)
{
	struct handle *handle = some_handle(model, false);

	if (!handle)
		return NONE;
	worker_step(model->worker, "drop pages of i%d through %u",
	            handle->inode, handle->mount);
	posix_fadvise(handle->fd, 0, 0, POSIX_FADV_DONTNEED);
	return handle->inode;
}

static int step_fsync(struct model *model)
{
	struct handle *handle = some_handle(model, false);

	if (!handle)
		return NONE;
	worker_step(model->worker, "fsync i%d through %u", handle->inode,
	            handle->mount);
	need(model, fsync(handle->fd) == 0, "fsync");
	return handle->inode;
}

static int step_close(struct model *model)
{
	struct handle *handle = &model->handles[below(model, HANDLES)];

	if (handle->fd != NONE) {
		worker_step(model->worker, "close i%d through %u",
		            handle->inode, handle->mount);
		handle_close(model, handle);
	}
	return NONE;
}

/* ---- One of them -------------------------------------------------------- */

void step_random(struct model *model)
{
	static const struct {
		int (*run)(struct model *model);
		unsigned weight;
	} steps[] = {
	        {step_write, 24},        {step_truncate, 8},
	        {step_truncate_path, 3}, {step_fallocate, 5},
	        {step_copy_range, 5},    {step_map_write, 14},
	        {step_map_drop, 2},      {step_drop_cache, 3},
	        {step_fsync, 1},         {step_close, 4},
	        {step_create, 8},        {step_unlink, 5},
	        {step_link, 3},          {step_symlink, 2},
	        {step_rename, 6},        {step_mkdir, 4},
	        {step_rmdir, 2},         {step_rename_dir, 1},
	        {step_chmod, 3},         {step_xattr, 4},
	};
	unsigned total = 0, at;
	size_t i = 0;
	int inode;

	for (size_t j = 0; j < sizeof(steps) / sizeof(*steps); j++)
		total += steps[j].weight;
	at = below(model, total);
	while (at >= steps[i].weight)
		at -= steps[i++].weight;
	inode = steps[i].run(model);
	if (inode != NONE && model->inodes[inode].used && !one_in(model, 4))
		check_some(model, inode);
}
