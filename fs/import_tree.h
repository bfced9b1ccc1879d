/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The changes of a side head that an import is made of.  Lock held, unless a
 * comment says otherwise; functions that may release it say so.
 */
#ifndef COPPICE_IMPORT_TREE_H
#define COPPICE_IMPORT_TREE_H

#include "import_code.h"
#include "inode.h"

enum { IMPORT_PIECE = 128 }; /* changes in one hold of the lock */

/* A directory that is being imported. */
struct import_dir {
	uint64_t ino;
	struct inode inode;
	bool dirty; /* the tree has the inode as it was */
	bool fresh; /* it was made by this import */
	/* slots of all entries that the source has, unless it is fresh */
	uint64_t *seen;
	size_t seen_len, seen_room;
	char *path; /* below the top, with a slash before each name */
};

/* The file that IMPORT_DATA is of. */
struct import_file {
	uint64_t ino;  /* 0: none, or the data is to be ignored */
	bool fresh;    /* it was made by this import */
	bool changed;  /* a chunk was replaced */
	bool open;     /* END must follow */
	uint64_t dir;  /* the number of its directory */
	uint64_t next; /* index of the chunk that may come next */
	uint64_t end;  /* offset after the last data that came */
	struct import_attr attr;
	char name[NAME_LEN_MAX + 1];
};

struct importing {
	struct fs *fs;
	const struct fs_import *what;
	struct fs_imported *now;
	struct fs_import_counts *counts;
	bool make;                /* the fork does not exist yet */
	struct state basis;       /* with `make`: stands for it */
	struct import_dir **dirs; /* by their numbers */
	size_t dirs_len;
	struct import_dir *dirty; /* the one that is */
	struct import_file file;
	void *links;   /* tree of struct import_link, by the source's inode */
	void *claimed; /* the same, by the inode in the state */
	unsigned work; /* changes since the lock was taken */
	/*
	 * The chunk whose content import_compare() has compared, or is to; 0:
	 * none, or the result was used.
	 */
	uint64_t compared;
	bool compared_same;
	/* Valid until the lock is released. */
	struct state state; /* stands for the fork, with the side head */
	struct tree *tree;
};

/* Set up what is valid in this hold of the lock alone. */
int import_piece(struct importing *im);
/* Make the tree consistent, before the lock is released. */
int import_settle(struct importing *im);
/* Release the lock for a moment, if it has been held for long. */
int import_pause(struct importing *im);
/* Free all that is in memory. */
void import_tree_release(struct importing *im);

/* Return a directory by its number, or NULL. */
struct import_dir *import_dir_at(struct importing *im, uint64_t number);
/* Return true if a directory has begun that has this inode. */
bool import_dir_is_open(const struct importing *im, uint64_t ino);
/* Free a directory, which may be NULL. */
void import_dir_destroy(struct importing *im, struct import_dir *dir);
/* Return a directory as the functions of dirent_item.h want it. */
struct vnode import_dir_vnode(struct importing *im,
                              const struct import_dir *dir);
/* Add to the counts of a directory's entries, and of those directories. */
int import_dir_count(struct importing *im, struct import_dir *dir, int entries,
                     int dirs);
/* Return the path of a name in a directory, to be freed.  -ENOMEM */
int import_path_join(const struct import_dir *parent, const char *name,
                     char **ret_path);
/*
 * Open the directory in the state that the source's top is to become.  It is
 * made in its parent if it does not exist.
 */
int import_top(struct importing *im, bool *ret_fresh);

/* The operations of import_code.h, decoded. */
int import_dir_begin(struct importing *im, uint64_t number, uint64_t parent,
                     const char *name, const struct import_attr *attr,
                     struct import_bytes xattrs);
/* May release the lock. */
int import_dir_end(struct importing *im, uint64_t number, bool partial);
int import_entry(struct importing *im, uint64_t dir, const char *name,
                 struct import_attr *attr, enum import_verdict *ret_verdict);
int import_link(struct importing *im, uint64_t dir, const char *name,
                struct import_attr *attr);
int import_keep(struct importing *im, uint64_t dir, const char *name);
/*
 * Remove a name of a directory, and what has no other name.  -ENOENT;
 * -ENOTEMPTY: it is kept because of fs_import.no_delete; -EPROTO: it is a
 * directory that has begun and not ended.
 */
int import_remove(struct importing *im, struct import_dir *dir,
                  const char *name);
/* Delete what the source does not have.  May release the lock. */
int import_extras_delete(struct importing *im, struct import_dir *dir);

/*
 * Find or make the file that a FILE is about.  *ret_fresh: it was made.
 * *ret->ino is 0 if nothing is to be done, because it is a link to what is
 * complete.
 */
int import_file_find(struct importing *im, uint64_t dir, const char *name,
                     struct import_attr *attr, struct vnode *ret,
                     bool *ret_fresh);
/* Set xattrs to those encoded.  The caller stores the inode. */
int import_xattrs(struct importing *im, struct vnode *v,
                  struct import_bytes xattrs, bool *ret_changed);
/* Apply all attributes but the size.  Return true if some differed. */
bool import_attributes(struct inode *inode, const struct import_attr *attr,
                       bool ignore_ctime);

/* A chunk, or all of a short file. */
struct import_data {
	uint64_t index;
	const uint8_t *data;
	size_t len;
	struct chunk *chunk; /* of it, if it is not kept inline; or NULL */
};
/*
 * Put a FILE with its data, or begin one.  -EAGAIN: call import_compare() for
 * the data without the lock, and then this function again.
 */
int import_file_put(struct importing *im, uint64_t dir, const char *name,
                    unsigned flags, struct import_attr *attr,
                    struct import_bytes xattrs, struct import_data *data);
/* Put a further chunk.  -EAGAIN likewise. */
int import_data_put(struct importing *im, struct import_data *data);
/* May release the lock. */
int import_file_end(struct importing *im, bool failed, uint64_t size);
/* Compare with the chunk im->compared.  Lock NOT held. */
int import_compare(struct importing *im, const struct import_data *data);

#endif
