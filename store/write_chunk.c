/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing a chunk: as a patch of the replaced chunk, as a dedup reference to
 * the same content, as a delta against the replaced chunk or one of its bases,
 * as a splice, compressed, or as it is.
 */
#include <errno.h>

#include "chunk_encoder.h"
#include "codec.h"
#include "free.h"
#include "replaced.h"
#include "write_splice.h"

enum {
	HALVED_MAX = 3300, /* longest remainder that is halved */
	PIECE_MIN = 128,   /* least piece of a chunk that fills up a page */
};

static bool chunk_same(const struct chunk *a, const struct chunk *b)
{
	return a->len == b->len && !memcmp(a->data, b->data, a->len);
}

/* Make the chunk a dedup reference to the stored one. */
static int chunk_dedup(struct writing *w, const struct chunk *chunk,
                       uint64_t target)
{
	int r = disk_put_u64(w->txn, w->disk->dedup_refs, chunk->block.number,
	                     target);

	return r ? r : refcount_up(w->store, w->txn, target);
}

/* ---- Finding the form --------------------------------------------------- */

/*
 * Look for a chunk with the same bytes: the replaced one or, by the hash,
 * another one.  *ret_number: the number that stores it; 0: none.
 */
static int same_find(struct writing *w, const struct chunk *chunk,
                     const struct replaced *replaced, const uint8_t hash[16],
                     uint64_t *ret_number)
{
	struct chunk *other = NULL;
	uint64_t target = replaced ? replaced->number : 0;
	int r = 0;

	*ret_number = 0;
	if (!target ||
	    memcmp(replaced->header.hash, hash, sizeof(replaced->header.hash)))
		r = -ENOENT;
	if (r == -ENOENT && chunk->len >= SHARE_MIN)
		r = disk_get_u64(w->txn, w->disk->hashes, be64_get(hash),
		                 &target);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = chunk_decode(w->store, w->txn, target, &other);
	if (r < 0) /* damaged: no candidate */
		return r == -ENOMEM ? r : 0;
	if (chunk_same(other, chunk))
		*ret_number = target;
	chunk_unref(other);
	return 0;
}

/*
 * Find the stored chunk to make a delta against: the replaced chunk, if another
 * version keeps it; else the nearest chunk in its own chain of deltas that has
 * another reference.  A chain of the greatest length is not extended: the delta
 * is made against its root.  -ENOENT: there is none.
 */
static int delta_base(struct writing *w, const struct chunk *chunk,
                      const struct replaced *replaced, uint64_t *ret_number,
                      unsigned *ret_depth)
{
	uint64_t number = replaced->number;
	struct chunk_header h = replaced->header;
	int r = number ? 0 : -ENOENT;

	if (r == 0 && writing_freed(w, chunk->replaces)) {
		while (r == 0 && !block_is_counted(w, number)) {
			if (!h.base_count)
				return -ENOENT;
			number = h.bases[0];
			r = chunk_header_get(w->store, w->txn, number, &h);
		}
	}
	while (r == 0 && h.depth >= w->store->options.delta_depth) {
		do {
			number = h.bases[0];
			r = chunk_header_get(w->store, w->txn, number, &h);
		} while (r == 0 && h.depth);
	}
	if (r < 0)
		return r == -EUCLEAN ? -ENOENT : r;
	*ret_number = number;
	*ret_depth = h.depth + 1u;
	return 0;
}

/*
 * Return true if some aligned 8 bytes are the same in both.  Content that does
 * not compress can only match at the same offset.
 */
static bool bytes_resemble(const uint8_t *a, const uint8_t *b, uint32_t len)
{
	uint64_t x, y;

	for (uint32_t i = 0; i + sizeof(x) <= len; i += sizeof(x)) {
		memcpy(&x, a + i, sizeof(x));
		memcpy(&y, b + i, sizeof(y));
		if (x == y)
			return true;
	}
	return false;
}

/*
 * Return true if the replaced chunk is stored uncompressed, in one fragment,
 * and has nothing in common with this one, so that a delta would save nothing.
 * The bytes are not verified: damage can only cost space.
 */
static bool replaced_differs(const struct writing *w,
                             const struct replaced *replaced,
                             const struct chunk *chunk)
{
	const struct chunk_header *h = &replaced->header;
	MDB_val value;

	if (h->tag != BLOCK_TAG_RAW ||
	    disk_get(w->txn, w->disk->blocks,
	             replaced->number << DISK_FRAGMENT_BITS, &value))
		return false;
	return value.mv_size == h->header_len + h->stored &&
	       !bytes_resemble((const uint8_t *)value.mv_data + h->header_len,
	                       chunk->data, MIN(h->len, chunk->len));
}

/*
 * Try a delta against the replaced chunk.  e->form is the form without a base.
 */
static int delta_try(struct writing *w, const struct chunk *chunk,
                     const struct replaced *replaced, struct encoded *e)
{
	bool noise = e->form.len > chunk->len;
	struct chunk *base;
	uint64_t number = 0;
	unsigned depth = 0;
	int r = delta_base(w, chunk, replaced, &number, &depth);

	if (r == 0 && noise && number == replaced->number &&
	    replaced_differs(w, replaced, chunk))
		return 0;
	if (r == 0)
		r = chunk_decode(w->store, w->txn, number, &base);
	if (r < 0)
		return r == -ENOENT || r == -EUCLEAN ? 0 : r;
	if (chunk_same(base, chunk))
		e->same = number;
	else if (!noise || bytes_resemble(base->data, chunk->data,
	                                  MIN(base->len, chunk->len)))
		encoder_run_delta(w->encoder, chunk, e->hash, base, number,
		                  depth, &e->form);
	chunk_unref(base);
	return 0;
}

