/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The chunks that files have lost lately.  A file that is rewritten is mostly
 * truncated first; what is then written is given to the store as replacing the
 * chunks that were cut off, so that it can be stored as their difference.  A
 * few files are remembered, in memory, and forgetting one costs only space.
 * Lock held.
 */
#ifndef COPPICE_CUT_H
#define COPPICE_CUT_H

#include "inode.h"

enum { CUTS = 64 };

/* The chunks cut off a file. */
struct cut {
	node_t node;
	uint64_t first; /* index in the file of the first one */
	size_t len, capacity;
	uint64_t *chunks; /* 0: none */
};

/* Note that the file loses the chunk at this index. */
void cut_note(struct vnode *v, uint64_t index, uint64_t chunk);
/*
 * Return the chunk that the file has lost at this index, and forget it; 0: not
 * known.
 */
uint64_t cut_take(struct vnode *v, uint64_t index);
/* Free all of it.  Lock not needed: nothing else uses the file system. */
void cuts_release(struct fs *fs);

#endif
