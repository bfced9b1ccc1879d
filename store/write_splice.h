/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing a chunk as a splice of chunks that the group replaces. */
#ifndef COPPICE_WRITE_SPLICE_H
#define COPPICE_WRITE_SPLICE_H

#include "chunk_encoder.h"
#include "write.h"

/*
 * Replace the form of a chunk by a splice of chunks that stay in the store, if
 * that is a quarter shorter, or not longer than a delta.  Call this for the
 * group's chunks in their order.
 */
int chunk_splice(struct writing *w, const struct chunk *chunk,
                 struct encoded *encoded);

#endif
