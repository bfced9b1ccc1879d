/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The changes that an import makes in a side head.  Lock held, unless a comment
 * says otherwise; comments name functions that may release it.
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
	bool dirty; /* the inode is not stored yet */
	bool fresh; /* made by this import, or was empty */
	/* slots of all entries that the source has, unless `fresh` */
	uint64_t *seen;
	size_t seen_len, seen_room;
	char *path; /* below the top, with a slash before each name */
};

/* The file that IMPORT_DATA belongs to. */
struct import_file {
	uint64_t ino;  /* 0: none, or its data is ignored */
	bool fresh;    /* made by this import */
	bool changed;  /* xattrs or extents were changed */
	bool open;     /* END must follow */
	uint64_t dir;  /* number of its directory in the frames */
	uint64_t next; /* least index that the next DATA may have */
	uint64_t end;  /* offset after the last data, in bytes */
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
	struct import_dir *dirty; /* the only dirty one; NULL: none */
	struct import_file file;
	void *links;   /* tree of import_links.c, by the inode in the source */
	void *claimed; /* the same, by the inode in the state */
	unsigned work; /* changes since the lock was taken */
	/*
	 * The chunk that import_compare() compares or has compared; 0: none, or
	 * the result was used.
	 */
	uint64_t compared;
	bool compared_same;
	/* Valid until the lock is released. */
	struct state state; /* stands for the fork, with the side head */
	struct tree *tree;
};

/* Set `state` and `tree` for this hold of the lock. */
int import_piece(struct importing *im);
/* Store im->dirty: makes the tree consistent before the lock is released. */
int import_settle(struct importing *im);
/* Count a change.  After IMPORT_PIECE changes, release the lock a moment. */
int import_pause(struct importing *im);
/* Free the directories and links of `im`. */
void import_tree_release(struct importing *im);

/* Return a directory by its number, or NULL. */
struct import_dir *import_dir_at(struct importing *im, uint64_t number);
/* Return true if a directory with this inode has begun and not ended. */
bool import_dir_is_open(const struct importing *im, uint64_t ino);
/* Free a directory, which may be NULL. */
void import_dir_destroy(struct importing *im, struct import_dir *dir);
/* Return a directory as a vnode, for the functions of dirent_item.h. */
struct vnode import_dir_vnode(struct importing *im,
                              const struct import_dir *dir);
/* Add to the counts of a directory's entries and subdirectories. */
int import_dir_count(struct importing *im, struct import_dir *dir, int entries,
                     int dirs);
/* Return the path of a name in a directory, which the caller frees.  -ENOMEM */
int import_path_join(const struct import_dir *parent, const char *name,
                     char **ret_path);
/*
 * Open the directory of fs_import.path as directory 0; make it if it does not
 * exist.  *ret_fresh: the directory is empty.
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
 * Remove a name of a directory, and its inode if it has no other name.
 * -ENOENT; -ENOTEMPTY: fs_import.no_delete keeps the directory; -EPROTO: the
 * directory has begun and not ended.
 */
int import_remove(struct importing *im, struct import_dir *dir,
                  const char *name);
/*
 * Delete the directory's entries that the source does not have.  May release
 * the lock.
 */
int import_extras_delete(struct importing *im, struct import_dir *dir);

/*
 * Find or make the file of a FILE.  *ret_fresh: it was made.  ret->ino is 0 if
 * the FILE is to be ignored: its inode is complete under another name, or a
 * directory that is kept has its name.
 */
int import_file_find(struct importing *im, uint64_t dir, const char *name,
                     struct import_attr *attr, struct vnode *ret,
                     bool *ret_fresh);
/*
 * Make the xattrs the encoded ones.  The caller stores the inode.
 * *ret_changed is set to true if one differed.
 */
int import_xattrs(struct importing *im, struct vnode *v,
                  struct import_bytes xattrs, bool *ret_changed);
/*
 * Apply all attributes but the size.  Return true if one other than atime and
 * ctime differed.  `ignore_ctime`: if none did, leave atime and ctime, too.
 */
bool import_attributes(struct inode *inode, const struct import_attr *attr,
                       bool ignore_ctime);

/* The content of a chunk, or all of a file that has one at most. */
struct import_data {
	uint64_t index; /* of the chunk in the file */
	const uint8_t *data;
	size_t len;
	struct chunk *chunk; /* with the data; NULL: kept inline, or empty */
};
/*
 * Put a FILE with its data, or begin one.  May release the lock.  -EAGAIN: call
 * import_compare() for the data without the lock, and then this function again.
 */
int import_file_put(struct importing *im, uint64_t dir, const char *name,
                    unsigned flags, struct import_attr *attr,
                    struct import_bytes xattrs, struct import_data *data);
/* Put a further chunk.  May release the lock.  -EAGAIN: as above. */
int import_data_put(struct importing *im, struct import_data *data);
/* May release the lock. */
int import_file_end(struct importing *im, bool failed, uint64_t size);
/* Compare the data with the chunk im->compared.  Lock NOT held. */
int import_compare(struct importing *im, const struct import_data *data);

#endif
