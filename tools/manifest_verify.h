/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Comparing a state with an earlier manifest. */
#ifndef COPPICE_MANIFEST_VERIFY_H
#define COPPICE_MANIFEST_VERIFY_H

#include <stdbool.h>

#include "mtree.h"

struct expected {
	struct manifest_entry entry;
	bool seen;
};

struct manifest_verify {
	struct expected *expected; /* sorted by path */
	size_t len, capacity;
	unsigned long differences;
};

/*
 * Read the manifest; "-": from standard input.  Complain about errors, and
 * return an exit code of comparisons.
 */
int manifest_verify_init(struct manifest_verify *verify, const char *path);
void manifest_verify_release(struct manifest_verify *verify);
/* Return the digest of the manifest, "sha256" or "xxh3"; NULL: it has none. */
const char *manifest_verify_hash(const struct manifest_verify *verify);
/* Compare a file of the state, and print the differences. */
void manifest_verify_file(struct manifest_verify *verify,
                          const struct manifest_entry *entry);
/* Print the missing files.  Return an exit code of comparisons. */
int manifest_verify_end(struct manifest_verify *verify);

#endif
