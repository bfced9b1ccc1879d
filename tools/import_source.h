/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The source of an import: a directory that is walked and read, and sent as
 * frames (import_code.h).  No symlink in it is followed.
 */
#ifndef COPPICE_IMPORT_SOURCE_H
#define COPPICE_IMPORT_SOURCE_H

#include <stdatomic.h>
#include <sys/types.h>

#include "import_stream.h"
#include "path_filter.h"

struct import_options {
	const struct path_filter *filter;
	bool one_file_system;
	bool dry_run;
	bool whole;      /* the top becomes the root directory of a state */
	bool superuser;  /* devices can be imported */
	dev_t store_dev; /* a directory that is left out */
	ino_t store_ino;
};

/* Counts of what was read so far, for another thread to show. */
struct import_progress {
	atomic_uint_least64_t files, dirs; /* names; those of directories */
	atomic_uint_least64_t size;        /* bytes of all regular files */
	atomic_uint_least64_t bytes;       /* that were read */
	atomic_uint_least64_t failed;      /* names that were reported */
	atomic_bool shown; /* a line without its end is on standard error */
};

/* Clear the line, if there is one, before something else is printed. */
void progress_clear(struct import_progress *progress);

/*
 * Walk the directory `top` and send it to the socket.  What cannot be read, or
 * changes while it is read, is reported and counted.  0: all was sent;
 * -EPIPE, -ECONNRESET: the receiver ended before; -ENOMEM.
 */
int import_source_send(int top, const struct import_options *options,
                       struct import_progress *progress, int socket);

#endif
