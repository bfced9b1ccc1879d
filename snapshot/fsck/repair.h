/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The state of a repair.  Private to snapshot/.
 *
 * A repaired store is a new one, filled with what can be read of the damaged
 * one.  Versions are built in the order of their lineage: each begins as its
 * parent's new tree, takes over the items in which the old trees differ, and is
 * then made consistent.  So shared blocks stay shared.
 *
 * The new store's lock is held while it is built, except in repair_yield().
 */
#ifndef COPPICE_SNAPSHOT_REPAIR_H
#define COPPICE_SNAPSHOT_REPAIR_H

#include "check.h"

#define NO_VERSION SIZE_MAX

struct inos {
	uint64_t *at;
	size_t len, capacity;
};

struct keys {
	struct key *at;
	size_t len, capacity;
};

/* A version that is kept. */
struct repair_version {
	uint64_t old; /* its number in the damaged store */
	uint64_t old_root;
	int64_t created;
	size_t parent; /* index, lower than its own; or NO_VERSION */
	size_t state;  /* index of a state that names it or a descendant */
	bool frozen;
	bool held; /* by a join */
	/* in the new store: */
	uint64_t id;
	struct tree tree;
	uint64_t freeze, children, children_xor, same, refs;
	uint64_t inodes, blocks;
	bool strange;      /* its old record counts other numbers of them */
	struct keys fixed; /* keys at which it differs from the old tree */
	size_t users;      /* kept children that are not built yet */
};

/* A state that is kept. */
struct repair_state {
	struct state state;
	size_t version; /* index */
};

/* A loss or change that is reported when its path is known. */
struct loss {
	const char *kind, *text;
	uint64_t ino;
	char *name; /* of the affected entry of the directory, or NULL */
};

struct repair {
	struct repair_options options;
	struct check check;  /* the damaged store, its view and records */
	struct store *store; /* the new one */
	char *path;          /* of the new one */
	struct plan *plan;   /* while joins are planned */
	struct repair_version *versions;
	size_t versions_len, versions_capacity;
	struct repair_state *states; /* by number */
	size_t states_len, states_capacity;
	uint64_t default_state;
	struct inode forks; /* the directory that lists the forks */
	uint64_t seq, counters[COUNTER_COUNT];
	uint64_t ino_max;       /* the highest in use */
	uint64_t found_ino;     /* of every lost+found; 0: none yet */
	uint64_t reported;      /* losses and changes so far */
	uint64_t *reported_set; /* their hashes: open addressing */
	size_t reported_size, reported_len;

	/* about the version that is being built */
	struct repair_version *v;
	bool fixing; /* changes from now on are differences from the old tree */
	bool touched; /* it differs where the parent had to be fixed */
	unsigned edits;
	int lost_err;
	struct inos doubted;  /* chunks whose reference count is wrong */
	struct inos suspects; /* inodes to be checked */
	struct inos nameless; /* inodes that had no name when checked */
	struct inos retype;   /* pairs: an inode, and its former type */
	struct loss *losses;
	size_t losses_len, losses_capacity;
};

int inos_add(struct inos *inos, uint64_t ino);
/* Sort and remove duplicates. */
void inos_sort(struct inos *inos);
/* Add a loss of the version being built.  `name` is copied; NULL is allowed. */
int repair_lose(struct repair *repair, const char *kind, uint64_t ino,
                const char *name, size_t name_len, const char *text);
/* Report a loss that concerns a whole state, or none (NULL). */
int repair_report_state(struct repair *repair, const char *kind,
                        const char *state, const char *text);
/* Report and free the losses of the version being built. */
int repair_report_losses(struct repair *repair);
/* Write the full name of the state at an index. */
void repair_full_name(struct repair *repair, size_t state,
                      char out[FULL_NAME_MAX + 16]);

#endif
