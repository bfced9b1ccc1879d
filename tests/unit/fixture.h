/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A real store in a folder of its own, beside plain copies (models) of all
 * its states, and random changes to both.  Any difference fails the test.
 */
#ifndef COPPICE_FIXTURE_H
#define COPPICE_FIXTURE_H

#include "forest.h"
#include "scratch.h"

enum { FILES = 150, STATES_MAX = 400, CHUNK_MAX = 9000 };

/* The expected content of a state. */
struct model {
	uint64_t number;
	uint64_t fork;
	uint64_t origin;
	char name[NAME_LEN_MAX + 1];
	uint32_t files[FILES]; /* seeds of their contents; 0: not there */
};

struct fixture {
	struct scratch scratch;
	struct store *store;
	struct forest *forest;
	uint64_t rng;
	uint32_t seeds; /* contents that were used */
	bool sharing;   /* some contents twice */
	bool sweeps;    /* nothing is left that no child needs: sweep.h */
	uint64_t names;
	struct model *model;
	size_t len;
	uint64_t forks, trees, snapshots, deletions, reopenings, checks;
};

/* A new store with an empty main; some contents are used twice, or none. */
void fixture_init(struct fixture *w, uint64_t seed, bool sharing);
void fixture_release(struct fixture *w);
void fixture_open(struct fixture *w);
void fixture_close(struct fixture *w);

/* Make a random change and, now and then, look, commit or reopen. */
void fixture_change(struct fixture *w);
void fixture_look(struct fixture *w);

/* Every state is its model, and is listed. */
void fixture_compare(struct fixture *w);
/* Drain, close, reopen, and hold the store against the rules: fsck.h. */
void fixture_fsck(struct fixture *w);
/*
 * Fork a process that opens the store, calls `step` `steps` times, commits if
 * `sync`, and kills itself.  The store is closed in this process, before and
 * after.
 */
void fixture_crash(struct fixture *w, uint64_t steps,
                   void (*step)(struct fixture *w), bool sync);
/*
 * Commit, and return the number of findings of forest_check(), which are
 * printed.  Not counted: findings about files, which have no names here, and
 * counts of versions, which are those of other inodes.
 */
uint64_t fixture_findings(struct fixture *w);
/* Replace the models by what the store has. */
void fixture_believe(struct fixture *w);
/*
 * Delete all but an empty main: the store must be as good as new.  It is
 * closed then.
 */
void fixture_end(struct fixture *w);

struct model *fixture_model(struct fixture *w, uint64_t number);
/* Lock held. */
struct state *fixture_get(struct fixture *w, const struct model *t);

/* fixture_files.c: lock held, but for the last two. */
extern const struct key fixture_root_key;
struct key fixture_inode_key(int file);
void fixture_put(struct fixture *w, struct model *t, int file, uint32_t seed);
void fixture_del(struct fixture *w, struct model *t, int file);
void fixture_compare_state(struct fixture *w, const struct model *t);
/* Compare the files of a tree that is held with those of the model. */
void fixture_compare_tree(struct fixture *w, struct tree *tree,
                          const struct model *t);

#endif
