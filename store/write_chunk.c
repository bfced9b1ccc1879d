/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing a chunk: as a dedup reference to the same content, as a sparse delta
 * or a delta against the replaced chunk, or as it is.
 */
#include <errno.h>

#include "chunk_encoder.h"
#include "codec.h"
#include "free.h"
#include "replaced.h"
#include "write_splice.h"

enum {
	HALVED_MAX = 3300, /* a last fragment that is put in two */
	PIECE_MIN = 128,   /* the least of a chunk that fills up a page */
};

static bool chunk_same(const struct chunk *a, const struct chunk *b)
{
	return a->len == b->len && !memcmp(a->data, b->data, a->len);
}

/* Make the chunk a dedup reference to the stored one. Return 1, or an error. */
static int chunk_dedup(struct writing *w, const struct chunk *chunk,
                       uint64_t target)
{
	int r = disk_put_u64(w->txn, w->disk->dedup_refs, chunk->block.number,
	                     target);

	if (r == 0)
		r = refcount_up(w->store, w->txn, target);
	return r < 0 ? r : 1;
}

/*
 * Look for the same content under the replaced number and, by its hash,
 * elsewhere, and compare the bytes. 1: it is stored already, and the chunk has
 * become a dedup reference to it.
 */
static int chunk_share(struct writing *w, const struct chunk *chunk,
                       const struct replaced *replaced, const uint8_t hash[16])
{
	struct chunk *other = NULL;
	uint64_t target = replaced->number;
	bool same;
	int r = 0;

	if (!target ||
	    memcmp(replaced->header.hash, hash, sizeof(replaced->header.hash)))
		r = -ENOENT;
	if (r == -ENOENT && chunk->len >= SHARE_MIN)
		r = disk_get_u64(w->txn, w->disk->hashes, be64_get(hash),
		                 &target);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = chunk_decode(w->store, w->txn, target, &other);
	if (r < 0) /* damaged: not to be relied on */
		return r == -ENOMEM ? r : 0;
	same = chunk_same(other, chunk);
	chunk_unref(other);
	return same ? chunk_dedup(w, chunk, target) : 0;
}

/*
 * Add a reference to the stored block `number` for its replacement.  If this
 * group frees the `name` through which the block was referred to, its reference
 * is passed on instead.
 */
static int count_pass(struct writing *w, uint64_t name, uint64_t number)
{
	struct freed *freed = writing_freed(w, name);

	if (!freed || freed->passed)
		return refcount_up(w->store, w->txn, number);
	freed->passed = true;
	return 0;
}

/*
 * Try a sparse delta.  true: little of the chunk differs from the replaced one,
 * and *ret_form is the sparse delta.  The replaced block is kept for it even if
 * nothing else needs it, because writing the rest of it again would cost as
 * much.
 */
static bool chunk_sparse_delta(struct writing *w, const struct chunk *chunk,
                               const struct replaced *replaced,
                               const uint8_t hash[16], struct form *ret_form)
{
	if (!chunk_is_sparse_delta(chunk) || !replaced->number ||
	    replaced->header.depth >= w->store->options.delta_depth)
		return false;
	encoder_run_sparse(w->encoder, chunk, hash, replaced->number,
	                   replaced->header.depth + 1u, ret_form);
	return true;
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
static bool chunk_resembles(const struct chunk *a, const struct chunk *b)
{
	uint32_t len = MIN(a->len, b->len);
	uint64_t x, y;

	for (uint32_t i = 0; i + sizeof(x) <= len; i += sizeof(x)) {
		memcpy(&x, a->data + i, sizeof(x));
		memcpy(&y, b->data + i, sizeof(y));
		if (x == y)
			return true;
	}
	return false;
}

enum delta { DELTA_NONE, DELTA_MADE, DELTA_SAME };

/*
 * Try a delta against the replaced chunk.  Before, *form is the plain form.
 * DELTA_MADE: it is the delta.  DELTA_SAME: the content is the same, and the
 * chunk has become a dedup reference.
 */
static int chunk_delta(struct writing *w, struct chunk *chunk,
                       const struct replaced *replaced, const uint8_t hash[16],
                       struct form *form)
{
	struct chunk *base;
	uint64_t number;
	unsigned depth;
	int r = delta_base(w, chunk, replaced, &number, &depth);

	if (r == 0)
		r = chunk_decode(w->store, w->txn, number, &base);
	if (r < 0)
		return r == -ENOENT || r == -EUCLEAN ? DELTA_NONE : r;
	if (chunk_same(base, chunk)) {
		r = chunk_dedup(w, chunk, number);
		r = r < 0 ? r : DELTA_SAME;
	} else if (form->len > chunk->len && !chunk_resembles(base, chunk)) {
		r = DELTA_NONE;
	} else if (encoder_run_delta(w->encoder, chunk, hash, base, number,
	                             depth, form)) {
		r = DELTA_MADE;
	}
	chunk_unref(base);
	return r;
}

/* Add the references of the chunk's stored form to its bases. */
static int bases_count(struct writing *w, const struct chunk *chunk,
                       const struct replaced *replaced, const struct form *form)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < form->base_count; i++)
		r = form->bases[i] == replaced->number
		            ? count_pass(w, chunk->replaces, form->bases[i])
		            : refcount_up(w->store, w->txn, form->bases[i]);
	return r;
}

/*
 * Encode the chunk in the smallest of its forms.  DELTA_SAME: it has become a
 * dedup reference instead.
 */
static int chunk_encode(struct writing *w, struct chunk *chunk,
                        const struct replaced *replaced, const uint8_t hash[16],
                        struct form *form)
{
	int r;

	encoder_run(w->encoder, chunk, hash, form);
	r = chunk_delta(w, chunk, replaced, hash, form);
	if (r < 0 || r == DELTA_SAME)
		return r;
	return chunk_splice(w, chunk, hash, form);
}

/*
 * Return how many of `len` bytes go into the next fragment.  A remainder that
 * does not fit the last page fills that page up.  One that would take more than
 * half of a page of its own, but not all, is halved, so that the halves share
 * their pages with others.
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

int writing_chunk(struct writing *w, struct chunk *chunk)
{
	struct replaced replaced;
	struct form form;
	uint8_t hash[16];
	bool sparse;
	int r;

	chunk_hash(chunk, hash);
	r = replaced_get(w, chunk->replaces, &replaced);
	if (r == 0)
		r = chunk_share(w, chunk, &replaced, hash);
	if (r)
		return r < 0 ? r : 0;
	sparse = chunk_sparse_delta(w, chunk, &replaced, hash, &form);
	if (!sparse)
		r = chunk_encode(w, chunk, &replaced, hash, &form);
	if (r < 0 || r == DELTA_SAME)
		return r < 0 ? r : 0;
	r = bases_count(w, chunk, &replaced, &form);
	if (r == 0)
		r = fragments_put(w, chunk->block.number, form.data, form.len);
	/*
	 * A sparse delta is small and will soon be replaced again: it is not
	 * worth an entry in `hashes`.
	 */
	if (r == 0 && chunk->len >= SHARE_MIN && !sparse)
		r = disk_put_u64(w->txn, w->disk->hashes, be64_get(hash),
		                 chunk->block.number);
	accounting_get(&w->accounting, chunk->block.owner)->unique +=
	        (int64_t)form.len;
	return r;
}
