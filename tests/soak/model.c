/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mode model: paths, what is open, and the steps of a worker. */
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model_steps.h"

/* ---- Paths -------------------------------------------------------------- */

char *path_of_top(const struct model *model, unsigned mount, char *ret_path)
{
	snprintf(ret_path, PATH_LEN, "%s/w%u",
	         model->worker->options->dirs[mount], model->worker->number);
	return ret_path;
}

char *path_of_dir(const struct model *model, unsigned mount, int dir,
                  char *ret_path)
{
	snprintf(ret_path, PATH_LEN, "%s/w%u/d%d",
	         model->worker->options->dirs[mount], model->worker->number,
	         model->dirs[dir].name);
	return ret_path;
}

char *path_of(const struct model *model, unsigned mount, struct place place,
              char *ret_path)
{
	snprintf(ret_path, PATH_LEN, "%s/w%u/d%d/f%d",
	         model->worker->options->dirs[mount], model->worker->number,
	         model->dirs[place.dir].name, place.name);
	return ret_path;
}

/* ---- What is open ------------------------------------------------------- */

unsigned some_mount(struct model *model)
{
	unsigned i;

	do
		i = worker_below(model->worker, model->worker->options->mounts);
	while (!model->active[i]);
	return i;
}

void inode_hold(struct model *model, int inode)
{
	model->inodes[inode].holds++;
}

void inode_drop(struct model *model, int inode)
{
	struct inode *node = &model->inodes[inode];

	if (node->links || node->holds)
		return;
	memset(node->data, 0, FILE_MAX);
	*node = (struct inode){.data = node->data};
}

void handle_close(struct model *model, struct handle *handle)
{
	worker_need(model->worker, close(handle->fd) == 0, "close");
	handle->fd = NONE;
	model->inodes[handle->inode].holds--;
	inode_drop(model, handle->inode);
}

void map_close(struct model *model, struct map *map)
{
	worker_need(model->worker, munmap(map->at, FILE_MAX) == 0, "munmap");
	map->at = NULL;
	model->inodes[map->inode].holds--;
	inode_drop(model, map->inode);
}

void map_access(struct model *model, struct map *map, void (*fn)(void *arg),
                void *arg)
{
	if (!without_sigbus(fn, arg))
		worker_fail(model->worker,
		            "file i%d through mount %u: SIGBUS in a map, size "
		            "%zu",
		            map->inode, map->mount,
		            model->inodes[map->inode].size);
}

/* ---- Mounts that come and go -------------------------------------------- */

static void step_mount(struct model *model)
{
	unsigned mount = 1 + worker_below(model->worker,
	                                  model->worker->options->mounts - 1);

	worker_step(model->worker, "%s %u",
	            model->active[mount] ? "umount" : "mount", mount);
	if (!model->active[mount]) {
		worker_remount(model->worker, "mount", mount);
		model->active[mount] = true;
		return;
	}
	for (int i = 0; i < HANDLES; i++) {
		if (model->handles[i].fd != NONE &&
		    model->handles[i].mount == mount)
			handle_close(model, &model->handles[i]);
	}
	for (int i = 0; i < MAPS; i++) {
		if (model->maps[i].at && model->maps[i].mount == mount)
			map_close(model, &model->maps[i]);
	}
	worker_remount(model->worker, "umount", mount);
	model->active[mount] = false;
}

/* ---- Snapshots ---------------------------------------------------------- */

/* Return a mount with a .snap.  The first one has it. */
static unsigned some_snap_mount(struct model *model)
{
	char path[PATH_LEN];
	unsigned i;

	do {
		i = some_mount(model);
		snprintf(path, sizeof(path), "%s/.snap",
		         model->worker->options->dirs[i]);
	} while (access(path, F_OK) < 0);
	return i;
}

static void step_snapshot(struct model *model)
{
	struct worker *worker = model->worker;
	char *const *dirs = worker->options->dirs;
	unsigned mount = some_snap_mount(model);
	unsigned other = some_snap_mount(model);
	char path[PATH_LEN], name[32];

	snprintf(name, sizeof(name), "w%u-%u", worker->number, model->byte);
	worker_step(worker, "snapshot %s through %u, compared through %u", name,
	            mount, other);
	snprintf(path, sizeof(path), "%s/.snap/%s", dirs[mount], name);
	worker_need(worker, mkdir(path, 0755) == 0, path);
	snprintf(path, sizeof(path), "%s/.snap/%s/w%u", dirs[other], name,
	         worker->number);
	check_snapshot(model, path);
	snprintf(path, sizeof(path), "%s/.snap/%s",
	         dirs[some_snap_mount(model)], name);
	worker_need(worker, rmdir(path) == 0, path);
}

/* ---- All of it ---------------------------------------------------------- */

static void check_everything(struct model *model)
{
	worker_step(model->worker, "compare all");
	for (unsigned i = 0; i < model->worker->options->mounts; i++) {
		if (model->active[i])
			check_all(model, i);
	}
	check_open(model);
}

static void model_init(struct model *model, struct worker *worker)
{
	const struct options *options = worker->options;
	char path[PATH_LEN];

	*model = (struct model){.worker = worker};
	for (unsigned i = 0; i < options->mounts; i++)
		model->active[i] = i == 0 || !options->remount;
	for (int i = 0; i < INODES; i++)
		model->inodes[i].data = calloc(1, FILE_MAX);
	for (int i = 0; i < HANDLES; i++)
		model->handles[i].fd = NONE;
	for (int i = 0; i < DIRS; i++)
		model->dirs[i].name = NONE;
	model->buffer = aligned_alloc(PAGE, FILE_MAX);
	path_of_top(model, 0, path);
	worker_need(worker, mkdir(path, 0755) == 0, path);
}

void model_run(struct worker *worker)
{
	const struct options *options = worker->options;
	struct model model;

	model_init(&model, worker);
	for (unsigned long i = 0; !worker_done(worker); i++) {
		model.byte = (uint8_t)(1 + i % 255);
		if (options->remount && options->mounts > 1 &&
		    worker->number == 0 && worker_one_in(worker, 60))
			step_mount(&model);
		else if (options->snapshots && worker_one_in(worker, 80))
			step_snapshot(&model);
		else if (worker_one_in(worker, 50))
			check_everything(&model);
		else
			step_random(&model);
	}
	check_everything(&model);
	if (model.unmapped && !worker->number)
		fprintf(stderr, "coherence: %u shared mappings were refused\n",
		        model.unmapped);
}
