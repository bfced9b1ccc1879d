/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The changes of one fork that a batch makes, in its side head.  Lock held,
 * unless a comment says otherwise; functions that may release it say so.
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
	bool dirty;     /* the tree has it as it was */
	struct vnode v; /* state and tree are not valid */
};

struct batch_target {
	struct fs *fs;
	uint64_t number;
	uint32_t generation;
	const struct fs_cred *cred;
	struct timestamp now; /* the time of all changes */
	/* attributes of what is created */
	uint32_t uid, gid;
	uint16_t file_mode, dir_mode;
	struct batch_op *ops;
	size_t ops_len, ops_room;
	bool exclusive;           /* do not release the lock */
	bool orphans;             /* some were made */
	unsigned work;            /* changes since the lock was taken */
	struct state_hold before; /* if the trees are to be compared */
	struct state_side side;
	struct want want;
	struct batch_dir **dirs; /* hash table */
	size_t dirs_len, dirs_room;
	/* Valid until the lock is released. */
	struct state state; /* stands for the fork, with the side head */
	struct tree *tree;
};

/* Set up what is valid in this hold of the lock alone. */
int batch_piece(struct batch_target *t);
/* Release the lock for a moment, if it has been held for long. */
int batch_pause(struct batch_target *t);
/*
 * Release the lock, and take it again.  Whatever is committed in between must
 * pass a check: the tree is made consistent before.
 */
int batch_unlock(struct batch_target *t);
int batch_lock(struct batch_target *t);
/* Fetch the chunk that an operation lacks.  Releases the lock. */
int batch_fetch(struct batch_target *t);
/* Return an inode of the side head, without its attributes. */
struct vnode batch_vnode(struct batch_target *t, uint64_t ino);

/*
 * Return where the entry of a PUT is in the tree: its directory, and the first
 * slot of its name.  -ENOENT, -ENOTDIR: there is no such directory yet.
 */
int batch_slot(struct batch_target *t, const struct batch_op *op,
               uint64_t *ret_dir, uint64_t *ret_slot);
/*
 * Return the inode of the regular file of a PUT in its directory.  0: there is
 * none, or none that can be read.
 */
uint64_t batch_find(struct batch_target *t, const struct batch_op *op,
                    uint64_t dir);
/*
 * Find the regular file of a PUT, or make it.  -EAGAIN: call want_fetch()
 * first, without the lock.
 */
int batch_file(struct batch_target *t, const struct batch_op *op,
               uint64_t *ret_ino);
/* Do another operation than PUT.  -EAGAIN likewise. */
int batch_change(struct batch_target *t, const struct batch_op *op);
/* Store the directories that have changed. */
int batch_dirs_store(struct batch_target *t);
/* Forget the directories. */
void batch_dirs_release(struct batch_target *t);

/*
 * Do `count` operations, all of them PUT.  May release the lock.  *ret_failed:
 * the operation that has failed.
 */
int batch_put(struct batch_target *t, const struct batch_op *ops, size_t count,
              const struct batch_op **ret_failed);

#endif
