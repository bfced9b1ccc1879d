/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Digests of files' contents: XXH3 and, if built with libcrypto, SHA-256. */
#ifndef COPPICE_DIGEST_H
#define COPPICE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "store.h"

enum { DIGEST_MAX = 32, DIGEST_TEXT_MAX = 2 * DIGEST_MAX + 1 };

struct digest; /* computes one kind of digest, of one file at a time */

/*
 * Make a digest of this kind, "sha256" or "xxh3".  -EINVAL: there is no such
 * kind; -EOPNOTSUPP: this program was built without it.
 */
int digest_create(const char *kind, struct digest **ret_digest);
/* Takes NULL. */
void digest_destroy(struct digest *digest);
/*
 * Compute the digest of a file of a held tree, in hexadecimal digits.  Lock NOT
 * held.  Errors as of file_content().
 */
int digest_file(struct digest *digest, struct tree *tree, uint64_t ino,
                uint64_t size, char ret_text[DIGEST_TEXT_MAX]);

#endif
