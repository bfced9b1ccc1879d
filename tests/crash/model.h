/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A model of a store: plain copies of every state, of small trees; and
 * digests of what can be seen, of the model and of a real store, to compare.
 */
#ifndef COPPICE_MODEL_H
#define COPPICE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fs.h"

enum { MODEL_NAME = 40, MODEL_XATTRS = 3, MODEL_STATES = 24 };

/* Bytes that several nodes have; never changed. */
struct blob {
	uint32_t refs;
	size_t len;
	uint64_t hash;
	uint8_t bytes[];
};

struct model_node {
	uint64_t ino;
	mode_t mode; /* type and permissions */
	uint32_t nlink;
	struct blob *content;              /* of a file or symlink */
	struct blob *xattrs[MODEL_XATTRS]; /* NULL: not there */
};

struct model_entry {
	uint64_t dir, ino;
	char name[MODEL_NAME];
};

struct model_state {
	char name[MODEL_NAME];
	uint64_t number, fork; /* as the real one has them */
	struct model_node *nodes;
	size_t nodes_len, nodes_room;
	struct model_entry *entries;
	size_t entries_len, entries_room;
	uint64_t digest;
	bool changed; /* since the digest was made */
};

struct model {
	struct model_state *states[MODEL_STATES];
	size_t len;
};

struct blob *blob_create(const void *bytes, size_t len); /* bytes may be NULL */
struct blob *blob_ref(struct blob *blob);
void blob_unref(struct blob *blob);

void model_release(struct model *model);
/* A state with the tree of `from`, or with an empty root (NULL). */
struct model_state *model_add(struct model *model, const char *name,
                              uint64_t number, uint64_t fork,
                              const struct model_state *from);
void model_remove(struct model *model, size_t index);

struct model_node *model_node(struct model_state *state, uint64_t ino);
struct model_node *model_make(struct model_state *state, uint64_t ino,
                              mode_t mode);
void model_link(struct model_state *state, uint64_t dir, const char *name,
                uint64_t ino);
/* Take the name away, and the node with its last name. */
void model_unlink(struct model_state *state, size_t entry);
bool model_empty(const struct model_state *state, uint64_t dir);
/* Is `ino` the directory `dir`, or below it? */
bool model_below(const struct model_state *state, uint64_t dir, uint64_t ino);

/* The digest of all that is visible. */
uint64_t model_digest(struct model *model);
/* The same of a real store. */
int real_digest(struct fs *fs, uint64_t *ret_digest);

#endif
