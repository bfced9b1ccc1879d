/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All states of one open store: the struct that the sources of snapshot/ share.
 *
 * Locks: the store's lock guards everything but struct gc's marked fields,
 * which gc->lock guards.  gc->lock is taken after the store's, or alone.
 */
#ifndef COPPICE_SNAPSHOT_FOREST_H
#define COPPICE_SNAPSHOT_FOREST_H

#include <stdatomic.h>

#include "cache.h"
#include "gc.h"
#include "snapshot.h"
#include "state.h"
#include "state_hold.h"
#include "version.h"

/* The record of what is counted over all states. */
struct forest_meta {
	uint64_t states; /* snapshots included, without those being deleted */
	uint64_t tasks;
	uint64_t deleting; /* snapshots still to be deleted with their fork */
	uint64_t default_state;     /* number; 0: none */
	uint64_t trashed;           /* states in the trash (see trash.h) */
	uint64_t trashed_snapshots; /* of forks in the trash; not in it */
};

/* Decode the record.  -EUCLEAN. */
int forest_meta_decode(const struct record *record,
                       struct forest_meta *ret_meta);
enum { FOREST_META_LEN_MAX = 6 * 10 };
size_t forest_meta_encode(const struct forest_meta *meta,
                          uint8_t out[FOREST_META_LEN_MAX]);

struct forest {
	struct store *store;
	bool readonly;
	struct cache versions;
	struct cache states;
	struct state *deleted; /* deleted states, freed in a later hold */
	size_t evicted; /* states and versions since malloc was last trimmed */
	struct positions *positions; /* see position.c; last used first */
	struct forest_meta meta;
	bool meta_dirty;
	struct inode root; /* the directory that lists the forks */
	struct forest_watch watch;
	uint64_t number_end; /* numbers of states are below this */
	uint64_t *reserved;  /* numbers: see forest_reserve_numbers() */
	size_t reserved_len, reserved_room;
	_Atomic bool reuses; /* numbers of deleted states are used again */
	bool (*keeps)(void *arg, uint64_t number); /* forest_set_keeper() */
	void *keeps_arg;
	int64_t trash_time;       /* ns; 0: deleted states do not come back */
	struct forest_undo *undo; /* see forest_undo.h; NULL: none */
	struct gc gc;
};

/* Write all dirty records to the tables.  -ENOMEM: some are still dirty. */
int forest_put(struct forest *forest);
/* Call forest_put() and log its error. */
void forest_flush(struct forest *forest);
/* Mark the record of the forest itself as dirty. */
void meta_mark(struct forest *forest);

#endif
