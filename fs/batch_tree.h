/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The changes that a batch makes in the side head of one fork.  Lock held,
 * unless a comment says otherwise; comments name functions that may release it.
 */
#ifndef COPPICE_BATCH_TREE_H
#define COPPICE_BATCH_TREE_H

#include "batch_code.h"
#include "inode.h"
#include "want.h"

enum { BATCH_PIECE = 128 }; /* changes in one hold of the lock */

/* A directory in the side head, by its path.  Its inode is stored at the end.
 */
struct batch_dir {
	struct batch_dir *next; /* in a chain of the hash table */
	const char *path;       /* "" is the root; not terminated */
	uint16_t len;
	bool dirty;     /* the inode is not stored yet */
	struct vnode v; /* state and tree are not valid */
};

struct batch_target {
	struct fs *fs;
	uint64_t number;
	uint32_t generation;
	const struct fs_cred *cred;
	struct timestamp now; /* the time of all changes */
	/* attributes of new files and directories */
	uint32_t uid, gid;
	uint16_t file_mode, dir_mode;
	struct batch_op *ops;
	size_t ops_len, ops_room;
	bool exclusive;           /* do not release the lock */
	bool orphans;             /* the batch made orphans */
	unsigned work;            /* changes since the lock was taken */
	struct state_hold before; /* for fs_batch.changed */
	struct state_side side;
	struct want want;
	struct batch_dir **dirs; /* hash table */
	size_t dirs_len, dirs_room;
	/* Valid until the lock is released. */
	struct state state; /* stands for the fork, with the side head */
	struct tree *tree;
};

/* Set `state` and `tree` for this hold of the lock. */
int batch_piece(struct batch_target *t);
/* Count a change.  After BATCH_PIECE changes, release the lock for a moment. */
int batch_pause(struct batch_target *t);
/*
 * Release the lock, and take it again.  batch_unlock() makes the tree
 * consistent first, because it may be committed meanwhile.  The lock is
 * released, and taken, after errors, too.
 */
int batch_unlock(struct batch_target *t);
int batch_lock(struct batch_target *t);
/* Fetch the chunk of t->want.  Releases the lock meanwhile. */
int batch_fetch(struct batch_target *t);
/* Return an inode of the side head, without its attributes. */
struct vnode batch_vnode(struct batch_target *t, uint64_t ino);

/*
 * Return where the tree has, or would have, the entry of a PUT: its directory,
 * and the first slot of its name.  -ENOENT, -ENOTDIR: the directory does not
 * exist.
 */
int batch_slot(struct batch_target *t, const struct batch_op *op,
               uint64_t *ret_dir, uint64_t *ret_slot);
/*
 * Return the inode number of the regular file of a PUT in its directory.  0:
 * there is none, or its entry cannot be read.
 */
uint64_t batch_find(struct batch_target *t, const struct batch_op *op,
                    uint64_t dir);
/*
 * Find the regular file of a PUT, or make it.  -EAGAIN: call want_fetch()
 * first, without the lock.
 */
int batch_file(struct batch_target *t, const struct batch_op *op,
               uint64_t *ret_ino);
/* Apply an operation other than PUT.  -EAGAIN: as batch_file(). */
int batch_change(struct batch_target *t, const struct batch_op *op);
/* Store the directories that have changed. */
int batch_dirs_store(struct batch_target *t);
/* Free the table of directories. */
void batch_dirs_release(struct batch_target *t);

/*
 * Apply `count` operations, all of them PUT.  May release the lock.
 * *ret_failed is set to the operation that failed, unless the error concerns
 * none in particular.
 */
int batch_put(struct batch_target *t, const struct batch_op *ops, size_t count,
              const struct batch_op **ret_failed);

#endif
