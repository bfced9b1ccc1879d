/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "parts.h"

#include <xxhash.h>

#include "codec.h"
#include "engine.h"

static unsigned part_bits(const struct store *store)
{
	return store->geometry.chunk_bits - CHUNK_PARTS_BITS;
}

uint64_t parts_of(const struct store *store, uint32_t from, uint32_t to)
{
	unsigned bits = part_bits(store);

	if (from >= to)
		return 0;
	return (UINT64_MAX >> (CHUNK_PARTS - 1 - ((to - 1) >> bits))) &
	       (UINT64_MAX << (from >> bits));
}

bool parts_are_whole(const struct store *store, uint32_t len, uint32_t from,
                     uint32_t to)
{
	uint32_t mask = (1u << part_bits(store)) - 1;

	return !(from & mask) && (!(to & mask) || to == len);
}

static uint32_t part_len(const struct store *store, uint32_t len, unsigned part)
{
	uint32_t full = 1u << part_bits(store);
	uint64_t from = (uint64_t)part * full;

	return from >= len ? 0 : MIN(full, len - (uint32_t)from);
}

uint32_t parts_len(const struct store *store, uint32_t len, uint64_t parts)
{
	unsigned last;

	parts &= parts_of(store, 0, len);
	if (!parts)
		return 0;
	/* All parts but the last one are full. */
	last = CHUNK_PARTS - 1 - (unsigned)__builtin_clzll(parts);
	return (((uint32_t)__builtin_popcountll(parts) - 1)
	        << part_bits(store)) +
	       part_len(store, len, last);
}

void parts_copy(const struct chunk *chunk, uint64_t parts, uint8_t *out)
{
	const struct store *store = chunk->store;

	parts &= parts_of(store, 0, chunk->len);
	for (; parts; parts &= parts - 1) {
		unsigned i = (unsigned)__builtin_ctzll(parts);
		uint32_t n = part_len(store, chunk->len, i);

		memcpy(out, chunk->data + ((size_t)i << part_bits(store)), n);
		out += n;
	}
}

void parts_paste(struct chunk *chunk, uint64_t parts, const uint8_t *bytes)
{
	const struct store *store = chunk->store;

	parts &= parts_of(store, 0, chunk->len);
	for (; parts; parts &= parts - 1) {
		unsigned i = (unsigned)__builtin_ctzll(parts);
		uint32_t n = part_len(store, chunk->len, i);

		memcpy(chunk->data + ((size_t)i << part_bits(store)), bytes, n);
		bytes += n;
	}
}

void parts_hash(const struct store *store, const uint8_t base_hash[16],
                uint32_t len, uint64_t parts, const uint8_t *bytes,
                uint8_t ret_hash[16])
{
	XXH128_canonical_t canonical;
	uint8_t head[16 + 4 + 8];
	struct writer w = writer_init(head, sizeof(head));

	put_bytes(&w, base_hash, 16);
	put_u32(&w, len);
	put_u64(&w, parts);
	XXH128_canonicalFromHash(
	        &canonical,
	        XXH3_128bits_withSeed(bytes, parts_len(store, len, parts),
	                              XXH3_64bits(head, sizeof(head))));
	memcpy(ret_hash, canonical.digest, 16);
}
