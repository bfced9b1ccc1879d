/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The entries of manifests: printed and read in the format of mtree(5), and
 * read from JSON objects, one a line.
 */
#ifndef COPPICE_MTREE_H
#define COPPICE_MTREE_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

/* The fields that an entry has. */
enum manifest_has {
	HAS_MODE = 1 << 0,
	HAS_UID = 1 << 1,
	HAS_GID = 1 << 2,
	HAS_NLINK = 1 << 3,
	HAS_SIZE = 1 << 4,
	HAS_TIME = 1 << 5,
	HAS_DEVICE = 1 << 6,
	IS_OPTIONAL = 1 << 7,
};

struct manifest_entry {
	char *path; /* "." or begins with "./" */
	unsigned has;
	char type[8];  /* as in mtree(5); "": unknown */
	uint32_t mode; /* permissions, without the type */
	uint64_t uid, gid, nlink, size, major, minor;
	int64_t sec, nsec; /* mtime; nsec -1: not given */
	char *link;        /* target of a symlink, or NULL */
	char sha256[65];   /* in hexadecimal digits, or "" */
	char xxh3[33];
};

void manifest_entry_release(struct manifest_entry *entry);

/* Make an entry from a row of the verb "manifest".  -EINVAL. */
int manifest_entry_decode(const json_t *row, struct manifest_entry *ret_entry);
/* Print the entry as a line of mtree(5), with its whole path. */
void mtree_print(const struct manifest_entry *entry);

/* Called with each entry.  Takes the ownership of its strings. */
typedef int manifest_entry_fn(void *arg, struct manifest_entry *entry);
/*
 * Read all entries; lines that begin with '{' are JSON, others mtree(5).
 * Return a nonzero result of fn; -EINVAL: line *ret_line is not valid;
 * -ENOMEM; -EIO.
 */
int manifest_read(FILE *file, manifest_entry_fn *fn, void *arg,
                  unsigned long *ret_line);

#endif
