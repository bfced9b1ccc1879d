/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Inodes at work: what the files of fs/ share among themselves.
 *
 * Everything here is called with the store's lock held unless it says
 * otherwise.  An operation that finds a chunk missing in memory returns
 * -EAGAIN with a `want` that names it: its caller lets go of the lock, fetches
 * the chunk and begins again, because anything may have changed meanwhile.
 *
 * Order of locks: the store's, then the sweeper's.
 */
#ifndef COPPICE_INODE_H
#define COPPICE_INODE_H

#include <pthread.h>

#include "fs.h"
#include "util.h"

enum {
	PIECE_ITEMS = 256, /* changed in one hold of the lock, at most */
	COOKIE_SELF = 1,
	COOKIE_PARENT = 2,
	COOKIE_SNAPDIR = 3,
	COOKIE_FIRST = 16,
	BLOCK_SHIFT = 9, /* st_blocks counts 512 bytes */
};
#define FILE_SIZE_MAX (INT64_C(1) << 62)
#define LINKS_MAX (UINT32_MAX - 1)
#define SNAPDIR_NAME ".snap"
#define INO_LINK NODE_LINK_FIRST
_Static_assert(SYMLINK_INO_END == INO_LINK, "those that are made are below");

/* A node that is open, and how often.  Guarded by the store's lock. */
struct open_node {
	struct open_node *next;
	node_t node;
	uint64_t count;
	bool orphan; /* has no name: goes with the last release */
};

/* The states of one directory in the order of their numbers. */
struct listing {
	struct listing *next; /* used less recently */
	uint64_t fork;        /* 0: the root directory's */
	int64_t used;         /* when, by mono_ns() */
	unsigned refs;
	size_t count;
	uint64_t numbers[];
};

/* States whose leftover orphans are to be removed in the background. */
struct orphan_cleanup {
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t wake;
	pthread_cond_t idle;
	uint64_t *states;
	size_t count, room;
	uint64_t asked, done; /* rounds, for orphan_cleanup_drain() */
	bool stop;
};

struct fs {
	struct forest *forest;
	struct store *store;
	struct fs_options options;
	unsigned chunk_bits;
	uint32_t chunk_size;
	uint8_t *zeros; /* chunk_size of them, never written */
	/* guarded by the store's lock */
	struct open_node **opens;
	size_t open_buckets, open_count;
	struct listing *listings;
	uint64_t moves[64];                       /* see rename.c */
	unsigned (*keep)(void *arg, node_t node); /* see fs_set_keeper() */
	void *keep_arg;
	bool (*in_use)(void *arg, uint64_t state); /* see fs_set_in_use() */
	void *in_use_arg;
	struct orphan_cleanup orphan_cleanup;
	bool position_logged; /* a snapshot's name reads as a position */
};

/* ---- What a node number means ------------------------------------------- */

enum node_kind {
	NODE_KIND_INODE,
	NODE_KIND_ROOT,    /* the directory of all forks */
	NODE_KIND_SNAPDIR, /* a fork's .snap */
	NODE_KIND_LINK,    /* a symlink to a snapshot */
	NODE_KIND_SYMLINK, /* a symlink in the root, made by somebody */
};
enum node_kind node_kind(node_t node);
static inline bool node_is_link(node_t node)
{
	return node_kind(node) == NODE_KIND_LINK ||
	       node_kind(node) == NODE_KIND_SYMLINK;
}

/* The number of the state that the node belongs to or stands for; 0: none. */
uint64_t node_number(node_t node);
/* Fill in the entry's generation. */
void entry_stamp(struct fs *fs, struct fs_entry *entry);

/* An inode of a state, as read; changes of it reach the tree by a store. */
struct vnode {
	struct fs *fs;
	struct state *state;
	struct tree *tree;
	uint64_t ino;
	struct inode inode;
};

/* -ESTALE: no such state or inode; -EPERM: not kept in a tree. */
int vnode_load(struct fs *fs, node_t node, struct vnode *ret);
/* The same for something about to be changed: -EROFS in a snapshot. */
int vnode_load_rw(struct fs *fs, node_t node, struct vnode *ret);
/* To be called once before the first change of the tree. */
int vnode_begin(struct vnode *v);
int vnode_store(struct vnode *v);
node_t vnode_node(const struct vnode *v);
struct stat vnode_stat(const struct vnode *v);
struct fs_entry vnode_entry(const struct vnode *v);
/* The contents were changed, or the entries: mtime and ctime. */
void vnode_touch(struct vnode *v);

