/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* States: their records, and those in memory.  Lock held throughout. */
#ifndef COPPICE_SNAPSHOT_STATE_H
#define COPPICE_SNAPSHOT_STATE_H

#include "version.h"

enum {
	STATE_LEN_MAX = 900,
	TIME_KEY_LEN = 24,
	FULL_NAME_MAX = NAME_LEN_MAX * 2 + 2,
};

size_t state_encode(const struct state *s, uint8_t out[STATE_LEN_MAX]);
/* Decode a record.  *ret_version: id of the version, 0: none.  -EUCLEAN. */
int state_decode(const void *data, size_t len, struct state *s,
                 uint64_t *ret_version);

/* Read a string of len bytes.  Damage: more than max, or a NUL among them. */
void get_string(struct reader *r, uint64_t len, size_t max, char *out);

/* Write a key of TABLE_NAME and return its length. */
size_t name_key(uint8_t key[TABLE_KEY_MAX], uint64_t fork, const char *name);
/* Write a key of TABLE_TIME. */
void time_key(uint8_t key[TIME_KEY_LEN], uint64_t fork, int64_t time,
              uint64_t number);
int64_t time_of_key(const uint8_t key[TIME_KEY_LEN]);

/* Insert the record of TABLE_NAME by which the state is found. */
int state_name_put(struct forest *forest, const struct state *s);
/* Return 0 if no state (fork 0: and no symlink) has the name.  -EEXIST. */
int state_check_free(struct forest *forest, uint64_t fork, const char *name);

/* Allocate a state with a number alone; it is not yet in the cache. */
struct state *state_alloc(struct forest *forest, uint64_t number);
/* Mark the state's record as dirty. */
void state_mark(struct state *s);
/* Set the version, or NULL, in memory; version->refs is not changed. */
void state_point(struct state *s, struct version *version);

/*
 * Find a state by its number, even one in the trash or being deleted.
 * -ENOENT; -EUCLEAN.
 */
int state_load(struct forest *forest, uint64_t number,
               struct state **ret_state);
/*
 * Find a snapshot of a fork, which may be deleted, by its name (fork 0: find a
 * fork).  -ENOENT.
 */
int state_of_fork(struct forest *forest, uint64_t fork, const char *name,
                  struct state **ret_state);
/*
 * Return the newest snapshot of a fork at or before the time.  The fork may be
 * being deleted.  -ENOENT.
 */
int state_newest(struct forest *forest, uint64_t fork, int64_t at,
                 struct state **ret_state);
/*
 * Return the snapshot that a record of TABLE_TIME names.  -ENOENT: it belongs
 * to another fork; -EUCLEAN: it cannot be read.
 */
int state_of_time(struct forest *forest, uint64_t fork,
                  const struct record *record, struct state **ret_state);

/* ---- Memory ------------------------------------------------------------- */

enum {
	STATES_CACHED = 8192, /* eviction starts above this number in memory */
	VERSIONS_CACHED = 16384,
	EVICTED_TRIM = 1 << 17, /* evictions after which malloc is trimmed */
	STATES_DIRTY = 2048,    /* flush before the commit at this number */
	VERSIONS_DIRTY = 512,
};

/* Free the states that were deleted in an earlier hold of the lock. */
void deleted_free(struct forest *forest);
/*
 * Evict unused states and versions above the limits, from one part of the
 * caches.  Pointers obtained before are invalid afterwards: call it first in a
 * hold of the lock, in the background thread.
 */
void forest_evict(struct forest *forest);
/*
 * Free all states, and all versions that nothing holds; read the records of the
 * others again.
 */
void forest_forget(struct forest *forest);
/* Return the number of forest_evict() calls that cover the whole caches. */
size_t forest_evict_rounds(const struct forest *forest);
/* Return true if more states or versions are in memory than the limits. */
bool forest_crowded(const struct forest *forest);
/* Wake the background thread if memory is well above the limits. */
void forest_evict_soon(struct forest *forest);

#endif
