/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Planning a join: the three-way merge of inodes, without trees.
 *
 * The caller adds each inode that differs between a base and either side, as
 * every tree has it (a face).  The planner decides for each what the joined
 * tree has, and finds the conflicts.  An inode number means the same file in
 * all trees.  An inode that one side created in the place of another, as
 * editors do that write a new file and rename it, stands for that one.
 *
 * There may be several bases: common versions none of which contains another.
 * A value is a side's own change if no base has it.  If both sides' values are
 * in bases but differ, nothing shows which one is newer: a conflict.
 *
 * No locks, no store: all memory belongs to the plan, until plan_destroy().
 */
#ifndef COPPICE_SNAPSHOT_JOIN_PLAN_H
#define COPPICE_SNAPSHOT_JOIN_PLAN_H

#include "item.h"

enum join_side {
	JOIN_OURS,   /* the destination */
	JOIN_THEIRS, /* the state that is joined into it */
	JOIN_BASE,   /* the first base */
	JOIN_BASES_MAX = 6,
	JOIN_NOBODY = -1,
	JOIN_BOTH = -2, /* a choice: see join_ops.choose */
};

/* Kinds of conflicts, as bits; their names are in join_conflict_name(). */
enum join_conflict {
	JOIN_EDIT_EDIT = 1,
	JOIN_EDIT_DELETE = 2,
	JOIN_RENAME_RENAME = 4,
	JOIN_RENAME_DELETE = 8,
	JOIN_ADD_ADD = 16,
	JOIN_TYPE = 32,
	JOIN_MODE = 64,
	JOIN_OWNER = 128,
	JOIN_XATTR = 256,
	JOIN_CYCLE = 512,
};
enum { JOIN_CONFLICTS = 10 };

/*
 * The aspects of an inode that a side has changed since the bases, unless the
 * other has changed them in the same way, as bits; join_change_name() has their
 * names.
 */
enum join_change {
	JOIN_CHANGED_PRESENCE = 1, /* it has made or deleted the inode */
	JOIN_CHANGED_CONTENT = 2,
	JOIN_CHANGED_NAMES = 4,
	JOIN_CHANGED_MODE = 8,
	JOIN_CHANGED_OWNER = 16,
	JOIN_CHANGED_XATTR = 32,
};
enum { JOIN_CHANGES = 6 };

struct join_name {
	uint64_t parent; /* in the plan: the number that ours has for it */
	const char *name;
};

/* A new name in the place of one that the other side has, too. */
struct join_move {
	struct join_name from;
	const char *to;
};

struct join_xattr {
	const char *name;
	/* The side that has the value; join_ops.same_xattr compares values. */
	enum join_side side;
};

/* An inode as one tree has it. */
struct join_face {
	bool present;
	uint64_t ino; /* in that tree */
	struct inode inode;
	struct join_name *names;
	size_t name_count, name_room;
	struct join_xattr *xattrs;
	size_t xattr_count, xattr_room;
};

struct join_inode {
	uint64_t ino; /* the number in the joined tree */
	/* The joined inode. */
	struct join_face result;
	enum join_side content; /* the side that has its content */
	unsigned conflicts;     /* enum join_conflict: those left open */
	unsigned decided;       /* enum join_conflict: those decided */
	unsigned both;          /* those that JOIN_BOTH can decide */
	unsigned changed[2];    /* enum join_change, of ours and theirs */
	/* The content is that of both sides, merged by lines. */
	bool merged;
	/*
	 * A file of theirs that is kept beside ours.  Its number is 0: the
	 * caller draws one when it makes the file.
	 */
	bool copy;
	/* Private to the planner. */
	bool beside; /* a copy of theirs is to be kept beside it */
	bool pinned; /* it stays as in ours */
	enum {
		JOIN_MERGE_UNTRIED,
		JOIN_MERGE_DONE,
		JOIN_MERGE_CONFLICT,
	} merge;              /* of the content by lines */
	uint64_t merged_size; /* JOIN_MERGE_DONE: bytes */
	struct join_move *moves;
	size_t move_count, move_room;
	struct join_inode *stands_for; /* the inode that it is a part of */
	int presence, names_of;        /* decisions: a side or JOIN_NOBODY */
	bool revived;                  /* kept although a side deleted it */
	struct join_name *dropped;     /* names lost to other inodes */
	size_t dropped_count, dropped_room;
	struct join_face faces[]; /* ours, theirs, the bases */
};

/* Callbacks for all that the plan does not contain. */
struct join_ops {
	/* Return 1 if two faces have the same content, else 0, or an error. */
	int (*same_content)(void *arg, const struct join_inode *inode, int a,
	                    int b);
	/* Do the same for the values of an xattr that both faces have. */
	int (*same_xattr)(void *arg, const struct join_inode *inode,
	                  const char *name, int a, int b);
	/* Return the parent in ours of a directory that is not in the plan;
	   0: the directory is the root. */
	int (*parent)(void *arg, uint64_t ino, uint64_t *ret_parent);
	/*
	 * Decide a conflict: return the side to take; JOIN_NOBODY to leave it
	 * open; or JOIN_BOTH to keep the contents of both, an inode that one
	 * side has deleted, or all names of a file.  In other conflicts
	 * JOIN_BOTH counts as JOIN_NOBODY.
	 */
	int (*choose)(void *arg, const struct join_inode *inode,
	              enum join_conflict kind);
	/*
	 * Return true if the inode is to stay as in ours.  May be NULL, as may
	 * the members below.
	 */
	bool (*pin)(void *arg, const struct join_inode *inode);
	/*
	 * Merge the contents of a regular file.  Return 1 and the merged size
	 * in bytes; 0: there is a conflict; or an error.
	 */
	int (*merge)(void *arg, const struct join_inode *inode,
	             uint64_t *ret_size);
	/*
	 * Return 1 if the directory has the entry in ours, else 0, or an error.
	 * Needed if `choose` ever returns JOIN_BOTH.
	 */
	int (*has_entry)(void *arg, uint64_t dir, const char *name);
	const char *suffix; /* of the names of files kept beside ours */
	void *arg;
};

struct join_plan;

int plan_create(unsigned bases, struct join_plan **ret_plan); /* -ENOMEM */
void plan_destroy(struct join_plan *plan);                    /* takes NULL */

/* Add an inode; each number once.  NULL: no memory. */
struct join_inode *plan_add(struct join_plan *plan, uint64_t ino);
/* Add to a face.  The strings are copied.  -ENOMEM */
int face_add_name(struct join_plan *plan, struct join_face *face,
                  uint64_t parent, const char *name, size_t len);
int face_add_xattr(struct join_plan *plan, struct join_face *face,
                   const char *name, size_t len, enum join_side side);

/*
 * Make the plan, after all inodes were added.  Return the number of inodes with
 * conflicts (0: the results are complete); -ENOMEM; -ELOOP: the choices
 * contradict each other; or an error of the callbacks.
 */
int plan_make(struct join_plan *plan, const struct join_ops *ops);

/* Return the n-th inode of the plan in the order of numbers; NULL: the end. */
struct join_inode *plan_inode(struct join_plan *plan, size_t n);
/* Return the inode that has or stands for the number; NULL: not in the plan. */
struct join_inode *plan_find(struct join_plan *plan, uint64_t ino);
/* Return true if the face has the name. */
bool face_has_name(const struct join_face *face, const struct join_name *name);
const char *join_conflict_name(enum join_conflict kind);
const char *join_change_name(enum join_change kind);

#endif
