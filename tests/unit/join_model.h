/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small trees in arrays, for the planner of joins, and random changes of them.
 */
#ifndef COPPICE_TEST_JOIN_MODEL_H
#define COPPICE_TEST_JOIN_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "join_plan.h"

enum {
	INODES = 96, /* numbers; they are never given out twice */
	LINKS = 4,
	LINKS_MAX = 64, /* that joins bring together */
	NAMES = 5,      /* that changes give; joins make up others */
	NAMES_MAX = 256,
};

struct link {
	int parent, name;
};

struct file {
	bool present, dir;
	int content, mode, xattr; /* xattr 0: none */
	struct link links[LINKS_MAX];
	int count;
};

struct tree_model {
	struct file files[INODES];
};

/* The parts that all trees of a history share. */
struct join_model {
	int next_ino, next_value; /* the next ones to be given out */
	char names[NAMES_MAX][NAME_LEN_MAX + 1];
	int names_used; /* of them, by the history */
	uint64_t seed;
};
extern struct join_model model;

/* Begin a history. */
void model_begin(uint64_t seed);
/* Return a random number below another. */
unsigned model_pick(unsigned below);
/* Return the number of a name, which is added. */
int model_name(const char *text);

/* Return the inode that a directory has under a name; 0: none. */
int tree_model_entry(const struct tree_model *t, int parent, int name);
/* Make a random change. */
void tree_model_change(struct tree_model *t);
/* Check that the tree is one. */
void tree_model_check(const struct tree_model *t);
/* Compare two trees by paths: the numbers may differ. */
bool tree_model_equal(const struct tree_model *a, int x,
                      const struct tree_model *b, int y);

#endif
