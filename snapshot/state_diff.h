/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The difference of two states, however far apart.  A part of snapshot.h:
 * include that.
 */
#ifndef COPPICE_SNAPSHOT_STATE_DIFF_H
#define COPPICE_SNAPSHOT_STATE_DIFF_H

#include "file_pair.h"
#include "tree_path.h"

enum diff_op {
	DIFF_ADDED = '+',
	DIFF_REMOVED = '-',
	DIFF_MODIFIED = 'M',
	DIFF_RENAMED = 'R',
};

/* A name of a file that differs. */
struct diff_row {
	enum diff_op op;
	char path[TREE_PATH_SIZE]; /* the new one; of a removed name: the old */
	char from[TREE_PATH_SIZE]; /* DIFF_RENAMED: the old one; else "" */
	unsigned fields;   /* enum diff_field: what differs in the file */
	bool has_a, has_b; /* the file is in that tree */
	uint64_t a_ino, b_ino;
	uint64_t parent;      /* directory that `path` is in; 0: none */
	uint64_t from_parent; /* that of `from`, or of a replaced file in a */
	struct inode a, b;
};

struct diff_options {
	/*
	 * Report also files that differ in the time of modification alone, and
	 * directories that differ in that or the entries alone.
	 */
	bool all;
	/*
	 * Report each file that has replaced another one, even if they are
	 * equal or differ in their times alone.
	 */
	bool replaced;
	const char *const *paths; /* report only what is at or below these */
	size_t path_count;        /* 0: everything */
	/* A nonzero result ends the walk.  Called without the lock. */
	int (*row)(void *arg, const struct diff_row *row);
	void *arg;
};

/*
 * Compare two trees, which are held.  Nodes that they share are not read, so
 * the cost is that of what differs.  Rows come in the order of the inodes.
 *
 * - A file of both trees is renamed for each name that it lost and got, added
 *   or removed for each name beyond that, and modified under the names it kept.
 * - Of two files of which each is in one tree alone, under the same name in the
 *   same directory, one has replaced the other: it is modified if they are of
 *   the same type, and removed and added if not (counterpart.h).
 * - Times of change and of birth, and the number of links, are not compared.
 *
 * Return the row's nonzero result, or an error.  Lock NOT held.
 */
int state_diff(struct tree *a, struct tree *b,
               const struct diff_options *options);

/* Return the name of a field, by the number of its bit. */
const char *diff_field_name(unsigned bit);

#endif
