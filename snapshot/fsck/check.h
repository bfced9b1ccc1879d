/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The state of a check of all states.  Private to snapshot/.
 *
 * All versions and states are kept in memory, in the order of their numbers,
 * without their names; a name is read when a finding is reported.
 */
#ifndef COPPICE_SNAPSHOT_CHECK_H
#define COPPICE_SNAPSHOT_CHECK_H

#include "forest.h"

/* A version's record, and counts of the records that name it (found_...). */
struct check_version {
	uint64_t id, root, base, list, parent, freeze;
	uint64_t children, children_xor, same, refs;
	uint64_t inodes, blocks;
	uint64_t found_children, found_xor, found_same, found_refs;
	uint64_t tidy_list; /* being emptied into `list`; 0: none */
	struct key reap_from;
	bool bad;     /* its record cannot be read */
	bool task;    /* a task to reap or merge it exists */
	bool reaping; /* part of its tree was reaped */
	bool trashed; /* a state in the trash names it */
	bool hollow;  /* see sweep.h */
};

struct check_state {
	uint64_t number, fork, version, snapshots;
	int64_t created;
	uint32_t flags;
	bool bad;
	bool named, timed;   /* records of TABLE_NAME, TABLE_TIME name it */
	unsigned trash_keys; /* records of TABLE_TRASH that name it */
	uint64_t found_snapshots;
};

struct check {
	struct check_options options;
	struct store *store;
	struct view *view;
	uint64_t seq, counters[COUNTER_COUNT];
	uint64_t tasks; /* number of task records, without TASK_STUCK */
	struct check_version *versions;
	size_t versions_len, versions_capacity;
	struct check_state *states;
	size_t states_len, states_capacity;
	struct check_version *version; /* the one whose tree is being checked */
};

/* Find a version or a state; NULL: there is none. */
struct check_version *check_version(struct check *check, uint64_t id);
struct check_state *check_state(struct check *check, uint64_t number);

/* Call fn for each record of a table, in order, until it returns nonzero. */
int check_records_each(struct check *check, enum table table,
                       int (*fn)(struct check *check,
                                 const struct record *record));
/* The subject of a finding; fields that do not apply are 0. */
struct about {
	struct check_state *state;
	uint64_t version; /* its state is reported if `state` is NULL */
	uint64_t ino;     /* in the version's tree */
	uint64_t block;
	const char *name; /* an entry of `ino`, a directory */
	size_t name_len;
};
/* Report a finding.  A nonzero result ends the check. */
int check_report(struct check *check, const char *kind,
                 const struct about *about, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

#endif
