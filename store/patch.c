/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "patch.h"

#include <errno.h>

#include "chunk_header.h"
#include "chunk_codec.h"
#include "engine.h"
#include "parts.h"

struct chunk *patch_alloc(struct store *store, uint32_t len, uint64_t parts,
                          unsigned depth)
{
	struct chunk *patch = chunk_alloc(store, parts_len(store, len, parts));

	if (!patch)
		return NULL;
	patch->block.kind = BLOCK_PATCH;
	patch->len = len;
	patch->same = parts_of(store, 0, len) & ~parts;
	patch->depth = (uint8_t)depth;
	return patch;
}

/* Return the parts that the patch has. */
static uint64_t patch_parts(const struct chunk *patch)
{
	return parts_of(patch->store, 0, patch->len) & ~patch->same;
}

/* ---- Reading ------------------------------------------------------------ */

/*
 * Return the number of the patch's base.  0: it is no patch any more, or its
 * base is not less deep (from a damaged log).  Lock held.
 */
static uint64_t base_number(const struct chunk *patch)
{
	const struct block *base = block_find(patch->store, patch->replaces);

	if (patch->block.kind != BLOCK_PATCH)
		return 0;
	if (base && base->kind == BLOCK_PATCH &&
	    ((const struct chunk *)base)->depth >= patch->depth)
		return 0;
	return patch->replaces;
}

/*
 * Read the base of a patch, and return a buffer with as many of its bytes as
 * the patch has.  Lock NOT held.  -ENOENT: it is no patch any more; -EUCLEAN.
 */
static int base_copy(struct chunk *patch, uint8_t **ret_bytes,
                     uint32_t *ret_len)
{
	struct store *store = patch->store;
	struct chunk *base;
	uint64_t number;
	uint8_t *bytes;
	uint32_t len;
	int r;

	store_lock(store);
	len = patch->len;
	number = base_number(patch);
	store_unlock(store);
	r = number ? chunk_load(store, number, &base) : -ENOENT;
	if (r < 0)
		return r;
	bytes = malloc(len);
	if (!bytes)
		r = -ENOMEM;
	else if (base->len < len)
		r = store_damaged(store, number, "a chunk that is too short");
	else
		memcpy(bytes, base->data, len);
	chunk_unref(base);
	if (r < 0) {
		free(bytes);
		return r;
	}
	*ret_bytes = bytes;
	*ret_len = len;
	return 0;
}

int patch_read(struct chunk *patch, struct chunk **ret_chunk)
{
	struct chunk *chunk = chunk_alloc(patch->store, 0);
	int r = chunk ? base_copy(patch, &chunk->data, &chunk->len) : -ENOMEM;

	if (r == 0) {
		chunk->capacity = chunk->len;
		store_lock(patch->store);
		if (patch->block.kind == BLOCK_PATCH)
			parts_paste(chunk, patch_parts(patch), patch->data);
		else
			r = -ENOENT;
		store_unlock(patch->store);
	}
	if (r < 0) {
		chunk_unref(chunk);
		return r;
	}
	*ret_chunk = chunk;
	return 0;
}

/* ---- Making ------------------------------------------------------------- */

/*
 * Find the depth of a patch of the chunk: 1 more than the depth of the stored
 * chunk, or of a patch that is being committed.  -EAGAIN: the chunk is only in
 * memory, too deep, or shorter than `len`.
 */
static int base_depth(struct store *store, uint64_t number, uint32_t len,
                      unsigned *ret_depth)
{
	struct chunk_header h = {0};
	struct chunk *chunk;
	struct block *block;
	MDB_txn *txn;
	int r = 0;

	store_lock(store);
	block = block_find(store, number);
	chunk = (struct chunk *)block;
	if (block && block->kind == BLOCK_PATCH &&
	    block->state == BLOCK_SYNCING) {
		/* Keep the patch findable until the map has it, even if
		 * dropped. */
		chunk->cloned = true;
		h.depth = chunk->depth;
		h.len = chunk->len;
	} else if (block && block->state != BLOCK_CLEAN) {
		r = -EAGAIN;
	}
	store_unlock(store);
	if (r == 0 && !h.len) {
		r = disk_read_begin(&store->disk, &txn);
		if (r < 0)
			return r;
		r = disk_get_u64(txn, store->disk.dedup_refs, number, &number);
		if (r == 0 || r == -ENOENT)
			r = chunk_header_get(store, txn, number, &h);
		disk_read_end(&store->disk, txn);
	}
	if (r < 0 || h.len < len || h.depth >= store->options.delta_depth)
		return -EAGAIN;
	*ret_depth = h.depth + 1u;
	return 0;
}

