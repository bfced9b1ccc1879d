/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Chunks that may have to be fetched from the store.  An operation that holds
 * the store's lock names the chunk that it lacks; its caller fetches the chunk
 * without the lock.
 */
#ifndef COPPICE_WANT_H
#define COPPICE_WANT_H

#include "fs_struct.h"

/* The chunk that an operation lacks.  All zero at first. */
struct want {
	uint64_t number;
	struct chunk *chunk; /* the result of the last fetch */
	unsigned misses;     /* fetches that failed, see chunk_fetch() */
};
/*
 * Return the chunk with a new reference.  -EAGAIN: call want_fetch() first.
 * *ret_writable (may be NULL) is set as by chunk_find().
 */
int want_chunk(struct fs *fs, struct want *want, uint64_t number,
               struct chunk **ret_chunk, bool *ret_writable);
/* Fetch the chunk want->number, if it is not 0.  Lock NOT held. */
int want_fetch(struct fs *fs, struct want *want);
void want_release(struct want *want);
#define _cleanup_want_ _cleanup_(want_release)

/*
 * Call chunk_load().  -ENOENT: the chunk was freed meanwhile; read the tree
 * again.  *misses counts these results; too many are damage (-EUCLEAN).  Lock
 * NOT held.
 */
int chunk_fetch(struct fs *fs, uint64_t number, unsigned *misses,
                struct chunk **ret_chunk);

static inline void chunk_unref_pointer(struct chunk **chunk)
{
	chunk_unref(*chunk);
}
#define _cleanup_chunk_ _cleanup_(chunk_unref_pointer)

#endif
