/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* XXH3-128 of content that comes piece by piece.  A part of store.h. */
#ifndef COPPICE_STORE_CONTENT_HASH_H
#define COPPICE_STORE_CONTENT_HASH_H

#include <stddef.h>
#include <stdint.h>

struct content_hash;

enum { CONTENT_HASH_LEN = 16 };

/* Return a new hash, to be reset before it is used; NULL: no memory. */
struct content_hash *content_hash_create(void);
/* Free the hash; NULL is ignored. */
void content_hash_destroy(struct content_hash *hash);
/* Begin again, with no content. */
void content_hash_reset(struct content_hash *hash);
void content_hash_add(struct content_hash *hash, const void *data, size_t len);
/* Write the hash of what was added, as xxhsum(1) prints it. */
void content_hash_get(const struct content_hash *hash,
                      uint8_t ret_hash[CONTENT_HASH_LEN]);

#endif