void patch_added(struct store *store)
{
	/*
	 * Programs that do not know patches must not find any in the log.  So
	 * the group with the first one is not logged.  If there is no memory to
	 * set the feature, it is set when the group is closed.
	 */
	if (store_has_feature(store, STORE_FEATURE_PATCHES))
		return;
	store_set_feature(store, STORE_FEATURE_PATCHES, true);
	intent_track_stop(store->open_txg);
}

int chunk_patch(struct store *store, uint64_t number, uint32_t len,
                uint32_t from, uint32_t to, const void *data,
                struct chunk **ret_chunk)
{
	struct chunk *patch;
	unsigned depth;
	int r;

	if (to > len || to - from > len / PARTS_SHARE ||
	    !parts_are_whole(store, len, from, to))
		return -EAGAIN;
	r = base_depth(store, number, len, &depth);
	if (r < 0)
		return r;
	patch = patch_alloc(store, len, parts_of(store, from, to), depth);
	if (!patch)
		return -ENOMEM;
	memcpy(patch->data, data, to - from);
	*ret_chunk = patch;
	return 0;
}

/* ---- Changing ----------------------------------------------------------- */

/* Return true if the patch may be changed in place.  Lock held. */
static bool patch_is_open(const struct chunk *patch)
{
	return patch->block.kind == BLOCK_PATCH && patch->block.hashed &&
	       patch->block.state == BLOCK_NEW && !patch->cloned;
}

struct chunk *chunk_find_patch(struct store *store, uint64_t number)
{
	struct chunk *chunk = (struct chunk *)block_find(store, number);

	return chunk && patch_is_open(chunk) ? chunk_ref(chunk) : NULL;
}

/* Enlarge the patch's buffer to at least `len` bytes. */
static int patch_grow(struct chunk *patch, uint32_t len)
{
	uint32_t most = MAX(patch->len / PARTS_SHARE, len);
	uint32_t capacity = MAX(len, MIN(2 * patch->capacity, most));
	bool first = patch->data == patch->first;
	uint8_t *data = realloc(first ? NULL : patch->data, capacity);

	if (!data)
		return -ENOMEM;
	if (first)
		memcpy(data, patch->first, patch->capacity);
	txg_touch(patch->store, capacity - patch->capacity);
	patch->data = data;
	patch->capacity = capacity;
	return 0;
}

bool chunk_patch_fits(const struct chunk *patch, uint32_t from, uint32_t to)
{
	const struct store *store = patch->store;
	uint64_t parts = patch_parts(patch) | parts_of(store, from, to);

	return to <= patch->len &&
	       parts_are_whole(store, patch->len, from, to) &&
	       parts_len(store, patch->len, parts) <= patch->len / PARTS_SHARE;
}

int chunk_patch_write(struct chunk *patch, uint32_t from, uint32_t to,
                      const void *data)
{
	const struct store *store = patch->store;
	uint64_t had = patch_parts(patch), add = parts_of(store, from, to);
	uint64_t before = had & parts_of(store, 0, from);
	uint32_t old_len = parts_len(store, patch->len, had);
	uint32_t new_len = parts_len(store, patch->len, had | add);
	uint32_t at = parts_len(store, patch->len, before);
	uint32_t behind = at + parts_len(store, patch->len, had & add);

	if (new_len > patch->capacity && patch_grow(patch, new_len) < 0)
		return -ENOMEM;
	/* The patch's bytes of this range are adjacent. */
	memmove(patch->data + at + (to - from), patch->data + behind,
	        old_len - behind);
	memcpy(patch->data + at, data, to - from);
	patch->same &= ~add;
	intent_track_bytes(patch->store->open_txg, patch, 0, 0);
	return 0;
}

/* Make the patch a chunk in the buffer `bytes`, which has its base's bytes. */
static void patch_fill(struct chunk *patch, uint8_t *bytes)
{
	uint64_t parts = patch_parts(patch);
	uint8_t *old = patch->data;

	patch->data = bytes;
	parts_paste(patch, parts, old);
	if (old != patch->first)
		free(old);
	txg_touch(patch->store, patch->len - patch->capacity);
	patch->capacity = patch->len;
	patch->block.kind = BLOCK_CHUNK;
	patch->logged_patch = patch->block.logged;
}

int chunk_complete(struct store *store, uint64_t number)
{
	uint8_t *bytes = NULL;
	struct chunk *patch;
	uint32_t len;
	int r = 0;

	store_lock(store);
	patch = chunk_find_patch(store, number);
	store_unlock(store);
	if (!patch)
		return 0;
	r = base_copy(patch, &bytes, &len);
	store_lock(store);
	if (!patch_is_open(patch))
		r = 0;
	else if (r == 0)
		patch_fill(patch, steal(&bytes));
	else if (r == -ENOENT)
		r = store_damaged(store, number, "a chunk without its base");
	store_unlock(store);
	free(bytes);
	chunk_unref(patch);
	return r;
}
