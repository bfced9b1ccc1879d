/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Exports: a directory of a state is sent as frames (import_code.h) to a
 * process or thread that makes the files, without a mount.  A part of fs.h:
 * include that.
 *
 * The attributes of a hard-linked file have the number of its inode; every
 * further name is sent as a LINK.  A regular file is a FILE with IMPORT_MORE,
 * its DATA, whose index is an offset in bytes, and an END; ranges without DATA
 * are holes.  The receiver answers none of these frames.
 *
 * With fs_export.ask, the receiver has files already, and is asked which
 * regular files need their content: the sender sends some FILEs with
 * IMPORT_META, then ENTRIES with only the directory.  The receiver answers the
 * ENTRIES by a u8 enum import_verdict for each of the FILEs; IMPORT_SAME: no
 * content is needed.  All other entries of the batch follow the answer.
 */
#ifndef COPPICE_FS_EXPORT_H
#define COPPICE_FS_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

struct fs;
struct path_filter;
struct state_hold;

struct fs_export {
	uint64_t ino; /* a directory */
	const struct path_filter *filter;
	bool ask;   /* which contents the receiver needs */
	int socket; /* the caller's */
};

struct fs_export_counts {
	uint64_t files, dirs, bytes;
};

/*
 * Send the directory of a held tree, except what the filter excludes below it.
 * Lock NOT held.  -EPIPE: the receiver closed the socket; -E2BIG: the xattrs of
 * a file exceed IMPORT_XATTRS_MAX; -EUCLEAN; -ENOMEM; -EINTR: see
 * store_yield().
 */
int fs_export(struct fs *fs, const struct state_hold *hold,
              const struct fs_export *what,
              struct fs_export_counts *ret_counts);

#endif
