/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A real store in a folder of its own, beside plain copies ("twins") of all
 * its states, and random changes to both.  Any difference fails the test.
 */
#ifndef COPPICE_WORLD_H
#define COPPICE_WORLD_H

#include "forest.h"
#include "scratch.h"

enum { FILES = 150, STATES_MAX = 400, CHUNK_MAX = 9000 };

/* What a state should be. */
struct twin {
	uint64_t number;
	uint64_t fork;
	uint64_t origin;
	char name[NAME_LEN_MAX + 1];
	uint32_t files[FILES]; /* seeds of their contents; 0: not there */
};

struct world {
	struct scratch scratch;
	struct store *store;
	struct forest *forest;
	uint64_t rng;
	uint32_t seeds; /* contents that were used */
	bool sharing;   /* some contents twice */
	uint64_t names;
	struct twin *twins;
	size_t len;
	uint64_t forks, trees, snapshots, deletions, reopenings, audits;
};

/* A new store with an empty main; some contents are used twice, or none. */
void world_init(struct world *w, uint64_t seed, bool sharing);
void world_release(struct world *w);
void world_open(struct world *w);
void world_close(struct world *w);

/* One random change; and, now and then, a look, a commit, a reopening. */
void world_change(struct world *w);
void world_look(struct world *w);

/* Every state is its twin, and is listed. */
void world_compare(struct world *w);
/* Drain, close, reopen, and hold the store against the rules: audit.h. */
void world_audit(struct world *w);
/* Throw the twins away and believe the store. */
void world_believe(struct world *w);
/*
 * Delete all but an empty main: the store must be as good as new.  It is
 * closed then.
 */
void world_end(struct world *w);

struct twin *world_twin(struct world *w, uint64_t number);
/* Lock held. */
struct state *world_get(struct world *w, const struct twin *t);

/* world_files.c: lock held, but for the last. */
extern const struct key world_root_key;
struct key world_inode_key(int file);
void world_put(struct world *w, struct twin *t, int file, uint32_t seed);
void world_del(struct world *w, struct twin *t, int file);
void world_compare_state(struct world *w, const struct twin *t);

#endif
