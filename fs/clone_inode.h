/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The copies of inodes that a clone makes, and the struct of a clone.  clone.c
 * has the directories and the order of the work.
 */
#ifndef COPPICE_CLONE_INODE_H
#define COPPICE_CLONE_INODE_H

#include "inode.h"

enum {
	BATCH_ENTRIES = 128, /* most entries made in one hold of the lock */
	BATCH_EXTENTS = 256, /* about the most extents copied in it */
	LOOK_ENTRIES = 1024, /* most entries looked at for a batch */
};

/* A directory whose copy is not complete. */
struct frame {
	uint64_t from;    /* inode number in the source */
	struct vnode dir; /* the copy; fs, state and tree are not valid */
	uint64_t after;   /* slot of the last entry that was copied */
	bool subdirs;     /* the source has subdirectories */
	bool files_done;  /* only subdirectories are left */
	bool at_end;      /* no entry is left */
	bool dirty;       /* the inode must be stored */
};

/* An inode of the source that has several names, and its copy. */
struct link {
	uint64_t from, to;
};

/* An entry to be copied. */
struct clone_entry {
	uint64_t from, to; /* inode numbers */
	uint64_t slot;
	uint8_t type;
	bool again; /* a further name of an inode that was copied before */
	uint8_t name_len;
	char name[NAME_LEN_MAX + 1];
	struct inode inode;   /* of the source */
	struct cursor cursor; /* at the inode's item in the source */
};

struct clone {
	struct fs *fs;
	node_t from, parent;
	const char *name;
	const struct state_side *side; /* the target; NULL: the fork itself */
	struct state_hold hold;
	struct tree *source;
	uint64_t box;         /* inode number, see clone.c; 0: not made yet */
	struct vnode top;     /* the copy of `from` */
	struct frame *frames; /* the path down to the current directory */
	size_t depth, capacity;
	void *links; /* tree of struct link, see tsearch(3) */
	/* The file whose extents are not all copied yet.  ino 0: none. */
	struct vnode file;
	uint64_t file_from, file_next; /* source inode number; next extent */
	uint64_t entries;
	struct clone_entry batch[BATCH_ENTRIES];
	size_t batch_count, looked; /* entries in `batch`; read for it */
	/* Valid in one hold of the lock. */
	struct state *state;
	struct tree *tree;
	struct state side_state; /* stands for the fork, with the side head */
};

/*
 * Put an item of another tree under the inode number of `v`, with a new chunk
 * number.  Replaces an item with the same key, but does not drop its chunk.
 */
int clone_item(struct vnode *v, const struct item *item);
/* Return an inode of the target's tree, without its attributes. */
struct vnode clone_vnode(struct clone *c, uint64_t ino);
/*
 * Set entry->to: a new inode number, or the number of the copy that was made
 * for another name of the inode.
 */
int clone_inode_number(struct clone *c, struct clone_entry *entry);
/*
 * Copy the inode of an entry, whose name is in the directory `parent` of the
 * target.  An error leaves no items behind.  If the file has more than
 * BATCH_EXTENTS extents, c->file is set, and clone_file_continue() copies the
 * rest.
 */
int clone_inode_make(struct clone *c, uint64_t parent,
                     struct clone_entry *entry, struct vnode *ret);
/* Add a further name to an inode that was copied before. */
int clone_inode_link(struct clone *c, uint64_t parent,
                     const struct clone_entry *entry);
/* Copy more extents of the long file; after the last one c->file.ino is 0. */
int clone_file_continue(struct clone *c);

#endif