/*
 * Drop what gives a file special powers, because it was changed: always the
 * capability; with `ids` also suid, and sgid where the group may execute.
 */
int vnode_kill_priv(struct vnode *v, bool ids);

struct timestamp time_now(void);
/* ns: since the epoch. */
struct timestamp timestamp_of(int64_t ns);
struct stat inode_stat(const struct fs *fs, node_t node,
                       const struct inode *inode);
/* What setattr asks for, but for the size; ctime is now. */
void inode_set(struct inode *inode, unsigned set, const struct stat *to);
int inode_load(struct tree *tree, uint64_t ino, struct inode *ret);
int inode_store(struct tree *tree, uint64_t ino, const struct inode *inode);

/* ---- Chunks that may have to be fetched --------------------------------- */

/*
 * chunk_load(), for one who looks again when the chunk has been freed
 * meanwhile: -ENOENT.  What is missing time and again is damage; *misses
 * counts. Lock NOT held.
 */
int chunk_fetch(struct fs *fs, uint64_t number, unsigned *misses,
                struct chunk **ret_chunk);

struct want {
	uint64_t number;
	struct chunk *chunk; /* what the last fetch brought */
	unsigned misses;
};
/*
 * The chunk as a new reference; -EAGAIN: to be fetched first.
 * *ret_writable (may be NULL) as told by chunk_find().
 */
int want_chunk(struct fs *fs, struct want *want, uint64_t number,
               struct chunk **ret_chunk, bool *ret_writable);
/* Lock NOT held. */
int want_fetch(struct fs *fs, struct want *want);
void want_release(struct want *want);
#define _cleanup_want_ _cleanup_(want_release)

static inline void chunk_unref_pointer(struct chunk **chunk)
{
	chunk_unref(*chunk);
}
#define _cleanup_chunk_ _cleanup_(chunk_unref_pointer)

/* ---- Extents ------------------------------------------------------------ */

/* One extent without its inline data; kind 0: a hole. */
struct ext {
	uint8_t kind;
	uint32_t len;
	uint64_t chunk;
};

static inline uint64_t ext_blocks(const struct ext *e)
{
	return e->kind ? (e->len + 511u) >> BLOCK_SHIFT : 0;
}
/* Bytes from the start that are not known to be zero. */
static inline uint32_t ext_data(const struct ext *e)
{
	return e->kind == EXTENT_CHUNK || e->kind == EXTENT_INLINE ? e->len : 0;
}

/* Extents first … first + count - 1; holes where there is none. */
int ext_list(struct tree *tree, uint64_t ino, uint64_t first, size_t count,
             struct ext *ret);
/* The bytes of the inline extent. */
int ext_inline(struct tree *tree, uint64_t ino,
               uint8_t ret_data[EXTENT_INLINE_MAX]);
/*
 * Put `to` in the place of `old`, drop the chunk that goes, and keep the
 * counts of blocks; the caller stores the inode.  to->kind 0 removes it.
 * `data` is that of an inline extent.
 */
int ext_replace(struct vnode *v, uint64_t index, const struct ext *old,
                const struct ext *to, const uint8_t *data);
/* Write a new chunk in the place of `old`. */
int ext_add_chunk(struct vnode *v, uint64_t index, const struct ext *old,
                  struct chunk *chunk);
/*
 * Remove the extents from index `first` on, at most `budget` of them, and
 * store the inode.  -EAGAIN: there are more.
 */
int ext_cut(struct vnode *v, uint64_t first, unsigned budget);
/*
 * The file takes the place of another: tell the store which chunks take the
 * place of which, so that it may keep the new ones as deltas.
 */
void ext_hint(struct vnode *v, struct tree *tree, uint64_t ino);

/* ---- Changing a file's bytes -------------------------------------------- */

