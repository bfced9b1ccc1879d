/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mode model: steps that change names, directories and attributes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "model_steps.h"

enum { EXCHANGE = 2 };

/* ---- Names -------------------------------------------------------------- */

/* The name is to mean something else: take away what it meant. */
static void name_release(struct model *model, struct place place)
{
	struct name *name = name_at(model, place);
	int inode = name->inode;

	*name = (struct name){.inode = NONE};
	if (inode != NONE) {
		model->inodes[inode].links--;
		inode_drop(model, inode);
	}
}

int step_create(struct model *model)
{
	unsigned mount = some_mount(model);
	struct name *name;
	char path[PATH_LEN];
	struct place place;
	int inode = 0, fd;
	mode_t mode;

	while (inode < INODES && model->inodes[inode].used)
		inode++;
	if (!some_place(model, &place) || inode == INODES)
		return NONE;
	name = name_at(model, place);
	mode = 0600 | below(model, 0200);
	path_of(model, mount, place, path);
	worker_step(model->worker, "create %s through %u: i%d",
	            strrchr(path, 'd'), mount, inode);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (name->inode != NONE || name->target) {
		need(model, fd < 0 && errno == EEXIST, "EEXIST expected");
		return NONE;
	}
	need(model, fd >= 0, path);
	close(fd);
	name->inode = inode;
	model->inodes[inode].used = true;
	model->inodes[inode].links = 1;
	model->inodes[inode].mode = mode;
	return inode;
}

int step_unlink(struct model *model)
{
	unsigned mount = some_mount(model);
	struct name *name;
	char path[PATH_LEN];
	struct place place;
	int inode;

	if (!some_place(model, &place))
		return NONE;
	name = name_at(model, place);
	path_of(model, mount, place, path);
	inode = name->inode;
	worker_step(model->worker, "unlink %s (i%d) through %u",
	            strrchr(path, 'd'), inode, mount);
	if (inode == NONE && !name->target) {
		need(model, unlink(path) < 0 && errno == ENOENT,
		     "ENOENT expected");
		return NONE;
	}
	need(model, unlink(path) == 0, path);
	name_release(model, place);
	return inode;
}

int step_link(struct model *model)
{
	unsigned mount = some_mount(model);
	char from[PATH_LEN], to[PATH_LEN];
	struct place source, target;
	struct name *name;
	int inode, r;

	if (!some_file(model, &source) || !some_place(model, &target))
		return NONE;
	inode = name_at(model, source)->inode;
	name = name_at(model, target);
	path_of(model, mount, source, from);
	path_of(model, mount, target, to);
	worker_step(model->worker, "link %s (i%d) to %s through %u",
	            strrchr(from, 'd'), inode, strrchr(to, 'd'), mount);
	r = link(from, to);
	if (name->inode != NONE || name->target) {
		need(model, r < 0 && errno == EEXIST, "EEXIST expected");
		return NONE;
	}
	need(model, r == 0, "link");
	name->inode = inode;
	model->inodes[inode].links++;
	return inode;
}

int step_symlink(struct model *model)
{
	unsigned mount = some_mount(model);
	unsigned len = 1 + below(model, SYMLINK_MAX);
	char text[SYMLINK_MAX + 1] = "";
	char path[PATH_LEN];
	struct place place;

	if (!some_place(model, &place) ||
	    name_at(model, place)->inode != NONE ||
	    name_at(model, place)->target)
		return NONE;
	memset(text, 'x', len);
	text[len] = 0;
	path_of(model, mount, place, path);
	worker_step(model->worker, "symlink %s through %u, %u bytes",
	            strrchr(path, 'd'), mount, len);
	need(model, symlink(text, path) == 0, path);
	name_at(model, place)->target = len;
	return NONE;
}

int step_rename(struct model *model)
{
	unsigned mount = some_mount(model);
	char from[PATH_LEN], to[PATH_LEN];
	struct place source, target;
	struct name *a, *b, moved;
	bool exchange;

	if (!some_file(model, &source) || !some_place(model, &target))
		return NONE;
	a = name_at(model, source);
	b = name_at(model, target);
	exchange = (b->inode != NONE || b->target) && one_in(model, 4);
	path_of(model, mount, source, from);
	path_of(model, mount, target, to);
	worker_step(model->worker, "%s %s (i%d) to %s (i%d) through %u",
	            exchange ? "exchange" : "rename", strrchr(from, 'd'),
	            a->inode, strrchr(to, 'd'), b->inode, mount);
	need(model,
	     syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to,
	             exchange ? EXCHANGE : 0) == 0,
	     "rename");
	moved = *a;
	if (exchange) {
		*a = *b;
		*b = moved;
	} else if (a->inode != b->inode) {
		*a = (struct name){.inode = NONE};
		name_release(model, target);
		*b = moved;
	}
	return moved.inode;
}

