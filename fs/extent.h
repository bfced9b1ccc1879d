/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Extents: which chunk holds which part of a file.
 */
#ifndef COPPICE_EXTENT_H
#define COPPICE_EXTENT_H

#include "inode.h"

/* One extent without its inline data; kind 0: a hole. */
struct ext {
	uint8_t kind;
	uint32_t len; /* bytes */
	uint64_t chunk;
};

static inline uint64_t ext_blocks(const struct ext *e)
{
	return e->kind ? (e->len + 511u) >> BLOCK_SHIFT : 0;
}
/* Return how many bytes from the start may be nonzero. */
static inline uint32_t ext_data(const struct ext *e)
{
	return e->kind == EXTENT_CHUNK || e->kind == EXTENT_INLINE ? e->len : 0;
}

/* Read the extents first … first + count - 1, holes included. */
int ext_list(struct tree *tree, uint64_t ino, uint64_t first, size_t count,
             struct ext *ret);
/* Read the bytes of the inline extent. */
int ext_inline(struct tree *tree, uint64_t ino,
               uint8_t ret_data[EXTENT_INLINE_MAX]);
/*
 * Replace the extent `old` with `to`, drop the old chunk, and update the counts
 * of blocks.  The caller stores the inode.  to->kind 0 removes the extent.
 * `data` is the content of an inline extent, else unused.
 */
int ext_replace(struct vnode *v, uint64_t index, const struct ext *old,
                const struct ext *to, const uint8_t *data);
/* Replace the extent `old` with one that has a new chunk. */
int ext_add_chunk(struct vnode *v, uint64_t index, const struct ext *old,
                  struct chunk *chunk);
/*
 * Remove the extents from index `first` on, at most `budget` of them, and
 * store the inode.  -EAGAIN: there are more.
 */
int ext_cut(struct vnode *v, uint64_t first, unsigned budget);
/*
 * Tell the store which chunks of the file `ino` the chunks of `v` replace, so
 * that it may keep the new ones as deltas against the old ones.
 */
void ext_hint(struct vnode *v, struct tree *tree, uint64_t ino);

#endif
