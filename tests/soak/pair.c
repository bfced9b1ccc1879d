/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Modes partial and truncate: mounts whose answers must not wait for each
 * other. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "coherence.h"
#include "touch.h"

enum { PAGE = 4096, PAIR_PAGES = 64, PATH_LEN = 400 };

/*
 * Open the file through the worker's mount.  Worker 0 does so, with all pages
 * cached, before the other mounts come.
 */
static int pair_open(struct worker *worker, const char *name, char *ret_path)
{
	const struct options *options = worker->options;
	unsigned mount = worker->number % options->mounts;
	char bytes[PAGE];
	int fd;

	if (worker->number)
		pthread_barrier_wait(&worker->shared->barrier);
	snprintf(ret_path, PATH_LEN, "%s/%s", options->dirs[mount], name);
	worker_step(worker, "open %s", ret_path);
	fd = open(ret_path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	worker_need(worker, fd >= 0, ret_path);
	if (worker->number)
		return fd;
	worker_need(worker, ftruncate(fd, PAIR_PAGES * PAGE) == 0, "ftruncate");
	for (off_t i = 0; i < PAIR_PAGES; i++)
		worker_need(worker, pread(fd, bytes, PAGE, i * PAGE) == PAGE,
		            "pread");
	for (unsigned i = 1; options->remount && i < options->mounts; i++)
		worker_remount(worker, "mount", i);
	pthread_barrier_wait(&worker->shared->barrier);
	return fd;
}

void partial_run(struct worker *worker)
{
	char path[PATH_LEN], bytes[PAGE];
	int fd = pair_open(worker, "partial", path);

	memset(bytes, 'a' + (int)worker->number, sizeof(bytes));
	while (!worker_done(worker)) {
		off_t page = (off_t)worker_below(worker, PAIR_PAGES) * PAGE;

		if (worker->number && worker_one_in(worker, 2)) {
			worker_step(worker, "read %s at %jd", path,
			            (intmax_t)page);
			worker_need(worker, pread(fd, bytes, PAGE, page) >= 0,
			            "pread");
			continue;
		}
		worker_step(worker, "write %s at %jd", path,
		            (intmax_t)page + 10);
		worker_need(worker, pwrite(fd, bytes, 100, page + 10) == 100,
		            "pwrite");
	}
}

/* Map anew where a shared mapping is refused at first, too. */
static uint8_t *pair_map(int fd)
{
	uint8_t *at = mmap(NULL, PAIR_PAGES * PAGE, PROT_READ | PROT_WRITE,
	                   MAP_SHARED, fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

void truncate_run(struct worker *worker)
{
	char path[PATH_LEN], bytes[PAGE] = "";
	int fd = pair_open(worker, "truncated", path);
	uint8_t *at = pair_map(fd);

	while (!worker_done(worker)) {
		struct touch t = {at, 1 + worker_below(worker, 8),
		                  worker_one_in(worker, 2)};
		off_t page = (off_t)worker_below(worker, PAIR_PAGES - 8) * PAGE;

		if (at) {
			t.at += page;
			worker_step(worker, "touch %s", path);
			touch_pages(&t);
		}
		if (worker->number == 0) {
			worker_step(worker, "ftruncate %s", path);
			worker_need(worker,
			            ftruncate(fd, worker_one_in(worker, 2)
			                                  ? PAIR_PAGES * PAGE
			                                  : page + 10) == 0,
			            "ftruncate");
		} else if (worker_one_in(worker, 2)) {
			worker_step(worker, "read %s", path);
			worker_need(worker, pread(fd, bytes, PAGE, page) >= 0,
			            "pread");
		} else {
			worker_step(worker, "write %s", path);
			worker_need(worker,
			            pwrite(fd, bytes, 100, page + 10) == 100,
			            "pwrite");
		}
	}
}
