/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Comparing a state with a manifest that was made before. */
#ifndef COPPICE_MANIFEST_VERIFY_H
#define COPPICE_MANIFEST_VERIFY_H

#include <stdbool.h>

#include "mtree.h"

struct expected {
	struct manifest_entry entry;
	bool seen;
};

struct manifest_verify {
	struct expected *expected; /* by path */
	size_t len, capacity;
	unsigned long differences;
};

/*
 * Read the manifest; "-": from standard input.  Complains itself.  Return an
 * exit code of comparisons.
 */
int manifest_verify_init(struct manifest_verify *verify, const char *path);
void manifest_verify_release(struct manifest_verify *verify);
/* Return the digest that the manifest has, "sha256" or "xxh3"; NULL: none. */
const char *manifest_verify_hash(const struct manifest_verify *verify);
/* Compare a file, and print how it differs. */
void manifest_verify_file(struct manifest_verify *verify,
                          const struct manifest_entry *entry);
/* Print what is missing.  Return an exit code of comparisons. */
int manifest_verify_end(struct manifest_verify *verify);

#endif
