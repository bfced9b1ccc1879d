/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files whose names match, through a series of states: each version with the
 * first and the last state that has it.  A part of snapshot.h: include that.
 *
 * The first tree is walked whole unless the tree before it is known; in all
 * other trees only the differences from the one before are searched.
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
	/* Decide on a path, or with `by_name` on its last name. */
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
 * Search the next state of the series, which is number `index`.  `before` is
 * the tree of the state before it; it may be NULL for the first: then the whole
 * tree is searched, else only what differs from `before`.  Both trees are held.
 * Return the row's nonzero result, or an error.  Lock NOT held.
 */
int file_search_step(struct file_search *search, struct tree *before,
                     struct tree *tree, uint32_t index);
/* Report the matching files of the last state.  Results as above. */
int file_search_end(struct file_search *search, struct tree *tree);

#endif
