/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The changes that a restoration or a join makes in a side head.  Lock held;
 * restore_pause(), and functions that call it, release it for a moment.  After
 * each function the side head is consistent.
 */
#ifndef COPPICE_RESTORE_TREE_H
#define COPPICE_RESTORE_TREE_H

#include "inode.h"

/* A directory of the source, and the one to be made equal to it. */
struct dir_pair {
	uint64_t from, to; /* inode numbers */
};

/* An inode of the source with several names, and the one restored for it. */
struct restored_link {
	uint64_t from, to;
};

struct restore {
	struct fs *fs;
	const struct fs_restore *what; /* fork 0: the side head is prepared */
	bool exclusive;                /* do not release the lock */
	unsigned work;                 /* changes since the lock was taken */
	struct fs_restored
	        *now; /* the fork's current tree, and the side head */
	struct state_hold source;
	struct tree *from; /* of the source */
	/* Inodes that differ, and all directories above them; ascending. */
	uint64_t *dirty;
	size_t dirty_len, dirty_room;
	struct dir_pair *pairs;
	size_t pairs_len, pairs_room;
	uint64_t *removed; /* detached directories, to be emptied */
	size_t removed_len, removed_room;
	void *links; /* tree of struct restored_link, see tsearch(3) */
	/* Valid until the lock is released. */
	struct state state; /* stands for the fork, with the side head */
	struct tree *to;
};

/* Set `state` and `to` for this hold of the lock. */
int restore_piece(struct restore *r);
/* Count a change.  After some changes, release the lock for a moment. */
int restore_pause(struct restore *r);
/* Release the lock for a moment. */
int restore_pause_now(struct restore *r);
/* Find the inodes that differ: r->dirty. */
int restore_find_dirty(struct restore *r);
/*
 * Restore `what` in the side head, whose fork is held.  Releases the lock
 * meanwhile.
 */
int restore_build(struct restore *r);
/* Free the memory of restore_build(), after success and after failure. */
void restore_release(struct restore *r);
/* Load an inode of the side head.  -ENOENT */
int restore_load(struct restore *r, uint64_t ino, struct vnode *ret);
bool restore_is_dirty(const struct restore *r, uint64_t ino);

/*
 * Remove an entry of a directory.  An inode without further names becomes an
 * orphan; a directory with entries is added to r->removed.
 */
int restore_detach(struct restore *r, uint64_t dir, const char *name);
/* Detach all entries below the directories in r->removed. */
int restore_empty(struct restore *r);
/*
 * Add an entry for the inode `from` of the source to a directory, and restore
 * the inode, but not the entries of a directory.  *ret_ino: its number in the
 * side head.
 */
int restore_attach(struct restore *r, uint64_t dir, const char *name,
                   uint64_t from, uint64_t *ret_ino);
/* Copy attributes, xattrs and contents from the source's inode. */
int restore_sync(struct restore *r, uint64_t from, uint64_t to);
/*
 * Return true if a directory is the restored one, or lies below it, in `tree`,
 * which is the fork's held tree or the side head's.
 */
bool restore_is_inside(struct restore *r, struct tree *tree, uint64_t dir);

/*
 * Copy one item of the inode from the source, or remove it if the source lacks
 * it.  `from` is the key in the source.  The caller stores the inode.
 */
int restore_item(struct restore *r, struct vnode *v, const struct key *from);

#endif
