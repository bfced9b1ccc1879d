/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Exports: a directory of a state is sent as frames (import_code.h) to a
 * process or thread that makes files of them, past the kernel.  A part of fs.h:
 * include that.
 *
 * The attributes of a hard-linked file have the number of its inode; the second
 * name is sent as a LINK.  A regular file is a FILE with IMPORT_MORE, its DATA,
 * whose index is an offset in bytes, and an END; what no DATA covers is a hole.
 * Nothing is answered.
 *
 * If the receiver has files already, it is asked about each regular file
 * before: some FILEs with IMPORT_META, and ENTRIES with the directory alone,
 * which are answered by a u8 enum import_verdict for each of the FILEs.
 * IMPORT_SAME: it needs no content.  The FILEs without content come after the
 * answer.
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
	bool ask; /* before contents are sent */
	int socket;
};

struct fs_export_counts {
	uint64_t files, dirs, bytes;
};

/*
 * Send the directory of a tree that is held, but for what the filter excludes
 * below it.  Lock NOT held.  -EPIPE: the receiver ended before.
 */
int fs_export(struct fs *fs, const struct state_hold *hold,
              const struct fs_export *what,
              struct fs_export_counts *ret_counts);

#endif
