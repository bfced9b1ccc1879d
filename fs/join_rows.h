/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The changes and the conflicts of a join, by path.  A part of fs.h: include
 * that.
 */
#ifndef COPPICE_JOIN_ROWS_H
#define COPPICE_JOIN_ROWS_H

#include "join.h"

enum fs_join_op {
	JOIN_ADDED = '+',
	JOIN_REMOVED = '-',
	JOIN_MODIFIED = 'M',
	JOIN_RENAMED = 'R',
	JOIN_CONFLICT = 'C',
	JOIN_KEPT = '=', /* a choice left the fork's inode unchanged */
};

struct fs_join_row {
	enum fs_join_op op;
	uint64_t ino;
	uint32_t mode; /* as st_mode */
	/*
	 * Path in the fork after the join; JOIN_REMOVED: before it;
	 * JOIN_CONFLICT, JOIN_KEPT: as of fs_joined_path().
	 */
	char path[TREE_PATH_SIZE];
	char from[TREE_PATH_SIZE]; /* JOIN_RENAMED: the former path; else "" */
	const struct join_inode *inode; /* has the conflicts */
};

/*
 * Call fn for each inode with conflicts or, if there is none, for each name
 * that the join adds, removes, renames or modifies.  With `all`, call it for
 * both, and for each inode that a choice left unchanged.  A nonzero result ends
 * the calls, and is returned.  Lock NOT held.
 */
int fs_joined_rows(struct fs *fs, const struct fs_joined *joined, bool all,
                   int (*fn)(void *arg, const struct fs_join_row *row),
                   void *arg);
/*
 * Write the path that an inode of the plan has in the fork, or, if the fork
 * lacks the inode, in the state that is brought in.  Lock NOT held.
 */
int fs_joined_path(struct fs *fs, const struct fs_joined *joined,
                   const struct join_inode *inode, char ret[TREE_PATH_SIZE]);

#endif
