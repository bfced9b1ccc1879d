/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Compare chunks by their stored numbers and hashes. */
#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "chunk_codec.h"
#include "engine.h"

/* Find the header of a chunk and the number that it is stored under. */
static int header_find(struct store *store, MDB_txn *txn, uint64_t number,
                       uint64_t *ret_number, struct chunk_header *ret_header)
{
	uint64_t target;

	if (!disk_get_u64(txn, store->disk.dedup_refs, number, &target))
		number = target;
	*ret_number = number;
	return chunk_header_get(store, txn, number, ret_header);
}

int chunk_compare(struct store *store, uint64_t a, uint64_t b)
{
	struct chunk_header header_a, header_b;
	uint64_t stored_a = 0, stored_b = 0;
	MDB_txn *txn;
	int r;

	if (a == b)
		return 1;
	r = disk_read_begin(&store->disk, &txn);
	if (r < 0)
		return r;
	r = header_find(store, txn, a, &stored_a, &header_a);
	if (!r)
		r = header_find(store, txn, b, &stored_b, &header_b);
	disk_read_end(&store->disk, txn);
	/* A chunk is not written yet, or damaged: loading it shows which. */
	if (r < 0)
		return -EAGAIN;
	if (stored_a == stored_b)
		return 1;
	/* The hash of a patch is not that of its content. */
	if (header_a.tag == BLOCK_TAG_PATCH || header_b.tag == BLOCK_TAG_PATCH)
		return -EAGAIN;
	return header_a.len == header_b.len &&
	                       memcmp(header_a.hash, header_b.hash, 16) != 0
	               ? 0
	               : -EAGAIN;
}

int chunk_matches(struct store *store, uint64_t number, const void *data,
                  uint32_t len)
{
	struct chunk_header header;
	XXH128_canonical_t hash;
	struct chunk *chunk;
	uint64_t stored;
	MDB_txn *txn;
	int r = disk_read_begin(&store->disk, &txn);

	if (r < 0)
		return r;
	r = header_find(store, txn, number, &stored, &header);
	disk_read_end(&store->disk, txn);
	if (!r && header.len != len)
		return 0;
	XXH128_canonicalFromHash(&hash, XXH3_128bits(data, len));
	if (!r && header.tag != BLOCK_TAG_PATCH &&
	    memcmp(header.hash, hash.digest, sizeof(header.hash)))
		return 0;
	/* Equal, not written yet, or damaged. */
	r = chunk_load(store, number, &chunk);
	if (r < 0)
		return r;
	r = chunk->len == len && !memcmp(chunk->data, data, len);
	chunk_unref(chunk);
	return r;
}
