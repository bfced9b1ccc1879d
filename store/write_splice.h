/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writing a chunk as a splice of chunks that the group replaces. */
#ifndef COPPICE_WRITE_SPLICE_H
#define COPPICE_WRITE_SPLICE_H

#include "chunk_encoder.h"
#include "write.h"

/*
 * Replace *form, in which the chunk could be stored, by a splice of chunks that
 * other versions keep, if that is much shorter, or not longer than a delta.
 */
int chunk_splice(struct writing *w, const struct chunk *chunk,
                 const uint8_t hash[16], struct form *form);

#endif
