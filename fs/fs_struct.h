/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The file system as its own sources see it: struct fs, and constants that
 * several of them share.
 *
 * Call the functions of this folder's headers with the store's lock held,
 * unless their comment says "lock NOT held".  The functions of fs.h take the
 * lock themselves, unless their comment says "lock held".
 *
 * An operation that needs a chunk that is not in memory returns -EAGAIN and
 * names the chunk in its `want` (want.h).  The caller then releases the lock,
 * fetches the chunk and starts the operation again, because anything may have
 * changed meanwhile.
 *
 * Order of locks: the store's, then orphan_cleanup.lock.
 */
#ifndef COPPICE_FS_STRUCT_H
#define COPPICE_FS_STRUCT_H

#include "fs.h"
#include "orphan_cleanup.h"
#include "util.h"

enum {
	PIECE_ITEMS = 256, /* most items changed in one hold of the lock */
	/* readdir cookies */
	COOKIE_SELF = 1,
	COOKIE_PARENT = 2,
	COOKIE_SNAPDIR = 3,
	COOKIE_FIRST = 16,
	BLOCK_SHIFT = 9, /* st_blocks counts 512 bytes */
};
#define FILE_SIZE_MAX (INT64_C(1) << 62)
#define LINKS_MAX (UINT32_MAX - 1)
#define SNAPDIR_NAME ".snap"
#define INO_LINK NODE_LINK_FIRST
_Static_assert(SYMLINK_INO_END == INO_LINK, "users' symlinks are below");

struct cut;
struct open_node;
struct listing;

struct fs {
	struct forest *forest;
	struct store *store;
	struct fs_options options;
	unsigned chunk_bits;
	uint32_t chunk_size;
	uint8_t *zeros; /* chunk_size bytes, read-only */
	/* guarded by the store's lock */
	struct open_node **opens; /* hash table, see open_table.h */
	size_t open_buckets, open_count;
	struct listing *listings; /* see listing.h */
	uint64_t moves[64];       /* see rename.c */
	struct cut *cuts;         /* CUTS of them, see cut.h */
	unsigned (*keep)(void *arg, node_t node,
	                 bool regular); /* see fs_set_keeper() */
	void *keep_arg;
	bool (*in_use)(void *arg, uint64_t state); /* see fs_set_in_use() */
	void *in_use_arg;
	struct orphan_cleanup orphan_cleanup; /* guarded by its own lock */
	bool position_logged; /* the warning about names such as '1' */
};

#endif
