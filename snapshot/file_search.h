/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files whose names match, through a series of states: each version with the
 * first and the last state that has it.  A part of snapshot.h: include that.
 *
 * The first tree is walked, or, where a tree before it is known, only what
 * differs from that; of the others only what differs from the one before.
 */
#ifndef COPPICE_SNAPSHOT_FILE_SEARCH_H
#define COPPICE_SNAPSHOT_FILE_SEARCH_H

#include "tree_path.h"

/* A version of a file that matches. */
struct file_search_row {
	char path[TREE_PATH_SIZE]; /* in the last state */
	uint64_t ino;
	uint32_t mode;
	uint64_t size;
	struct timestamp mtime;
	uint32_t first, last; /* numbers of states in the series */
};

struct file_search_options {
	/* Decide on a path, or with `by_name` on the last name of it. */
	bool (*match)(void *arg, const char *text);
	bool by_name;
	/* A nonzero result ends the search.  Called without the lock. */
	int (*row)(void *arg, const struct file_search_row *row);
	void *arg;
};

struct file_search;

/* *options must outlive the search. */
int file_search_create(struct store *store,
                       const struct file_search_options *options,
                       struct file_search **ret_search);
void file_search_destroy(struct file_search *search); /* takes NULL */
/*
 * Go on to the next state of the series, which is number `index`, with the tree
 * of the one before, if there is one.  `before` may be NULL for the first: then
 * all of its tree is searched; else only what is not as in `before`.  Both are
 * held.  Return the row's nonzero result, or an error.  Lock NOT held.
 */
int file_search_step(struct file_search *search, struct tree *before,
                     struct tree *tree, uint32_t index);
/* Report all versions that the last state has.  Otherwise the same. */
int file_search_end(struct file_search *search, struct tree *tree);

#endif
