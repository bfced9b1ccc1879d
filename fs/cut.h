/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The chunks that files have lost lately.  Most programs truncate a file before
 * they rewrite it.  The new chunks are passed to the store as replacements of
 * the chunks that were cut off, so that it can store only the differences.  A
 * few files are remembered, in memory; forgetting one costs only space.
 */
#ifndef COPPICE_CUT_H
#define COPPICE_CUT_H

#include "inode.h"

enum { CUTS = 64 };

/* The chunks cut off a file. */
struct cut {
	node_t node;
	uint64_t first; /* index in the file of chunks[0] */
	size_t len, capacity;
	uint64_t *chunks; /* their numbers; 0: none */
};

/* Note that the file loses the chunk at this index. */
void cut_note(struct vnode *v, uint64_t index, uint64_t chunk);
/*
 * Return the chunk that the file has lost at this index, and forget it; 0: not
 * known.
 */
uint64_t cut_take(struct vnode *v, uint64_t index);
/* Free fs->cuts.  Lock not needed: nothing else uses the file system. */
void cuts_release(struct fs *fs);

#endif
