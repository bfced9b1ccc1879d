/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Encoding the blocks of a group with a second thread, ahead of the committer,
 * which writes them in their order.  Inside store/ only.
 */
#ifndef COPPICE_ENCODING_H
#define COPPICE_ENCODING_H

#include "write.h"

struct encoding;
/*
 * Begin to encode `len` blocks, nodes and chunks in the order of their numbers;
 * the array stays the caller's.  NULL: there is no thread, because it is not
 * worth it or not possible, and the caller encodes each block.
 */
struct encoding *encoding_create(struct writing *w, struct block *const *blocks,
                                 size_t len);
/* Stop the thread. */
void encoding_destroy(struct encoding *encoding);
/*
 * Return the form of the next block, valid until the next call; the caller may
 * change it.  NULL: the caller encodes this block.
 */
struct encoded *encoding_next(struct encoding *encoding);

#endif
