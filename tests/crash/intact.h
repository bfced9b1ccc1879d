/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An intact store with everything in it, to be damaged on purpose, and what the
 * check finds in it then.
 */
#ifndef COPPICE_INTACT_H
#define COPPICE_INTACT_H

#include <lmdb.h>

#include "scratch.h"
#include "work.h"

/* The findings of a check. */
struct found {
	size_t count;
	char kinds[4096]; /* with a space in front of and behind each */
	char first[600];
	bool print;
};

int found_add(void *found, const struct finding *finding);
struct found check_store(struct store *store, bool data, bool print);
/* Fails the test if anything is found. */
void expect_clean(struct store *store);

/*
 * Chunks that compress and that do not, the same content twice, links, xattrs,
 * a snapshot and a fork with deadlists.
 */
struct intact {
	struct scratch scratch;
	char file[120];
	uint8_t *bytes; /* of the intact file */
	size_t len;
	uint64_t digest;
	uint64_t main;                             /* number of the state */
	uint64_t dir, plain, copy, linked, tagged; /* inode numbers */
};
extern struct intact intact;

int intact_setup(void **state);
int intact_teardown(void **state);
/* The file is what `bytes` are. */
void intact_restore(void);
void state_make(struct work *w, const char *name, bool snapshot);

/* Read and write the inode item of an inode that is there.  Lock held. */
struct inode tree_inode_get(struct tree *tree, uint64_t ino);
void tree_inode_set(struct tree *tree, uint64_t ino, const struct inode *inode);

/* ---- Changing it through LMDB ------------------------------------------- */

struct plant {
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_cursor *cursor;
	MDB_val key, value; /* where the cursor stands */
};
extern struct plant plant;

/* An intact store again, with the cursor on the first entry of a database. */
void plant_begin(const char *name, unsigned flags);
/* The same without restoring the store first. */
void plant_reopen(const char *name, unsigned flags);
void plant_end(void);
bool plant_next(void);
/* The key of a database of numbers. */
uint64_t plant_number(void);
/* The value where the cursor stands, with one byte changed. */
void plant_flip(size_t at, uint8_t bits);
/* The same with all bytes zero. */
void plant_zero(void);
void plant_put(uint64_t number, const void *data, size_t len);
/* To the n-th node, or the n-th first fragment of a chunk. */
bool plant_find(bool node, int n);

#endif
