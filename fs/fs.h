/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The file system: inodes, directories and files of all states, addressed by
 * node number, with POSIX semantics.  This header does not depend on FUSE.
 *
 * A node number is made of the state's number and the inode's.  State 0 is the
 * root directory, whose entries are the forks.  Every function takes the
 * store's lock itself unless its comment says otherwise, and may be called from
 * any thread.  Errors are negative errno values as the system call would return
 * them, except -EUCLEAN for damage, which the handlers turn into EIO.  Outputs
 * are written only on success.
 *
 * The caller has checked the permission to reach a file (the kernel does, with
 * default_permissions; root needs none).  Conditions that only the file system
 * can check (a snapshot is read-only, a state is gone) are checked here.
 */
#ifndef COPPICE_FS_H
#define COPPICE_FS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "../snapshot/snapshot.h"

struct fs;
typedef uint64_t node_t;

enum { NODE_INO_BITS = 36 };
_Static_assert(INO_END == UINT64_C(1) << NODE_INO_BITS, "a node has room");
#define NODE(state, ino) ((node_t)(state) << NODE_INO_BITS | (node_t)(ino))
/* Marks the nodes that previous.h describes; state numbers end below it. */
#define NODE_VIRTUAL (UINT64_C(1) << 63)
#define NODE_STATE(node) (((node) & ~NODE_VIRTUAL) >> NODE_INO_BITS)
#define NODE_INO(node) ((node) & ((UINT64_C(1) << NODE_INO_BITS) - 1))
#define NODE_ROOT NODE(0, 1)
/*
 * In state 0: inode numbers of the symlinks to snapshots start here; the
 * state's number is added.
 */
#define NODE_LINK_FIRST (UINT64_C(1) << 35)

/*
 * Where .snap can be looked up, and whether it is listed.  SNAPDIR_ROOT: only
 * in the roots of forks, not listed.
 */
enum fs_snapdir {
	SNAPDIR_HIDDEN,
	SNAPDIR_VISIBLE,
	SNAPDIR_DISABLED,
	SNAPDIR_ROOT
};
static inline bool snapdir_everywhere(enum fs_snapdir snapdir)
{
	return snapdir == SNAPDIR_HIDDEN || snapdir == SNAPDIR_VISIBLE;
}

struct fs_options {
	bool rmdir_always; /* rmdir deletes a fork with any content */
};

/*
 * Create the file system on a forest, which the caller still owns, and start
 * the cleanup of orphans that a crash left behind.
 */
int fs_create(struct forest *forest, const struct fs_options *options,
              struct fs **ret_fs);
void fs_destroy(struct fs *fs); /* takes NULL */
struct forest *fs_forest(struct fs *fs);
/*
 * Set the function that counts the users of an inode whose last name is
 * removed.  The function is called with the lock held.  It counts the users for
 * which fs_open() was not called: O_PATH descriptors, working directories,
 * mounts without OPEN requests.  `regular`: the inode is a regular file, for
 * which fs_open() mostly was called.  The inode is kept until fs_release() has
 * been called for each user.
 */
void fs_set_keeper(struct fs *fs,
                   unsigned (*keep)(void *arg, node_t node, bool regular),
                   void *arg);
/*
 * Set the function that returns whether the number of a deleted state is still
 * in use above this layer.  The function is called with the lock held before
 * the number is reused: see forest_set_keeper().
 */
void fs_set_in_use(struct fs *fs, bool (*in_use)(void *arg, uint64_t state),
                   void *arg);
/*
 * Delete, in the background, the unlinked files that a fork inherited.  Call it
 * after making a fork, or replacing its tree, by functions of snapshot/.  Lock
 * held.
 */
void fs_adopt(struct fs *fs, struct state *state);

/* The caller of a request, who owns new inodes. */
struct fs_cred {
	uid_t uid;
	gid_t gid;
	mode_t umask; /* removed from modes unless a default ACL applies */
};

struct fs_entry {
	node_t node;
	struct stat st;
	bool uncacheable; /* the name may refer to another node later */
	/*
	 * Tells apart states that had the same number one after the other.
	 * 0: the node belongs to no state.
	 */
	uint32_t generation;
};

int fs_lookup(struct fs *fs, node_t parent, const char *name,
              enum fs_snapdir snapdir, struct fs_entry *ret_entry);
/* Return the entry of a node.  -ESTALE: the node does not exist. */
int fs_entry_of(struct fs *fs, node_t node, struct fs_entry *ret_entry);
/*
 * Return -ESTALE if the number of the entry's state has been reused for another
 * state since the entry was made.  Call it after the node has been added to the
 * lookup table, if no other node of the state was in it.
 */