/*
 * Try a patch.  Return true, and set e->form, if little of the chunk differs
 * from the replaced one.  The replaced block is kept for the patch even without
 * other references: to write its other parts again would cost as much.
 */
static bool patch_try(struct writing *w, const struct chunk *chunk,
                      const struct replaced *replaced, struct encoded *e)
{
	struct chunk_header base = replaced->header;
	uint64_t number = replaced->number;

	if (chunk->block.kind == BLOCK_PATCH && !number) {
		/* The base is damaged: a read of the patch will report it. */
		base = (struct chunk_header){.depth = chunk->depth - 1u};
		number = chunk->replaces;
	} else if (chunk->block.kind != BLOCK_PATCH &&
	           (!chunk_is_patch(chunk) || !number ||
	            base.depth >= w->store->options.delta_depth)) {
		return false;
	}
	encoder_run_patch(w->encoder, chunk, &base, number, &e->form);
	e->patch = true;
	return true;
}

/* Set the block that the chunk replaces, and its size. */
static void former_note(const struct chunk *chunk,
                        const struct replaced *replaced, struct encoded *e)
{
	const struct chunk_header *h = &replaced->header;

	e->replaced = replaced->number;
	if (replaced->number && replaced->number == chunk->replaces) {
		e->former = replaced->number;
		e->former_bytes = h->header_len + h->stored;
	}
}

int chunk_encode(struct writing *w, const struct chunk *chunk,
                 struct encoded *ret_encoded)
{
	struct encoded *e = ret_encoded;
	struct replaced replaced;
	int r;

	*e = (struct encoded){0};
	r = replaced_get(w, chunk, &replaced);
	if (r < 0)
		return r;
	former_note(chunk, &replaced, e);
	if (patch_try(w, chunk, &replaced, e))
		return 0;
	chunk_hash(chunk, e->hash);
	r = same_find(w, chunk, &replaced, e->hash, &e->same);
	if (r < 0 || e->same)
		return r;
	encoder_run(w->encoder, chunk, e->hash, &e->form);
	return delta_try(w, chunk, &replaced, e);
}

/* ---- Writing ------------------------------------------------------------ */

/*
 * Add the references of the chunk's stored form to its bases.  If a base is the
 * replaced block, and this group frees the replaced number, pass on the
 * reference of that number instead.
 */
static int bases_count(struct writing *w, const struct chunk *chunk,
                       const struct encoded *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < e->form.base_count; i++) {
		struct freed *freed = NULL;

		if (e->form.bases[i] == e->replaced)
			freed = writing_freed(w, chunk->replaces);
		if (freed && !freed->passed)
			freed->passed = true;
		else
			r = refcount_up(w->store, w->txn, e->form.bases[i]);
	}
	return r;
}

/*
 * Return how many of `len` bytes to put into the next fragment.  A remainder
 * that does not fit into the last page fills that page up.  A remainder that
 * would take more than half of a new page, but not all of it, is halved, so
 * that the halves share their pages with other entries.
 */
static size_t fragment_len(const struct writing *w, size_t len)
{
	size_t space = w->tail - MIN(w->tail, (size_t)ITEM_HEAD);

	space = MIN(space - space % 2, (size_t)DISK_LEAF_MAX);
	if (len <= HALVED_MAX && len > space && space >= PIECE_MIN)
		return space;
	if (len > DISK_LEAF_MAX && len <= HALVED_MAX)
		return (len + 1) / 2;
	return MIN(len, (size_t)DISK_VALUE_MAX);
}

static int fragments_put(struct writing *w, uint64_t number,
                         const uint8_t *data, size_t len)
{
	uint64_t key = number << DISK_FRAGMENT_BITS;

	for (; len; key++) {
		size_t n = fragment_len(w, len);
		int r = writing_put(w, key, data, n);

		if (r < 0)
			return r;
		data += n;
		len -= n;
	}
	return 0;
}

int writing_chunk(struct writing *w, struct chunk *chunk,
                  struct encoded *encoded)
{
	/*
	 * A patch is small and will soon be replaced again: it is not worth an
	 * entry in `hashes`.
	 */
	bool shared = chunk->len >= SHARE_MIN && !encoded->patch;
	uint64_t same = encoded->same;
	int r = 0;

	/* A chunk that this group has written may have the same content. */
	if (!same && shared && encoded->ahead)
		r = same_find(w, chunk, NULL, encoded->hash, &same);
	if (r < 0)
		return r;
	if (same)
		return chunk_dedup(w, chunk, same);
	r = chunk_splice(w, chunk, encoded);
	if (r == 0)
		r = bases_count(w, chunk, encoded);
	if (r == 0)
		r = fragments_put(w, chunk->block.number, encoded->form.data,
		                  encoded->form.len);
	if (r == 0 && shared)
		r = disk_put_u64(w->txn, w->disk->hashes,
		                 be64_get(encoded->hash), chunk->block.number);
	w->content += chunk->len;
	w->stored += encoded->form.len;
	accounting_get(&w->accounting, chunk->block.owner)->unique +=
	        (int64_t)encoded->form.len;
	return r;
}
