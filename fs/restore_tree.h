/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The changes of a side head that a restoration is made of.  Lock held, but for
 * restore_pause(), which releases it for a moment; after each function the side
 * head is consistent.
 */
#ifndef COPPICE_RESTORE_TREE_H
#define COPPICE_RESTORE_TREE_H

#include "inode.h"

/* A directory of the source, and the one that is to become like it. */
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
	        *now; /* the fork's present tree, and the side head */
	struct state_hold source;
	struct tree *from; /* of the source */
	/* Inodes that differ, and all directories above them; ascending. */
	uint64_t *dirty;
	size_t dirty_len, dirty_room;
	struct dir_pair *pairs;
	size_t pairs_len, pairs_room;
	uint64_t *removed; /* directories to be emptied */
	size_t removed_len, removed_room;
	void *links; /* tree of struct restored_link, see tsearch(3) */
	/* Valid until the lock is released. */
	struct state state; /* stands for the fork, with the side head */
	struct tree *to;
};

/* Set up what is valid in this hold of the lock alone. */
int restore_piece(struct restore *r);
/* Let others have the lock, if it has been held for long. */
int restore_pause(struct restore *r);
/* Let others have the lock. */
int restore_pause_now(struct restore *r);
/* Find the inodes that differ: r->dirty. */
int restore_find_dirty(struct restore *r);
/*
 * Make in the side head what is to be restored.  Releases the lock meanwhile.
 */
int restore_build(struct restore *r);
/* Free what restore_build() has gathered, after success and after failure. */
void restore_release(struct restore *r);
/* Load an inode of the side head.  -ENOENT */
int restore_load(struct restore *r, uint64_t ino, struct vnode *ret);
bool restore_is_dirty(const struct restore *r, uint64_t ino);

/*
 * Remove an entry of a directory.  What has no name left is an orphan; if it is
 * a directory, it is added to r->removed.
 */
int restore_detach(struct restore *r, uint64_t dir, const char *name);
/* Detach everything below the directories in r->removed. */
int restore_empty(struct restore *r);
/*
 * Add an entry for the inode `from` of the source to a directory, and restore
 * the inode with it.  *ret_ino: its number; of a directory, the entries are
 * still missing.
 */
int restore_attach(struct restore *r, uint64_t dir, const char *name,
                   uint64_t from, uint64_t *ret_ino);
/* Make attributes, xattrs and contents those of the source's inode. */
int restore_sync(struct restore *r, uint64_t from, uint64_t to);
/*
 * Return true if a directory is the one to be restored, or lies below it in the
 * tree, which is one of the fork.
 */
bool restore_is_inside(struct restore *r, struct tree *tree, uint64_t dir);

/*
 * Make one item of the inode that of the source, or remove it; the key is that
 * of the source.  The caller stores the inode.
 */
int restore_item(struct restore *r, struct vnode *v, const struct key *from);

#endif
