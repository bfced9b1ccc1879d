/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Showing the progress of an import or export on standard error. */
#ifndef COPPICE_IMPORT_METER_H
#define COPPICE_IMPORT_METER_H

#include <pthread.h>

#include "import_source.h"

struct import_meter {
	struct import_progress *progress;
	const struct import_options *options;
	int top;
	pthread_t shows, counts; /* the threads */
	bool shown, counting;    /* they were started */
	int64_t begun;           /* mono_ns() */
	pthread_mutex_t lock;
	pthread_cond_t end;
	atomic_bool stop;
	atomic_uint_least64_t files; /* of the source, counted so far */
	atomic_bool counted;         /* all files were counted */
};

/*
 * Start showing the progress.  Unless `top` is -1, another thread counts the
 * files of this directory, to compute the time left.  If no thread can be
 * started, nothing is shown.
 */
void meter_start(struct import_meter *m, struct import_progress *progress,
                 int top, const struct import_options *options);
/* Stop the threads, and clear the line. */
void meter_stop(struct import_meter *m);

#endif
