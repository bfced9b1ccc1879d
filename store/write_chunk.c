/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writing a chunk: as a dedup reference to the same content, as a sparse delta
 * or a delta against the replaced chunk, or as it is.
 */
#include <errno.h>

#include "chunk_encoder.h"
#include "codec.h"
#include "free.h"
#include "write.h"

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

/* The stored content of the chunk that a chunk replaces. */
struct replaced {
	uint64_t number; /* 0: it replaces none that can be read */
	struct chunk_header header;
};

static int replaced_get(struct writing *w, const struct chunk *chunk,
                        struct replaced *ret)
{
	uint64_t number = chunk->replaces;
	int r;

	*ret = (struct replaced){0};
	if (!number || w->store->options.delta_depth <= 0)
		return 0;
	r = disk_get_u64(w->txn, w->disk->dedup_refs, number, &number);
	if (r == 0 || r == -ENOENT)
		r = chunk_header_get(w->store, w->txn, number, &ret->header);
	if (r == 0)
		ret->number = number;
	return r == -EUCLEAN || r == -ENOENT ? 0 : r;
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
 * Try a sparse delta. 1: little of the chunk differs from the replaced one, and
 * *ret_data and *ret_len are the sparse delta.  The replaced block is kept for
 * it even if nothing else needs it, because writing the rest of it again would
 * cost as much.
 */
static int chunk_sparse_delta(struct writing *w, const struct chunk *chunk,
                              const struct replaced *replaced,
                              const uint8_t hash[16], const uint8_t **ret_data,
                              size_t *ret_len)
{
	int r;

	if (!chunk_is_sparse_delta(chunk) || !replaced->number ||
	    replaced->header.depth >= w->store->options.delta_depth)
		return 0;
	encoder_run_sparse(w->encoder, chunk, hash, replaced->number,
	                   replaced->header.depth + 1u, ret_data, ret_len);
	r = count_pass(w, chunk->replaces, replaced->number);
	return r < 0 ? r : 1;
}

/* Return true if the content under this number has more than one reference. */
static bool is_counted(const struct writing *w, uint64_t number)
{
	uint64_t count;

	return !disk_get_u64(w->txn, w->disk->refcounts, number, &count);
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
		while (r == 0 && !is_counted(w, number)) {
			if (!h.base)
				return -ENOENT;
			number = h.base;
			r = chunk_header_get(w->store, w->txn, number, &h);
		}
	}
	while (r == 0 && h.depth >= w->store->options.delta_depth) {
		do {
			number = h.base;
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
 * Try a delta against the replaced chunk.  Before, *ret_data and *ret_len are
 * the plain form.  DELTA_MADE: they are the delta, and its base has one more
 * reference.  DELTA_SAME: the content is the same, and the chunk has become a
 * dedup reference.
 */
static int chunk_delta(struct writing *w, struct chunk *chunk,
                       const struct replaced *replaced, const uint8_t hash[16],
                       const uint8_t **ret_data, size_t *ret_len)
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
	} else if (*ret_len > chunk->len && !chunk_resembles(base, chunk)) {
		r = DELTA_NONE;
	} else if (encoder_run_delta(w->encoder, chunk, hash, base, number,
	                             depth, *ret_len, ret_data, ret_len)) {
		r = number == replaced->number
		            ? count_pass(w, chunk->replaces, number)
		            : refcount_up(w->store, w->txn, number);
		r = r < 0 ? r : DELTA_MADE;
	}
	chunk_unref(base);
	return r;
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
	uint8_t hash[16];
	const uint8_t *data;
	bool sparse;
	size_t len;
	int r;

	chunk_hash(chunk, hash);
	r = replaced_get(w, chunk, &replaced);
	if (r == 0)
		r = chunk_share(w, chunk, &replaced, hash);
	if (r)
		return r < 0 ? r : 0;
	r = chunk_sparse_delta(w, chunk, &replaced, hash, &data, &len);
	sparse = r > 0;
	if (r == 0)
		r = encoder_run(w->encoder, chunk, hash, &data, &len);
	if (r == 0)
		r = chunk_delta(w, chunk, &replaced, hash, &data, &len);
	if (r == DELTA_SAME)
		return 0;
	if (r >= 0)
		r = fragments_put(w, chunk->block.number, data, len);
	/*
	 * A sparse delta is small and will soon be replaced again: it is not
	 * worth an entry in `hashes`.
	 */
	if (r == 0 && chunk->len >= SHARE_MIN && !sparse)
		r = disk_put_u64(w->txn, w->disk->hashes, be64_get(hash),
		                 chunk->block.number);
	accounting_get(&w->accounting, chunk->block.owner)->unique +=
	        (int64_t)len;
	return r;
}
