/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of repairing share.  Inside snapshot/ only.
 *
 * A repaired store is a new one, filled with what can be read of the damaged
 * one.  Versions are built in the order of their lineage: each begins as its
 * parent's new tree, takes over the items in which the old trees differ, and is
 * then put in order, so that what was shared stays shared.
 *
 * The new store's lock is held all the while, but for repair_breathe().
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
	size_t state;  /* index of one that has it or grew from it */
	bool frozen;
	uint64_t id; /* in the new store, as all that follows */
	struct tree tree;
	uint64_t freeze, kids, kids_xor, same, refs;
	uint64_t inodes, blocks;
	bool strange;      /* has more or fewer than its record said */
	struct keys fixed; /* where it is not what the old tree was */
	size_t users;      /* kept kids that are not built yet */
};

/* A state that is kept. */
struct repair_state {
	struct state state;
	size_t version; /* index */
};

/* What was done, to be told with a path when that is known. */
struct loss {
	const char *kind, *text;
	uint64_t ino;
	char *name; /* of the entry, if it is about one of the directory */
};

struct repair {
	struct repair_options options;
	struct check check;  /* the damaged store, its view and records */
	struct store *store; /* the new one */
	char *path;          /* of the new one */
	struct repair_version *versions;
	size_t versions_len, versions_capacity;
	struct repair_state *states; /* by number */
	size_t states_len, states_capacity;
	uint64_t default_state;
	struct inode forks; /* the directory that lists the forks */
	uint64_t seq, counters[COUNTER_COUNT];
	uint64_t ino_max;   /* the highest in use */
	uint64_t found_ino; /* of all directories lost+found; 0: none yet */
	uint64_t told;      /* rows */
	uint64_t *told_set; /* hashes of what was told: open addressing */
	size_t told_size, told_len;

	/* about the version that is being built */
	struct repair_version *v;
	bool fixing;  /* what is changed now is not as it was */
	bool touched; /* something differs that the parent had to be fixed for
	               */
	unsigned edits;
	int lost_err;
	struct inos doubted;  /* chunks with more or fewer names than counted */
	struct inos suspects; /* to be looked at */
	struct inos homeless; /* without a name, when all have been looked at */
	struct inos retype;   /* pairs: an inode, and what its type was */
	struct loss *losses;
	size_t losses_len, losses_capacity;
};

/* repair.c */
void *repair_grow(void **rows, size_t size, size_t *len, size_t *capacity);
int inos_add(struct inos *inos, uint64_t ino);
/* In order, each once. */
void inos_sort(struct inos *inos);
/* `name` may be NULL.  Copied. */
int repair_lose(struct repair *repair, const char *kind, uint64_t ino,
                const char *name, size_t name_len, const char *text);
/* Tell a loss that is about a state, or none, as a whole. */
int repair_tell_state(struct repair *repair, const char *kind,
                      const char *state, const char *text);
/* Tell what was lost of the version, and forget it. */
int repair_tell_losses(struct repair *repair);
/* The full name of a state, to its index. */
void repair_full_name(struct repair *repair, size_t state,
                      char out[FULL_NAME_MAX + 16]);

/*
 * repair_record.c, repair_state.c: what is kept, from the old records; and the
 * new records
 */
int repair_plan(struct repair *repair);
int repair_records(struct repair *repair);

/* repair_symlink.c: those in the root, when the states have their names */
int repair_symlinks(struct repair *repair);

/* repair_tree.c: the items of the new tree */
int repair_breathe(struct repair *repair);
int repair_put(struct repair *repair, const struct key *key, const void *value,
               size_t len);
/* What is not there is no error. */
int repair_del(struct repair *repair, const struct key *key);
/* The old tree as far as it can be read, but what none can read. */
int repair_copy(struct repair *repair);

/* repair_verify.c: adds to suspects; counts inodes and blocks */
int repair_verify(struct repair *repair);

/* repair_inode.c, repair_name.c: makes the new tree consistent */
int repair_fix(struct repair *repair);

#endif
