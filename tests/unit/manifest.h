/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All files of all states of a store, with digests of their items. */
#ifndef COPPICE_MANIFEST_H
#define COPPICE_MANIFEST_H

#include <stddef.h>
#include <stdint.h>

struct manifest_entry {
	char *name; /* STATE:PATH */
	uint64_t ino, digest;
};

struct manifest {
	struct manifest_entry *entries;
	size_t len;
};

/* Read the store at the path, which nobody has open. */
struct manifest manifest_read(const char *path);
void manifest_release(struct manifest *m);
/* NULL: there is no such entry. */
const struct manifest_entry *manifest_find(const struct manifest *m,
                                           const char *name);

#endif
