/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Compare two inodes, of one tree or of two. */
#ifndef COPPICE_SNAPSHOT_FILE_PAIR_H
#define COPPICE_SNAPSHOT_FILE_PAIR_H

#include "item.h"

/* The fields that can differ; names are in diff_field_name(). */
enum diff_field {
	DIFF_CONTENT = 1,  /* bytes of a file, target of a symlink */
	DIFF_MODE = 2,     /* permissions */
	DIFF_OWNER = 4,    /* user or group */
	DIFF_XATTR = 8,    /* extended attributes, ACLs among them */
	DIFF_DEVICE = 16,  /* numbers of a device */
	DIFF_TIMES = 32,   /* time of modification */
	DIFF_ENTRIES = 64, /* of a directory */
};
enum { DIFF_FIELDS = 7 };

/* Two inodes of the same type.  The trees are held, or never change. */
struct file_pair {
	struct store *store;
	struct tree *a_tree, *b_tree;
	uint64_t a_ino, b_ino;
	struct inode a, b;
};

/*
 * Return the fields that differ.  Content is compared by its bytes, however it
 * is stored; it is read only if neither size nor hashes decide.  Directories
 * get DIFF_ENTRIES if their numbers of entries differ or `entries` is true.
 * Lock NOT held: it is taken and released many times.  -EUCLEAN; -EINTR: see
 * store_yield().
 */
int file_pair_compare(const struct file_pair *pair, bool entries,
                      unsigned *ret_fields);
/*
 * Compare the values of an xattr that both inodes have.  1: equal; 0; -EUCLEAN.
 * Lock NOT held.
 */
int xattr_compare(struct store *store, struct tree *a, uint64_t a_ino,
                  struct tree *b, uint64_t b_ino, const char *name);

#endif
