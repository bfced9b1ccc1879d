/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "content_hash.h"

#include <string.h>
#include <xxhash.h>

struct content_hash *content_hash_create(void)
{
	return (struct content_hash *)XXH3_createState();
}

void content_hash_destroy(struct content_hash *hash)
{
	if (hash)
		XXH3_freeState((XXH3_state_t *)hash);
}

void content_hash_reset(struct content_hash *hash)
{
	XXH3_128bits_reset((XXH3_state_t *)hash);
}

void content_hash_add(struct content_hash *hash, const void *data, size_t len)
{
	XXH3_128bits_update((XXH3_state_t *)hash, data, len);
}

void content_hash_get(const struct content_hash *hash,
                      uint8_t ret_hash[CONTENT_HASH_LEN])
{
	XXH128_canonical_t bytes;

	XXH128_canonicalFromHash(
	        &bytes, XXH3_128bits_digest((const XXH3_state_t *)hash));
	memcpy(ret_hash, bytes.digest, CONTENT_HASH_LEN);
}
