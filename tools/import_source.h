/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The source of an import: a directory that is read and sent as frames
 * (import_code.h).  Symlinks in it are not followed.
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
	bool superuser;  /* import devices, trusted.* and security.* */
	dev_t store_dev; /* the store's directory, which is left out */
	ino_t store_ino;
};

/* Counts so far, for another thread to show. */
struct import_progress {
	atomic_uint_least64_t files, dirs; /* names */
	atomic_uint_least64_t size;        /* bytes of all regular files */
	atomic_uint_least64_t bytes;       /* bytes read or written */
	atomic_uint_least64_t failed;      /* failures that were reported */
	atomic_bool shown; /* standard error has an unfinished line */
};

/* Clear the unfinished line, if there is one, before other output. */
void progress_clear(struct import_progress *progress);

/*
 * Send the directory `top` to the socket.  Files that cannot be read, or change
 * while they are read, are reported and counted.  0: all was sent; -EPIPE,
 * -ECONNRESET: the receiver ended before; -EMFILE: directories are nested too
 * deeply; -ENOMEM.
 */
int import_source_send(int top, const struct import_options *options,
                       struct import_progress *progress, int socket);

#endif
