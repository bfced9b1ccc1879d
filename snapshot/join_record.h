/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Records of joins: which version of a state was brought into which fork last.
 * A part of snapshot.h: include that.
 *
 * The record holds the version: its tree is kept, as that of a state_hold is,
 * but across restarts, until another version is brought in from the same state,
 * or one of the two states is deleted.  Lock held throughout.
 */
#ifndef COPPICE_SNAPSHOT_JOIN_RECORD_H
#define COPPICE_SNAPSHOT_JOIN_RECORD_H

#include "item.h"

struct forest;
struct state;
struct store;

struct join_record {
	uint64_t into;    /* number of the fork */
	uint64_t from;    /* number of the state; of a snapshot: of its fork */
	uint64_t version; /* id of the one that was brought in */
	uint64_t seq;     /* sequence number of the join */
	int64_t time;     /* ns since the epoch */
	char name[NAME_LEN_MAX * 2 + 2]; /* of the state at that time */
};

/*
 * Put the record in the place of an earlier one of the same two states, unless
 * that has the same version.
 */
int join_record_put(struct forest *forest, const struct join_record *record);
/*
 * Find the record of a fork with the lowest `from` above `after`.  -ENOENT:
 * there is none; -EUCLEAN.
 */
int join_record_next(struct forest *forest, uint64_t into, uint64_t after,
                     struct join_record *ret_record);
/*
 * Do the same for the joins that a state contains: for a snapshot, the joins
 * into its fork before the snapshot was made.
 */
int join_record_of(const struct state *state, uint64_t after,
                   struct join_record *ret_record);
/* Remove the records of the joins into a fork after `seq`. */
int join_records_cut(struct forest *forest, uint64_t into, uint64_t seq);
/* Remove all records that name the state, which is to be deleted. */
int join_records_forget(struct forest *forest, uint64_t state);
/* Return the number of background tasks that wait for a record's removal. */
uint64_t join_tasks(struct forest *forest);

/* The three records of a join: the first has the content. */
enum join_key { JOIN_BY_INTO = 1, JOIN_BY_VERSION, JOIN_BY_FROM };
enum {
	JOIN_KEY_TWO = 17, /* bytes of a key with two numbers */
	JOIN_KEY_MAX = 25,
	JOIN_RECORD_MAX = 40 + NAME_LEN_MAX * 2 + 2,
};
/* Write a key, and return its length. */
size_t join_record_key(uint8_t key[JOIN_KEY_MAX], enum join_key kind,
                       const struct join_record *record);
/* Write the content of JOIN_BY_INTO, and return its length. */
size_t join_record_encode(const struct join_record *record,
                          uint8_t out[JOIN_RECORD_MAX]);
/*
 * Decode a record of TABLE_HOLD.  1: it is not the one with the content, and
 * *ret has the numbers of the key alone; -EUCLEAN.
 */
int join_record_decode(const struct record *from, struct join_record *ret);
/* Write the three records; older ones are not removed.  -ENOSPC; -ENOMEM. */
int join_record_write(struct store *store, const struct join_record *record);
/* Return true if a record holds the version. */
bool version_is_joined(struct forest *forest, uint64_t version);

/*
 * Find the newest versions that two held trees have in common, in the lineage
 * and by earlier joins; none of them is contained in another.  At most `max`
 * ids.  Return their number; 0: none; -EMLINK: there are more; -EUCLEAN;
 * -ENOMEM.
 */
struct state_hold;
int join_bases(struct state *ours, const struct state_hold *ours_hold,
               struct state *theirs, const struct state_hold *theirs_hold,
               unsigned max, uint64_t *ret_versions);

#endif
