/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Changes of a file's bytes.
 */
#ifndef COPPICE_CHANGE_H
#define COPPICE_CHANGE_H

#include "inode.h"

enum change_kind {
	CHANGE_WRITE,
	CHANGE_PUNCH, /* make a hole */
	CHANGE_ZERO,  /* make zeroes that count as used */
	CHANGE_ALLOC, /* let holes count as used */
};
struct change {
	enum change_kind kind;
	uint64_t off;        /* bytes */
	uint64_t size;       /* bytes, at least 1 */
	const uint8_t *data; /* CHANGE_WRITE */
	bool keep_size;      /* do not grow the file */
	bool within;         /* -ERANGE if the file would have to grow */
	bool kill_ids;       /* remove suid and sgid: see vnode_kill_priv() */
};
/* Make the whole change in one hold of the lock.  Lock NOT held. */
int file_change(struct fs *fs, node_t node, const struct change *change);

#endif
