/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The content of a file of a held tree, piece by piece.  A part of snapshot.h:
 * include that.
 */
#ifndef COPPICE_SNAPSHOT_FILE_CONTENT_H
#define COPPICE_SNAPSHOT_FILE_CONTENT_H

#include "item.h"

/*
 * Called with the next `len` bytes of a file; data NULL: a hole, which reads as
 * zeros.  A nonzero result ends the reading.  Without the lock.
 */
typedef int file_content_fn(void *arg, const uint8_t *data, uint64_t len);

/*
 * Read a regular file, or the target of a symlink, of `size` bytes.  The tree
 * is held, or never changes.  Lock NOT held.  Return fn's nonzero result, or an
 * error.
 */
int file_content(struct tree *tree, uint64_t ino, uint64_t size,
                 file_content_fn *fn, void *arg);

#endif
