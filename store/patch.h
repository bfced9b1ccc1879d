/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Patches in memory: blocks of a group that have the parts (parts.h) in which a
 * chunk differs from the one that it replaces, its base, and not the rest of
 * it.  The functions that change them are in store_chunk.h.  Inside store/
 * only.
 */
#ifndef COPPICE_PATCH_H
#define COPPICE_PATCH_H

#include "chunk.h"

/*
 * Return a patch of chunk_alloc() without a number: of `len` bytes, all the
 * same as in the chunk `replaces` but for these parts, which the caller fills.
 * `depth`: chunks to be read before it.  NULL: no memory.
 */
struct chunk *patch_alloc(struct store *store, uint32_t len, uint64_t parts,
                          unsigned depth);
/* Note that the open group has got a patch.  Lock held. */
void patch_added(struct store *store);
/*
 * Return in *ret_chunk a copy of the whole content of the patch, which the
 * caller has a reference to.  Lock NOT held.  -ENOENT: it is no patch any more;
 * -EUCLEAN.
 */
int patch_read(struct chunk *patch, struct chunk **ret_chunk);

#endif
