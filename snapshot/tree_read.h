/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading a range of a file's bytes into a buffer.  A part of snapshot.h:
 * include that.
 */
#ifndef COPPICE_SNAPSHOT_TREE_READ_H
#define COPPICE_SNAPSHOT_TREE_READ_H

#include "item.h"

enum {
	TREE_READ_CHUNKS = 32, /* most chunks that one read covers */
	TREE_READ_PARTS = 96,
};

/* A part of the range whose chunk is missing in memory. */
struct tree_read_part {
	uint64_t chunk;
	uint32_t from, len; /* of its bytes */
	uint8_t *out;
};

struct tree_read {
	/* set by the caller */
	uint64_t ino;
	uint64_t offset;
	uint8_t *buffer;
	size_t size; /* fewer bytes are read at a time, if it is very large */
	bool later;  /* take all chunks for missing: see tree_read_copy() */
	/* result */
	size_t done; /* bytes */
	bool end;    /* the file has no more */
	/* Missing parts are added; nothing is read when they are full. */
	size_t missing;
	struct tree_read_part parts[TREE_READ_PARTS];
	bool cache; /* there is room for them in memory */
};

/*
 * Read those bytes of a regular file that are in memory.  Lock held or shared.
 * After one or several reads with missing parts, call tree_read_fill().
 * -EISDIR; -EINVAL: neither a file nor a directory; -ENOENT: no such inode.
 */
int tree_read(struct tree *tree, struct tree_read *read);
/*
 * After reads with `later`, copy the parts that are in memory, which is quicker
 * for several at once; the others stay missing.  Lock held or shared as for the
 * reads, and not released since.
 */
void tree_read_copy(struct store *store, struct tree_read *read);
/*
 * Read the missing parts from the store.  Lock NOT held.  -ENOENT: a chunk was
 * freed since the lock was held, by a change of the tree: begin again.
 */
int tree_read_fill(struct store *store, const struct tree_read *read);

#endif