enum change_kind {
	CHANGE_WRITE,
	CHANGE_PUNCH, /* make a hole */
	CHANGE_ZERO,  /* make zeroes that count as used */
	CHANGE_ALLOC, /* let holes count as used */
};
struct change {
	enum change_kind kind;
	uint64_t off;
	uint64_t size;       /* at least 1 */
	const uint8_t *data; /* CHANGE_WRITE */
	bool keep_size;      /* the file does not grow */
	bool within;         /* -ERANGE if it would have to grow */
	bool kill_ids;       /* suid and sgid go */
};
/* All of it in one hold of the lock.  Lock NOT held. */
int file_change(struct fs *fs, node_t node, const struct change *change);
/*
 * Change the size, and of what is cut off free at most a piece: -EAGAIN says
 * that orphan_finish() is to be called for the rest.  Stores the inode.
 */
int file_resize(struct vnode *v, uint64_t size);
/*
 * To be called before bytes or extents from `off` on come to be: leftovers
 * of a truncation must be gone by then.  -EAGAIN: call orphan_finish().
 */
int file_clear_tail(struct vnode *v, uint64_t off);

/* ---- Open nodes and orphans --------------------------------------------- */

struct open_node *open_find(struct fs *fs, node_t node);
int open_add(struct fs *fs, node_t node, bool orphan);
/* Return true if a node of the state is open. */
bool open_any(struct fs *fs, uint64_t state);
/* Open it for each who uses it without having opened it.  -ENOMEM. */
int open_keep(struct fs *fs, node_t node);

int orphan_add(struct vnode *v);
/* Nothing is left of it to be freed; not an error if it was no orphan. */
int orphan_del(struct vnode *v);
int orphan_del_at(struct fs *fs, struct state *state, struct tree *tree,
                  uint64_t ino);
/* The first orphan of a tree from inode number `from` on. */
bool orphan_first(struct tree *tree, uint64_t from, uint64_t *ret_ino);
/* Whether TABLE_ORPHAN names the state. */
int orphan_record(struct fs *fs, uint64_t state, bool there);
/*
 * An inode lost its last name (nlink is 0): delete it, or keep it while it is
 * open.  Stores it.  -EAGAIN: orphan_finish() is to be called for the rest.
 */
int vnode_unlinked(struct vnode *v);
/*
 * Free what is left of an orphan that is not open, or of a file's cut-off
 * tail, a piece at a time.  Lock NOT held.
 */
int orphan_finish(struct fs *fs, node_t node);

int orphan_cleanup_start(struct fs *fs);
void orphan_cleanup_stop(struct fs *fs); /* lock NOT held */
int orphan_cleanup_push(struct fs *fs, uint64_t state);
/* Return when all that was pushed has been looked at.  Lock NOT held. */
void orphan_cleanup_drain(struct fs *fs);

/* ---- Xattrs and ACLs ---------------------------------------------------- */

#define XATTR_CAPABILITY "security.capability"
#define XATTR_ACL_ACCESS "system.posix_acl_access"
#define XATTR_ACL_DEFAULT "system.posix_acl_default"

/* -ENODATA. */
int xattr_find(struct vnode *v, const char *name, struct xattr_item *ret);
/* Its value as a new buffer; -ENODATA; -EAGAIN: see above. */
int xattr_value(struct vnode *v, const char *name, struct want *want,
                uint8_t **ret_value, size_t *ret_len);
/* `chunk` (may be NULL) holds a long value; the caller stores the inode. */
int xattr_put(struct vnode *v, const char *name, const void *value, size_t len,
              struct chunk *chunk);
/* -ENODATA.  The caller stores the inode. */
int xattr_del(struct vnode *v, const char *name);

/*
 * ACLs in the form of the xattrs.
 * acl_check: -EINVAL unless it is one; *ret_mode are the permissions it
 * amounts to, *ret_plain says that they are all of it.
 */
int acl_check(const uint8_t *acl, size_t len, uint32_t *ret_mode,
              bool *ret_plain);
/* Change it to what chmod makes of it. */
void acl_chmod(uint8_t *acl, size_t len, uint32_t mode);
/* What a new inode gets from its directory. */
struct inherited_acl {
	uint8_t *access, *dflt; /* NULL: none */
	size_t access_len, dflt_len;
};
/* Settles inode->mode; `dir` is the directory.  -EAGAIN: see above. */
int inherited_acl_take(struct vnode *dir, struct inode *inode, mode_t umask,
                       struct want *want, struct inherited_acl *ret);
