/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading a range of a file's bytes into a buffer.  A part of snapshot.h:
 * include that.
 */
#ifndef COPPICE_SNAPSHOT_TREE_READ_H
#define COPPICE_SNAPSHOT_TREE_READ_H

#include "item.h"

enum { TREE_READ_CHUNKS = 32 }; /* most chunks that one read covers */

struct tree_read {
	/* set by the caller */
	uint64_t ino;
	uint64_t offset;
	uint8_t *buffer;
	size_t size; /* fewer bytes are read at a time, if it is very large */
	/* result */
	size_t done; /* bytes */
	bool end;    /* the file has no more */
	/* the chunks that are missing in memory, and those loaded for that */
	uint64_t wanted[TREE_READ_CHUNKS], numbers[TREE_READ_CHUNKS];
	struct chunk *chunks[TREE_READ_CHUNKS];
	size_t missing, loaded;
	unsigned misses;
};

/*
 * Read from a regular file.  Lock held.  -EAGAIN: call tree_read_load() without
 * the lock, and begin again; -EISDIR; -EINVAL: neither a file nor a directory;
 * -ENOENT: no such inode.
 */
int tree_read(struct tree *tree, struct tree_read *read);
/* Load the chunks that are missing.  Lock NOT held. */
int tree_read_load(struct store *store, struct tree_read *read);
/* Release the chunks. */
void tree_read_release(struct tree_read *read);

#endif
