/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Patches in memory: blocks of a group that have only the parts (parts.h) in
 * which a chunk differs from the one that it replaces, its base.  The functions
 * that change them are in store_chunk.h.  Inside store/ only.
 */
#ifndef COPPICE_PATCH_H
#define COPPICE_PATCH_H

#include "chunk.h"

/*
 * Return a patch of chunk_alloc() without a number, of `len` bytes.  The caller
 * fills the parts; all other bytes are those of the chunk `replaces`.  `depth`:
 * chunks to be read before it.  NULL: no memory.
 */
struct chunk *patch_alloc(struct store *store, uint32_t len, uint64_t parts,
                          unsigned depth);
/* Set the feature of patches if this patch is the first one.  Lock held. */
void patch_added(struct store *store);
/*
 * Return in *ret_chunk a copy of the whole content of the patch.  The caller
 * holds a reference to the patch.  Lock NOT held.  -ENOENT: it is no patch any
 * more; -EUCLEAN.
 */
int patch_read(struct chunk *patch, struct chunk **ret_chunk);

#endif
