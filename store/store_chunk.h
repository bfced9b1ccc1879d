/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Chunks: pieces of files.  A part of store.h: include that. */
#ifndef COPPICE_STORE_CHUNK_H
#define COPPICE_STORE_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;
struct tree;

/*
 * A chunk is a piece of a file: up to store_chunk_size() bytes under a block
 * number.  A chunk of the open transaction group may be changed in place (see
 * chunk_find()); once its group is closed, its bytes never change.  A struct
 * chunk is the content in memory, with a reference count.
 */
struct chunk;

/*
 * Allocate a buffer of `capacity` bytes with length 0, one reference and no
 * number.  For any thread.
 */
struct chunk *chunk_alloc(struct store *store, size_t capacity);
struct chunk *chunk_ref(struct chunk *chunk);
void chunk_unref(struct chunk *chunk); /* NULL is ignored */
uint8_t *chunk_data(struct chunk *chunk);
uint32_t chunk_len(const struct chunk *chunk);
/* Set the length; added bytes are zero.  The data may move.  -ENOMEM. */
int chunk_resize(struct chunk *chunk, uint32_t len);
/*
 * Set the length, within the capacity, of a buffer that is not a block yet.
 * Added bytes are not initialized: the caller fills all of them.
 */
void chunk_set_len(struct chunk *chunk, uint32_t len);

/*
 * Make the buffer a block of the tree, and return its new number.  The store
 * keeps a reference of its own.  `replaces` is the number of the chunk that
 * this one replaces, as a hint for storing one as a delta of the other; 0:
 * none.  Lock held.
 */
uint64_t chunk_add(struct tree *tree, struct chunk *chunk, uint64_t replaces);

/*
 * Set the `replaces` of chunk_add() later, when a file is renamed over another.
 * This has no effect on a chunk of a closed group.  Lock held.
 */
void chunk_replaces(struct tree *tree, uint64_t number, uint64_t replaces);
/*
 * Return the `replaces` for a chunk that takes the place of the chunk `number`,
 * which is about to be dropped: the number itself or, if that chunk would never
 * be stored, its own `replaces`.  Lock held.
 */
uint64_t chunk_replaced(struct tree *tree, uint64_t number);

/*
 * Declare that the buffer is a copy of the first `len` bytes of the chunk that
 * it is going to replace, except for the bytes [from, to), and that the
 * replaced chunk will not change any more.  The buffer can become a patch.
 */
void chunk_is_copy(struct chunk *chunk, uint32_t len, uint32_t from,
                   uint32_t to);
/* Record a change of the bytes [from, to) of a chunk in place. */
void chunk_changed(struct chunk *chunk, uint32_t from, uint32_t to);

/*
 * Make, for chunk_add(), a chunk with the first `len` bytes of the chunk
 * `number`, which it is going to replace, but with `data` as its bytes [from,
 * to).  The replaced chunk is not read: only the difference is kept in memory,
 * and later stored, as a patch.  chunk_find() does not find a patch, and
 * chunk_load() makes a copy of its whole content.  Lock NOT held.  -EAGAIN: a
 * patch is not possible here or saves too little; copy the chunk instead.
 */
int chunk_patch(struct store *store, uint64_t number, uint32_t len,
                uint32_t from, uint32_t to, const void *data,
                struct chunk **ret_chunk);
/*
 * Return a new reference to a patch that may be changed while the lock stays
 * held, provided that its number is private to the caller's tree.  NULL: there
 * is none.  Lock held.
 */
struct chunk *chunk_find_patch(struct store *store, uint64_t number);
/*
 * Return true if the bytes [from, to) can be changed in the patch.  If not, it
 * must become a chunk first: see chunk_complete().
 */
bool chunk_patch_fits(const struct chunk *patch, uint32_t from, uint32_t to);
/* Change bytes [from, to) that chunk_patch_fits().  -ENOMEM.  Lock held. */
int chunk_patch_write(struct chunk *patch, uint32_t from, uint32_t to,
                      const void *data);
/*
 * Read all of the chunk into memory if chunk_find_patch() finds it, so that
 * chunk_find() does.  Lock NOT held.  -EUCLEAN.
 */
int chunk_complete(struct store *store, uint64_t number);

/*
 * Draw a new number in `tree` for the content of `number`.  -EUCLEAN: that is a
 * node; -ENOMEM.  Lock held.
 */
int chunk_clone(struct tree *tree, uint64_t number, uint64_t *ret_number);

/*
 * Return a new reference to the chunk if it is in memory, else NULL.  Lock
 * held.  *ret_writable (may be NULL): the chunk may be changed in place while
 * the lock stays held, provided that its number is private to the caller's
 * tree.  A chunk for which *ret_writable is false never changes again and may
 * be read without the lock for as long as the reference lives.
 */
struct chunk *chunk_find(struct store *store, uint64_t number,
                         bool *ret_writable);

/*
 * Start reading these chunks from the disk, all at once, before they are loaded
 * one by one.  Lock NOT held.
 */
void chunk_prefetch(struct store *store, const uint64_t *numbers, size_t count);

/*
 * Read chunks of a large file that is read from end to end, and that the caller
 * keeps elsewhere: they are not cached.  *ret_chunks gets `count` references,
 * or NULL for those that chunk_load() must read, because they are not stored
 * together, were read so before, or cannot be read.  Lock NOT held.
 */
void chunk_load_bulk(struct store *store, const uint64_t *numbers, size_t count,
                     struct chunk **ret_chunks);
/*
 * Free the buffers, a few MiB, that are kept for chunk_load_bulk().  For any
 * thread.
 */
void chunk_rest_bulk(struct store *store);

/*
 * Read the chunk from the store, verify it and cache it.  Lock NOT held.
 * -ENOENT: it was freed meanwhile; look it up in the tree again.  -EUCLEAN.
 */
int chunk_load(struct store *store, uint64_t number, struct chunk **ret_chunk);

/* Do for chunks what tree_warm() does for items; numbers of 0 are skipped. */
void chunk_warm(struct store *store, const uint64_t *numbers, size_t count);
/* Return true if more chunks can be cached.  Lock held or shared. */
bool chunk_has_room(const struct store *store);
/*
 * Copy the bytes [from, from + len) of a chunk that was not in memory when the
 * lock was held.  cache: keep a chunk in memory even if it is stored as it is,
 * and could be copied from the map.  Lock NOT held.  -ENOENT: it was freed
 * meanwhile; -EUCLEAN: also if it is shorter.
 */
int chunk_read(struct store *store, uint64_t number, uint32_t from,
               uint32_t len, void *out, bool cache);

/*
 * Compare two chunks by their stored headers alone.  1: the same bytes; 0: the
 * same length, and other bytes; -EAGAIN: the caller must load both and compare
 * the bytes.  Lock NOT held.
 */
int chunk_compare(struct store *store, uint64_t a, uint64_t b);
/*
 * Return 1 if the chunk consists of these bytes, 0 if not, or an error.  The
 * chunk is read only if its header does not decide.  Lock NOT held.
 */
int chunk_matches(struct store *store, uint64_t number, const void *data,
                  uint32_t len);

#endif
