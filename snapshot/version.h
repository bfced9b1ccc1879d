/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Versions: the roots in the lineage that states name.  Lock held. */
#ifndef COPPICE_SNAPSHOT_VERSION_H
#define COPPICE_SNAPSHOT_VERSION_H

#include "cache.h"

/*
 * A root in the lineage.  A head (freeze == 0) is written to by its one state;
 * a frozen version never changes again.  See coppice-internals(7).
 */
struct version {
	struct tree tree;  /* root, base, deadlist, space accounting */
	uint64_t id;       /* also of its space accounting and first deadlist */
	uint64_t parent;   /* version id; 0: none */
	uint64_t freeze;   /* sequence number at which it froze; 0: a head */
	uint64_t children; /* number of its child versions */
	uint64_t children_xor; /* xor of their ids: the id of an only child */
	uint64_t same;         /* number of children that are unchanged heads */
	uint64_t refs;         /* states that name it, in the trash or not */
	int64_t created; /* ns since the epoch; of a frozen version: when it
	                    froze */
	uint64_t inodes; /* in the tree, the root directory included */
	uint64_t blocks; /* 512-byte units of its files */
	bool hollow; /* a part of the tree was freed, and root is 0: sweep.c */
	uint64_t reaping; /* hollow: id of the child that is being reaped */
	/* in memory only */
	struct forest *forest;
	struct cached cached; /* dirty: the record must be written */
	bool changed;  /* a head that is known to differ from its parent */
	uint32_t pins; /* states in memory and holds that point here */
	uint32_t held; /* holds that point here */
};

enum { VERSION_LEN_MAX = 140 };
size_t version_encode(const struct version *v, uint8_t out[VERSION_LEN_MAX]);
/* Decode all fields but the id and those in memory only.  -EUCLEAN. */
int version_decode(const void *data, size_t len, struct version *v);

/* Find a version by its id.  -ENOENT. */
int version_find(struct forest *forest, uint64_t id,
                 struct version **ret_version);
/*
 * Read the record of a version in memory again: another process may have
 * changed it.  If it cannot be read, the version stays as it is.
 */
void version_read_again(struct version *v);
/* Find a version that a record names.  -EUCLEAN: it is missing. */
int version_load(struct forest *forest, uint64_t id,
                 struct version **ret_version);
/*
 * Allocate a head with the tree of `from` and a new id.  It is not yet in the
 * cache: the caller passes it to version_attach() or free().
 */
int version_new_head(struct forest *forest, const struct version *from,
                     struct version **ret_version);
/*
 * Allocate a head without a parent, whose tree is this root directory alone.
 * It is not yet in the cache: the caller adds it with cache_add() or frees it.
 */
int version_new_root(struct forest *forest, const struct inode *root,
                     struct version **ret_version);
/* Make the new head a child of the frozen version.  Cannot fail. */
void version_attach(struct version *head, struct version *parent);
/*
 * Freeze the head at this sequence number.  The caller has held the lock since
 * it drew the number, and has added no block to the tree since.
 */
void version_freeze(struct version *head, uint64_t seq);
/* Mark the version's record as dirty. */
void version_mark(struct version *v);
/*
 * Delete the record and free the version.  The caller has unlinked it from its
 * parent and its child.
 */
int version_remove(struct version *v);
/*
 * Set *ret_unchanged if the head still has the tree that it was forked with,
 * and *ret_parent (NULL is allowed) to the parent, which then has the same
 * tree.
 */
int version_unchanged(struct version *head, bool *ret_unchanged,
                      struct version **ret_parent);

#endif