int inherited_acl_give(struct vnode *v, const struct inherited_acl *h);
void inherited_acl_release(struct inherited_acl *h);

/* ---- Directories -------------------------------------------------------- */

/*
 * The directory for a change of its entries.  -ENOTDIR, -EROFS; -ENOENT: it
 * has been removed; -EPERM: it is not kept in a tree.
 */
int dir_load_rw(struct fs *fs, node_t node, struct vnode *ret);
/* -EINVAL, -ENAMETOOLONG; -EEXIST for the name of the .snap directory. */
int dir_check_name(const struct vnode *dir, const char *name);
/* -ENOENT, or the slot of the entry and the inode it names. */
int dir_find(struct vnode *dir, const char *name, uint64_t *ret_slot,
             struct vnode *ret_child);
int dirent_put(struct vnode *dir, uint64_t slot, const char *name,
               const struct vnode *child);
int backref_put(struct vnode *child, uint64_t parent, const char *name);
int backref_del(struct vnode *child, uint64_t parent, const char *name);
/* The parent of a directory that is not the root; -ENOENT: removed. */
int dir_parent(struct tree *tree, uint64_t ino, uint64_t *ret_parent);

/*
 * Make the inode of a whiteout, with the number `ino`, that is to be called
 * `name` in the directory, whose change has begun; the caller puts the entry.
 */
int whiteout_make(struct vnode *dir, const char *name,
                  const struct fs_cred *cred, uint64_t ino, struct vnode *ret);

/* ---- Directories whose entries are states ------------------------------- */

int state_dir_getattr(struct fs *fs, node_t node, struct stat *ret_st);
int state_dir_setattr(struct fs *fs, node_t node, unsigned set,
                      const struct stat *to);
int state_dir_readlink(struct fs *fs, node_t node, char *ret_target);
int state_dir_lookup(struct fs *fs, node_t parent, const char *name,
                     struct fs_entry *ret_entry);
/* Lock NOT held. */
int state_dir_mkdir(struct fs *fs, node_t parent, const char *name, mode_t mode,
                    const struct fs_cred *cred, struct fs_entry *ret_entry);
/* Lock NOT held. */
int root_symlink_make(struct fs *fs, node_t parent, const char *name,
                      const char *target, const struct fs_cred *cred,
                      struct fs_entry *ret_entry);
int state_dir_unlink(struct fs *fs, node_t parent, const char *name);
int state_dir_rmdir(struct fs *fs, node_t parent, const char *name);
/* At least one of the parents is not kept in a tree. */
int state_dir_rename(struct fs *fs, node_t parent, const char *name,
                     node_t new_parent, const char *new_name, unsigned flags);
/* -EAGAIN: there are more entries, after *off; to be read in another hold. */
int state_dir_readdir(struct fs *fs, node_t node, off_t *off, bool plus,
                      fs_readdir_fn *fn, void *arg);
void listings_release(struct fs *fs);

/* Set the times of the root directory after a change of its entries. */
void root_touch(struct fs *fs);

/* ---- Symlinks in the root directory: root_symlink.c -------------------- */

struct fs_entry root_symlink_entry(const struct fs *fs,
                                   const struct symlink *link);
int root_symlink_getattr(struct fs *fs, node_t node, struct stat *ret_st);
int root_symlink_setattr(struct fs *fs, node_t node, unsigned set,
                         const struct stat *to);
/* As rename(2) within the root directory. */
int root_symlink_move(struct fs *fs, struct symlink *link, const char *new_name,
                      unsigned flags);
/* Return true if an entry of a directory in a state is a symlink. */
bool dir_entry_is_symlink(struct fs *fs, node_t parent, const char *name);

/* The entry that is a state's root directory. */
int state_dir_entry(struct fs *fs, struct state *state,
                    struct fs_entry *ret_entry);
/* A state's virtual xattr `name` (after the prefix); -ENODATA. */
int state_xattr_get(struct fs *fs, node_t node, const char *name, char *out,
                    size_t size);

#endif
