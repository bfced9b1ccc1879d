/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mode gaps: one client a mount, with a pause after each few requests.  What
 * goes to sleep after a while without requests has to notice the next.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "coherence.h"

enum { PAGE = 4096, PAGES = 16, BURST = 5, PATH_LEN = 400 };

struct gaps {
	struct worker *worker;
	char path[PATH_LEN];
	int fd;
	uint8_t bytes[PAGES]; /* what each page is full of */
};

/* Most pauses are about as long as a server waits before it sleeps. */
static void rest(struct worker *worker)
{
	unsigned us = worker_one_in(worker, 3)
	                      ? 1000 + worker_below(worker, 59000)
	                      : 15000 + worker_below(worker, 15000);
	struct timespec ts = {.tv_nsec = us * 1000L};

	nanosleep(&ts, NULL);
}

static void request(struct gaps *gaps)
{
	struct worker *worker = gaps->worker;
	unsigned page = worker_below(worker, PAGES);
	off_t at = (off_t)page * PAGE;
	uint8_t bytes[PAGE];
	struct stat st;

	switch (worker_below(worker, 4)) {
	case 0:
		worker_step(worker, "write and sync %s", gaps->path);
		gaps->bytes[page] = (uint8_t)worker_random(worker);
		memset(bytes, gaps->bytes[page], PAGE);
		worker_need(worker, pwrite(gaps->fd, bytes, PAGE, at) == PAGE,
		            "pwrite");
		worker_need(worker, fsync(gaps->fd) == 0, "fsync");
		break;
	case 1:
		worker_step(worker, "read %s", gaps->path);
		posix_fadvise(gaps->fd, 0, 0, POSIX_FADV_DONTNEED);
		worker_need(worker, pread(gaps->fd, bytes, PAGE, at) == PAGE,
		            "pread");
		if (bytes[0] != gaps->bytes[page] ||
		    memcmp(bytes, bytes + 1, PAGE - 1) != 0)
			worker_fail(worker, "%s: other bytes in page %u",
			            gaps->path, page);
		break;
	case 2:
		worker_step(worker, "set the mode of %s", gaps->path);
		worker_need(worker,
		            fchmod(gaps->fd,
		                   0600 | worker_below(worker, 0200)) == 0,
		            "fchmod");
		break;
	default:
		worker_step(worker, "stat %s", gaps->path);
		worker_need(worker, stat(gaps->path, &st) == 0, gaps->path);
	}
}

void gaps_run(struct worker *worker)
{
	const struct options *options = worker->options;
	struct gaps gaps = {.worker = worker};

	snprintf(gaps.path, sizeof(gaps.path), "%s/gaps-%u",
	         options->dirs[worker->number % options->mounts],
	         worker->number);
	worker_step(worker, "make %s", gaps.path);
	gaps.fd = open(gaps.path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	worker_need(worker, gaps.fd >= 0, gaps.path);
	worker_need(worker, ftruncate(gaps.fd, PAGES * PAGE) == 0, "ftruncate");
	while (!worker_done(worker)) {
		for (unsigned i = 1 + worker_below(worker, BURST); i > 0; i--)
			request(&gaps);
		rest(worker);
	}
	worker_step(worker, "unlink %s", gaps.path);
	worker_need(worker, unlink(gaps.path) == 0, gaps.path);
	close(gaps.fd);
}
