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

struct join_record {
	uint64_t into;    /* number of the fork */
	uint64_t from;    /* number of the state; of a snapshot: of its fork */
	uint64_t version; /* id of the one that was brought in */
	uint64_t seq;     /* sequence number of the join */
	int64_t time;     /* ns since the epoch */
	char name[NAME_LEN_MAX * 2 + 2]; /* of the state at that time */
};

/* Put the record in the place of an earlier one of the same two states. */
int join_record_put(struct forest *forest, const struct join_record *record);
/*
 * Find the record of a fork with the lowest `from` above `after`.  -ENOENT: it
 * is the last one; -EUCLEAN.
 */
int join_record_next(struct forest *forest, uint64_t into, uint64_t after,
                     struct join_record *ret_record);
/*
 * The same of the joins that a state contains: of a snapshot, those into its
 * fork from before it was made.
 */
int join_record_of(const struct state *state, uint64_t after,
                   struct join_record *ret_record);
/* Remove the records of what was brought into a fork after `seq`. */
int join_records_cut(struct forest *forest, uint64_t into, uint64_t seq);
/* Remove all records that name the state, which is to be deleted. */
int join_records_forget(struct forest *forest, uint64_t state);
/* Return the number of background tasks that wait for records to go. */
uint64_t join_tasks(struct forest *forest);
/*
 * Decode a record of TABLE_HOLD.  1: it has no content, and only points to
 * another one; -EUCLEAN.
 */
int join_record_decode(const struct record *from, struct join_record *ret);
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
