/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Showing how far an import or export has come, on standard error. */
#ifndef COPPICE_IMPORT_METER_H
#define COPPICE_IMPORT_METER_H

#include <pthread.h>

#include "import_source.h"

struct import_meter {
	struct import_progress *progress;
	const struct import_options *options;
	int top;
	pthread_t shows, counts;
	bool shown, counting;
	int64_t begun; /* mono_ns() */
	pthread_mutex_t lock;
	pthread_cond_t end;
	atomic_bool stop;
	/* of the whole source, as far as it was counted */
	atomic_uint_least64_t files;
	atomic_bool counted; /* all of it was */
};

/*
 * Start showing the progress.  Another thread counts the files of the directory
 * `top` meanwhile, from which the time left is computed; -1: none does.  If no
 * thread can be started, nothing is shown.
 */
void meter_start(struct import_meter *m, struct import_progress *progress,
                 int top, const struct import_options *options);
/* Stop the threads, and clear the line. */
void meter_stop(struct import_meter *m);

#endif
