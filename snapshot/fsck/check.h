/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the check of a forest share.  Inside snapshot/ only.
 *
 * All versions and states are kept in memory, in the order of their numbers,
 * without their names; a name is read when there is something to tell.
 */
#ifndef COPPICE_SNAPSHOT_CHECK_H
#define COPPICE_SNAPSHOT_CHECK_H

#include "forest.h"

/* A version's record, and what was found of those who name it. */
struct check_version {
	uint64_t id, root, base, list, parent, freeze;
	uint64_t kids, kids_xor, same, refs;
	uint64_t inodes, blocks;
	uint64_t found_kids, found_xor, found_same, found_refs;
	uint64_t tidy_list; /* is being emptied into its list; 0: none */
	struct key reap_from;
	bool bad;     /* its record cannot be read */
	bool task;    /* it is noted that it is to be reaped or merged */
	bool reaping; /* has begun to be */
};

struct check_state {
	uint64_t number, fork, version, snapshots;
	int64_t created;
	uint32_t flags;
	bool bad;
	bool named, timed;
	uint64_t found_snapshots;
};

struct check {
	struct check_options options;
	struct store *store;
	struct view *view;
	uint64_t seq, counters[COUNTER_COUNT];
	uint64_t tasks; /* noted, but for those that were given up */
	struct check_version *versions;
	size_t versions_len, versions_capacity;
	struct check_state *states;
	size_t states_len, states_capacity;
	struct check_version *version; /* whose tree is being looked at */
};

/* check.c */
struct check_version *check_version(struct check *check, uint64_t id);
struct check_state *check_state(struct check *check, uint64_t number);

/* What a finding is about; zeroes where it is about nothing of the kind. */
struct about {
	struct check_state *state;
	uint64_t version; /* finds the state, if that is NULL */
	uint64_t ino;     /* in the version's tree */
	uint64_t block;
	const char *name; /* with ino, a directory: an entry of it */
	size_t name_len;
};
/* Tell a finding.  A nonzero result: stop. */
int check_tell(struct check *check, const char *kind, const struct about *about,
               const char *format, ...) __attribute__((format(printf, 4, 5)));

/* check_record.c: states, names, times, versions, tasks */
/* Call fn for each record of a table, in order, until it returns nonzero. */
int check_records_each(struct check *check, enum table table,
                       int (*fn)(struct check *check,
                                 const struct record *record));
int check_load(struct check *check);
int check_lineage(struct check *check);

/* check_symlink.c */
int check_symlinks(struct check *check);

/* check_item.c: the items of one version's tree */
int check_items(struct check *check, struct check_version *v,
                const struct view_tree *tree, uint64_t parent_inodes,
                uint64_t parent_blocks);

#endif
