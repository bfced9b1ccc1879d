/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The file `lock`: it keeps other processes out, and marks a store that may
 * be written to.  Inside store/ only.
 */
#ifndef COPPICE_LOCK_FILE_H
#define COPPICE_LOCK_FILE_H

#include <stdbool.h>

struct store;

/*
 * Lock the store at the path.  -EBUSY: another process has it open.  On a
 * read-only file system without the file, return 0 and leave *ret_fd alone.
 */
int lock_file_take(const char *path, bool readonly, int *ret_fd);
/*
 * Mark data.mdb as open for writing.  Log a warning if there is a mark of
 * another file: the store is a copy then.
 */
void lock_file_mark(struct store *store);
/* Remove the mark: data.mdb is complete. */
void lock_file_clear(struct store *store);

#endif