int fs_confirm(struct fs *fs, const struct fs_entry *entry);
int fs_getattr(struct fs *fs, node_t node, struct stat *ret_st);
/*
 * Return the time at which the inode was created.  -ENODATA: the node is not in
 * a tree.
 */
int fs_btime(struct fs *fs, node_t node, struct timespec *ret_time);

enum {
	FS_SET_MODE = 1,
	FS_SET_UID = 2,
	FS_SET_GID = 4,
	FS_SET_SIZE = 8,
	FS_SET_ATIME = 16,
	FS_SET_MTIME = 32,
	FS_SET_ATIME_NOW = 64,
	FS_SET_MTIME_NOW = 128,
	FS_SET_KILL_PRIV = 256, /* also drop suid, sgid and capability */
	FS_SET_KILL_SGID = 512, /* drop sgid in any case */
};
int fs_setattr(struct fs *fs, node_t node, unsigned set, const struct stat *to,
               struct stat *ret_st);

/* Write the target, NUL-terminated, to a buffer of PATH_MAX bytes. */
int fs_readlink(struct fs *fs, node_t node, char *ret_target);

/*
 * Make an inode with a name.  mode contains the type; rdev is for devices;
 * target is for symlinks, else NULL.  In the root directory a directory is a
 * fork, in .snap a snapshot.  Symlinks can be made in the root directory, too;
 * other types fail there with -EPERM.
 */
int fs_make(struct fs *fs, node_t parent, const char *name, mode_t mode,
            dev_t rdev, const char *target, const struct fs_cred *cred,
            struct fs_entry *ret_entry);
/* Make a file without a name and open it, as fs_open() does. */
int fs_tmpfile(struct fs *fs, node_t parent, mode_t mode,
               const struct fs_cred *cred, struct fs_entry *ret_entry);
/*
 * The following functions make, rename and delete states; all of fs/ uses them.
 * They also set the times of the root directory, and record the caller as the
 * creator of a new state.  Lock held.  Errors as of state_fork(),
 * state_snapshot(), state_rename() and state_delete().
 */
/*
 * Make a fork.  If source is NULL, the name determines the source: the state
 * named before an '@', else the default state (see state_source()).  Without a
 * default state, the fork is a new tree, whose root directory has this mode and
 * owner.  -ENOENT: the named source does not exist.
 */
int fs_state_fork(struct fs *fs, struct state *source, const char *name,
                  mode_t mode, const struct fs_cred *cred,
                  struct state **ret_state);
int fs_state_snapshot(struct fs *fs, struct state *fork, const char *name,
                      const struct fs_cred *cred, struct state **ret_state);
int fs_state_rename(struct fs *fs, struct state *state, const char *name);
/* Exchange the names of two forks, or of two snapshots of one fork. */
int fs_state_exchange(struct fs *fs, struct state *a, struct state *b);
/* Delete a state, or move it to the trash if the store keeps deleted states. */
int fs_state_delete(struct fs *fs, struct state *state, bool recursive);
/* Delete a state for good, in the trash or not. */
int fs_state_destroy(struct fs *fs, struct state *state, bool recursive);
/*
 * Bring a state back from the trash under a name; NULL: its former name.
 * Errors as of state_undelete().
 */
int fs_state_undelete(struct fs *fs, struct state *state, const char *name);
int fs_link(struct fs *fs, node_t node, node_t parent, const char *name,
            struct fs_entry *ret_entry);
int fs_unlink(struct fs *fs, node_t parent, const char *name);
int fs_rmdir(struct fs *fs, node_t parent, const char *name);
/*
 * Rename a file or a state.  flags: RENAME_NOREPLACE, RENAME_EXCHANGE,
 * RENAME_WHITEOUT.  With RENAME_WHITEOUT the old name becomes a whiteout (a
 * character device 0/0) in the same step; `cred` is only used as its owner.
 * -EINVAL: RENAME_WHITEOUT for a state.
 */
int fs_rename(struct fs *fs, node_t parent, const char *name, node_t new_parent,
              const char *new_name, unsigned flags, const struct fs_cred *cred);
/*
 * Remove or rename, as above, and return the nodes that the names referred to
 * (0: none, or not in a tree).  fs_remove() is rmdir if `dir`, else unlink.
 */
struct fs_moved {
	node_t moved;
	node_t replaced; /* or exchanged */
};
int fs_remove(struct fs *fs, node_t parent, const char *name, bool dir,
              node_t *ret_node);
