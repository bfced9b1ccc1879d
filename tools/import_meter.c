/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Showing the progress of an import or export. */
#include "import_meter.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "import_walk.h"
#include "util.h"

enum { PERIOD_NS = 200000000 };

/* ---- Counting ----------------------------------------------------------- */

static void dir_count(struct import_meter *m, int parent, const char *name,
                      const char *path, dev_t dev);

/* Count an entry, or the files below a directory. */
static void entry_count(struct import_meter *m, int fd, const char *path,
                        const struct dirent *d, dev_t dev)
{
	bool is_dir = d->d_type == DT_DIR;
	_cleanup_free_ char *below = NULL;

	if (asprintf(&below, "%s/%s", path, d->d_name) < 0) {
		below = NULL;
		return;
	}
	if (path_filter_excludes(m->options->filter, below, is_dir))
		return;
	if (is_dir)
		dir_count(m, fd, d->d_name, below, dev);
	else
		m->files++;
}

static void dir_count(struct import_meter *m, int parent, const char *name,
                      const char *path, dev_t dev)
{
	int fd = source_open(parent, name, O_DIRECTORY);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	struct stat st;

	if (!stream || fstat(fd, &st) < 0 ||
	    (m->options->one_file_system && dev && st.st_dev != dev)) {
		if (stream)
			closedir(stream);
		else
			close_fd(&fd);
		return;
	}
	while (!m->stop && (d = readdir(stream)))
		if (strcmp(d->d_name, ".") && strcmp(d->d_name, ".."))
			entry_count(m, fd, path, d, st.st_dev);
	closedir(stream);
}

static void *count_main(void *arg)
{
	struct import_meter *m = arg;

	dir_count(m, m->top, ".", "", 0);
	m->counted = true;
	return NULL;
}

/* ---- Showing ------------------------------------------------------------ */

static void left_print(const struct import_meter *m, double seconds)
{
	uint64_t done = m->progress->files, all = m->files;
	double left;

	if (!m->counted || !done || done > all)
		return;
	left = seconds * (double)(all - done) / (double)done;
	fprintf(stderr, ", %u:%02u left", (unsigned)left / 60,
	        (unsigned)left % 60);
}

static void meter_show(struct import_meter *m)
{
	double seconds = (double)(mono_ns() - m->begun) / 1e9;
	uint64_t files = m->progress->files, bytes = m->progress->bytes;

	flockfile(stderr);
	fprintf(stderr, "\r%ju", (uintmax_t)files);
	if (m->counted)
		fprintf(stderr, " of %ju", (uintmax_t)m->files);
	fprintf(stderr, " files, %.1f MiB, %.1f MiB/s", (double)bytes / 1048576,
	        (double)bytes / 1048576 / seconds);
	left_print(m, seconds);
	fputs("\033[K", stderr);
	fflush(stderr);
	m->progress->shown = true;
	funlockfile(stderr);
}

static void *show_main(void *arg)
{
	struct import_meter *m = arg;
	struct timespec until;

	pthread_mutex_lock(&m->lock);
	while (!m->stop) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += PERIOD_NS;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		if (pthread_cond_timedwait(&m->end, &m->lock, &until) ==
		    ETIMEDOUT)
			meter_show(m);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

void meter_start(struct import_meter *m, struct import_progress *progress,
                 int top, const struct import_options *options)
{
	*m = (struct import_meter){.progress = progress,
	                           .options = options,
	                           .top = top,
	                           .begun = mono_ns()};
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->end, NULL);
	m->counting =
	        top >= 0 && !pthread_create(&m->counts, NULL, count_main, m);
	m->shown = !pthread_create(&m->shows, NULL, show_main, m);
}

void meter_stop(struct import_meter *m)
{
	pthread_mutex_lock(&m->lock);
	m->stop = true;
	pthread_cond_signal(&m->end);
	pthread_mutex_unlock(&m->lock);
	if (m->counting)
		pthread_join(m->counts, NULL);
	if (m->shown)
		pthread_join(m->shows, NULL);
	progress_clear(m->progress);
	pthread_mutex_destroy(&m->lock);
	pthread_cond_destroy(&m->end);
}