/* ---- Directories -------------------------------------------------------- */

static int free_dir_name(struct model *model)
{
	bool used[DIR_NAMES] = {false};
	int name = (int)below(model, DIR_NAMES);

	for (int i = 0; i < DIRS; i++) {
		if (model->dirs[i].name != NONE)
			used[model->dirs[i].name] = true;
	}
	while (used[name])
		name = (name + 1) % DIR_NAMES;
	return name;
}

int step_mkdir(struct model *model)
{
	struct dir *dir = &model->dirs[below(model, DIRS)];
	unsigned mount = some_mount(model);
	char path[PATH_LEN];

	if (dir->name != NONE)
		return NONE;
	*dir = (struct dir){.name = free_dir_name(model),
	                    .mode = 0700 | below(model, 0100)};
	for (int i = 0; i < NAMES; i++)
		dir->names[i].inode = NONE;
	path_of_dir(model, mount, (int)(dir - model->dirs), path);
	worker_step(model->worker, "mkdir d%d through %u", dir->name, mount);
	need(model, mkdir(path, dir->mode) == 0, path);
	return NONE;
}

int step_rmdir(struct model *model)
{
	struct dir *dir = &model->dirs[below(model, DIRS)];
	unsigned mount = some_mount(model);
	bool empty = true;
	char path[PATH_LEN];

	if (dir->name == NONE)
		return NONE;
	for (int i = 0; i < NAMES; i++)
		empty &= dir->names[i].inode == NONE && !dir->names[i].target;
	path_of_dir(model, mount, (int)(dir - model->dirs), path);
	worker_step(model->worker, "rmdir d%d through %u", dir->name, mount);
	if (!empty) {
		need(model, rmdir(path) < 0 && errno == ENOTEMPTY,
		     "ENOTEMPTY expected");
		return NONE;
	}
	need(model, rmdir(path) == 0, path);
	dir->name = NONE;
	return NONE;
}

int step_rename_dir(struct model *model)
{
	struct dir *dir = &model->dirs[below(model, DIRS)];
	unsigned mount = some_mount(model);
	char from[PATH_LEN], to[PATH_LEN];

	if (dir->name == NONE)
		return NONE;
	path_of_dir(model, mount, (int)(dir - model->dirs), from);
	dir->name = free_dir_name(model);
	path_of_dir(model, mount, (int)(dir - model->dirs), to);
	worker_step(model->worker, "rename %s to %s through %u",
	            strrchr(from, 'd'), strrchr(to, 'd'), mount);
	need(model, rename(from, to) == 0, "rename");
	return NONE;
}

/* ---- Attributes --------------------------------------------------------- */

int step_chmod(struct model *model)
{
	unsigned mount = some_mount(model);
	char path[PATH_LEN];
	struct place place;
	struct inode *node;

	if (!some_file(model, &place))
		return NONE;
	node = &model->inodes[name_at(model, place)->inode];
	path_of(model, mount, place, path);
	if (one_in(model, 3)) {
		node->uid = below(model, 5);
		worker_step(model->worker, "chown i%d through %u to %u",
		            name_at(model, place)->inode, mount, node->uid);
		need(model, chown(path, node->uid, (gid_t)-1) == 0, path);
		return name_at(model, place)->inode;
	}
	node->mode = 0600 | below(model, 0200);
	worker_step(model->worker, "chmod i%d through %u to %o",
	            name_at(model, place)->inode, mount, node->mode);
	need(model, chmod(path, node->mode) == 0, path);
	return name_at(model, place)->inode;
}

int step_xattr(struct model *model)
{
	unsigned mount = some_mount(model), i = below(model, XATTRS);
	char path[PATH_LEN], name[16];
	struct place place;
	struct inode *node;
	int inode;

	if (!some_file(model, &place))
		return NONE;
	inode = name_at(model, place)->inode;
	node = &model->inodes[inode];
	path_of(model, mount, place, path);
	snprintf(name, sizeof(name), "user.x%u", i);
	if (node->xattrs[i].set && one_in(model, 3)) {
		worker_step(model->worker, "remove %s of i%d through %u", name,
		            inode, mount);
		need(model, removexattr(path, name) == 0, path);
		node->xattrs[i].set = false;
		return inode;
	}
	node->xattrs[i].set = true;
	node->xattrs[i].byte = model->byte;
	node->xattrs[i].len = below(model, one_in(model, 4) ? XATTR_MAX : 30);
	worker_step(model->worker, "set %s of i%d through %u, %zu of %02x",
	            name, inode, mount, node->xattrs[i].len, model->byte);
	memset(model->buffer, model->byte, node->xattrs[i].len);
	need(model,
	     setxattr(path, name, model->buffer, node->xattrs[i].len, 0) == 0,
	     path);
	return inode;
}