int fs_move(struct fs *fs, node_t parent, const char *name, node_t new_parent,
            const char *new_name, unsigned flags, const struct fs_cred *cred,
            struct fs_moved *ret_moved);

/* A name of an inode. */
struct fs_name {
	node_t parent;
	char name[NAME_LEN_MAX + 1];
};
/* Store up to `max` names of the node in `names` and return how many. */
size_t fs_names(struct fs *fs, node_t node, struct fs_name *names, size_t max);

/*
 * Open an inode; while it is open it exists even without a name.  flags as of
 * open(2): -EROFS for writing in a snapshot; O_TRUNC truncates.
 */
int fs_open(struct fs *fs, node_t node, int flags);
void fs_release(struct fs *fs, node_t node);

/*
 * Bytes of a file as pieces of memory, to be sent without a copy.  Holds
 * references until fs_data_release().
 */
struct fs_data {
	struct iovec *iov;
	int iov_count;
	size_t len;
	void *holds; /* owners of the pieces' memory */
};
int fs_read(struct fs *fs, node_t node, off_t off, size_t size,
            struct fs_data *ret_data);
void fs_data_release(struct fs_data *data);

enum {
	FS_WRITE_KILL_PRIV = 1,
	FS_WRITE_WITHIN = 2, /* bytes beyond the file's end are dropped */
};
/* Write all of the bytes or none. */
int fs_write(struct fs *fs, node_t node, off_t off, const void *data,
             size_t size, unsigned flags);
/*
 * Allocate, zero or punch; mode as of fallocate(2).  suid and sgid stay: see
 * FS_SET_KILL_PRIV.
 */
int fs_fallocate(struct fs *fs, node_t node, int mode, off_t off, off_t len);
/* Find data or a hole; whence is SEEK_DATA or SEEK_HOLE.  -ENXIO */
int fs_seek(struct fs *fs, node_t node, off_t off, int whence, off_t *ret_off);
/*
 * Copy bytes, also between states, and return their number or an error.  Chunks
 * are shared where the offsets allow it.  suid and sgid stay: see
 * FS_SET_KILL_PRIV.  One call may copy fewer bytes than asked for, and at most
 * COPY_RANGE_MOST: the reply to the kernel has 32 bits for the number.
 */
#define COPY_RANGE_MOST (UINT64_C(4095) << 20)
ssize_t fs_copy_range(struct fs *fs, node_t from, off_t from_off, node_t to,
                      off_t to_off, size_t len);

/*
 * Call fn for the entries after the cookie `off` (0: from the start), in order,
 * until it returns nonzero.  With `plus` the entry's attributes are filled in,
 * else st has only st_ino and the type in st_mode.  fn is called with the lock
 * held and must not call functions of this header.
 */
typedef int fs_readdir_fn(void *arg, const char *name,
                          const struct fs_entry *entry, off_t cookie);
int fs_readdir(struct fs *fs, node_t node, off_t off, bool plus,
               enum fs_snapdir snapdir, fs_readdir_fn *fn, void *arg);

/* Return the space of a state, or of the whole store if state is 0. */
int fs_statfs(struct fs *fs, uint64_t state, struct statvfs *ret_vfs);

/*
 * Get an xattr, list xattrs.  Return the bytes, or an error.  As with the
 * system calls, size 0 asks for the length.
 */
ssize_t fs_getxattr(struct fs *fs, node_t node, const char *name, void *value,
                    size_t size);
/* trusted: include the trusted.* names. */
ssize_t fs_listxattr(struct fs *fs, node_t node, bool trusted, char *list,
                     size_t size);
/*
 * May be added to flags: drop sgid, because the access ACL is set by a caller
 * who is not in the file's group.
 */
enum { FS_XATTR_KILL_SGID = 1 << 16 };
int fs_setxattr(struct fs *fs, node_t node, const char *name, const void *value,
                size_t size, int flags);
int fs_removexattr(struct fs *fs, node_t node, const char *name);

/* Free the buffers that are only kept to speed up the next reads. */
void fs_rest(struct fs *fs);

/*
 * Call done(arg, err) when all changes made so far are on disk.  err -ESTALE:
 * the state of the node was deleted, with the changes to it.
 */
void fs_fsync(struct fs *fs, node_t node, void (*done)(void *arg, int err),
              void *arg);

#include "batch.h"
#include "clone.h"
#include "export.h"
#include "import.h"
#include "join.h"
#include "join_digest.h"
#include "join_rows.h"
#include "lock_table.h"
#include "prepared.h"
#include "restore.h"

#endif
