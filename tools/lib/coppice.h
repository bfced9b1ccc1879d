/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libcoppice: a store of forkable states inside a program.
 *
 * A store has states: forks, which are writable, and snapshots, which never
 * change.  A state is a tree of directories and files, the same that a mount of
 * the store shows; to a program a path is a key, a file's content a value, a
 * directory a bucket.  Forks and snapshots are made in constant time, of any
 * state, in any number, and whatever is open.
 *
 * Changes of files are gathered in batches.  A batch is atomic: other threads,
 * processes and mounts, and the store after a crash, have all of it or nothing.
 *
 * Errors.  Functions that return int or ssize_t return a negative errno value
 * on failure, and set no output.  coppice_error() describes the last failure of
 * the calling thread.  Values that many functions return:
 *   -ENOENT    there is no such state, path or property
 *   -ESTALE    the state that a handle stands for was deleted
 *   -EROFS     the state is a snapshot, or the store was opened read-only
 *   -ENOSPC    the store or its disk is full
 *   -EUCLEAN   the store is damaged: see coppice-check(1)
 *   -ECHILD    the handle was opened before fork(2), by the parent process
 *   -EINVAL    a name, path, flag or size is not valid
 *   -ENOMEM    out of memory
 *
 * Threads.  Any thread may use a handle of a store or a state, at any time.  A
 * batch or a scan must be used by one thread at a time.  Callbacks are called
 * by the thread that passed them, with no lock held, and may call the library.
 * Threads that read do not wait for each other.  Threads that change the store
 * and threads that read wait for each other only for moments.
 *
 * Processes.  One process changes a store: the first that opens it without
 * COPPICE_READ_ONLY, or the daemon that serves its mounts.  If there is a
 * daemon, the changes of other processes go through it, and each is durable
 * when the call returns.  Any number of processes can read at once, without a
 * request to another process: they see the last commit, and a snapshot that
 * they have open stays readable until they close it or end.  What fsync(2) in a
 * mount has made durable is committed within five seconds or, after a crash,
 * when the store is next opened to be changed.  -ECONNRESET: the daemon has
 * ended.  Reading continues; for changes, close the store and open it again.
 *
 * A process that was forked cannot use its parent's handles; it opens the store
 * itself.  A process can have a store open once.
 *
 * Text.  Names of states and paths are strings of bytes that end with a NUL.
 * Paths are relative to the root of a state; slashes at either end are ignored.
 * No symbolic link is followed.
 *
 * Structs that a caller passes begin with `size`, which the caller sets to
 * sizeof(struct ...): later versions add fields at the end.
 */
#ifndef COPPICE_H
#define COPPICE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define COPPICE_API __attribute__((visibility("default")))

struct coppice;       /* an open store */
struct coppice_state; /* an open state */
struct coppice_batch; /* changes to be made in one step */
struct coppice_scan;  /* a position in a directory */

/* Return the version of the library as text. */
COPPICE_API const char *coppice_version(void);

/*
 * Return a sentence, without a period, that describes the last failure of a
 * call of this library in the calling thread.  It is valid until the thread's
 * next call.  "" if none has failed.
 */
COPPICE_API const char *coppice_error(void);

/* ---- Stores ------------------------------------------------------------- */

enum coppice_open_flags {
	COPPICE_READ_ONLY = 1, /* refuse changes */
	COPPICE_CREATE = 2,    /* make the store if there is none */
};

/* 0 in a field stands for its default. */
struct coppice_options {
	size_t size;
	uint64_t memory;    /* bytes for caches and unsaved changes; 1/32 of the
	                       machine's memory, 256 MiB to 1 GiB, and at most
	                       a quarter of it or of a limit of the cgroup */
	uint32_t commit_ms; /* longest age of an unsaved change; 4000 */
};

/*
 * Open the store in the directory `path`.  options may be NULL.  A new store
 * has one fork, `main`, which is empty.
 *
 * If several programs write to a store, mount it first: then all of them use
 * its daemon.  A program that has opened a store to change it serves no others.
 *   -ENOENT  there is no store
 *   -EBUSY   this process has it open already; or another process that is not
 *            a daemon has it open to change it, and did not close it within
 *            five seconds (the message names it if it can be found); or, with
 *            COPPICE_READ_ONLY, it is being compacted
 */
COPPICE_API int coppice_open(const char *path, unsigned flags,
                             const struct coppice_options *options,
                             struct coppice **ret_store);

/*
 * Make all changes durable and release the store.  Its states, batches and
 * scans must have been released before.  After an error, the changes since the
 * last commit are lost; the store is released, too, except after -ECHILD.
 * Takes NULL.
 */
COPPICE_API int coppice_close(struct coppice *store);

/* Wait until all changes made before the call are durable. */
COPPICE_API int coppice_sync(struct coppice *store);

struct coppice_stats {
	size_t size;
	uint64_t used_bytes;    /* in use, of the store's file */
	uint64_t free_bytes;    /* free for new data, of the store's file */
	uint64_t avail_bytes;   /* that can still be written */
	uint64_t pending_bytes; /* changed, and not durable yet */
	uint64_t reclaiming; /* versions of deleted states still to be freed */
	uint64_t states;     /* forks and snapshots */
	uint64_t commits;    /* since the store was opened */
};
COPPICE_API int coppice_stats(struct coppice *store,
                              struct coppice_stats *ret_stats);

/*
 * Wait until the space of all deleted states is free, durably, except that of
 * snapshots that a handle still reads, here or in another process.
 */
COPPICE_API int coppice_reclaim(struct coppice *store);

/*
 * Return a descriptor for poll(2) that becomes readable (POLLIN) when states
 * have been changed, made or deleted, by any process: at once if this process
 * changes the store itself, otherwise when the change is committed.  It may
 * become readable without a change.  Each call returns the same descriptor,
 * which belongs to the store: do not read from it or close it.  -EMFILE.
 */
COPPICE_API int coppice_event_fd(struct coppice *store);
/*
 * Make the descriptor unreadable until the next change.  Return 1 if there may
 * have been changes since the last call, or since the descriptor was made, and
 * 0 if there were none.  To miss no change, call this before you look at the
 * states.  -EINVAL: coppice_event_fd() was not called.
 */
COPPICE_API int coppice_event_clear(struct coppice *store);

/* ---- States ------------------------------------------------------------- */

/*
 * Open a state by any form of its name: FORK, FORK~SNAPSHOT, FORK~N (the N-th
 * newest snapshot), FORK~@TIME (the newest snapshot at or before a time); see
 * coppice-concepts(7).  A handle of a snapshot keeps its content readable even
 * if the snapshot is deleted meanwhile.  A handle of a fork shows the fork as
 * it is at each call, even after the fork was renamed.  -ENOENT: there is no
 * such state; in a process other than the one that writes, also: the deletion
 * of the snapshot is not committed yet.
 */
COPPICE_API int coppice_state_open(struct coppice *store, const char *name,
                                   struct coppice_state **ret_state);
COPPICE_API void coppice_state_close(struct coppice_state *state); /* or NULL */

enum { COPPICE_NAME_SIZE = 512 }; /* bytes of a full name with its NUL */

struct coppice_info {
	size_t size;
	uint64_t number;    /* no other state of the store has it */
	uint64_t fork;      /* of a snapshot: the number of its fork; else 0 */
	uint64_t version;   /* equal versions have equal content */
	int64_t created;    /* nanoseconds since 1970 */
	uint64_t files;     /* files and directories, the root included */
	uint64_t bytes;     /* of the files, each in whole units of 512 */
	uint64_t exclusive; /* stored bytes that deleting it alone would free */
	uint64_t snapshots; /* of a fork */
	int read_only;      /* nonzero: a snapshot */
	char name[COPPICE_NAME_SIZE];   /* full: FORK or FORK~SNAPSHOT */
	char origin[COPPICE_NAME_SIZE]; /* the state it was made from, or "" */
};
COPPICE_API int coppice_info(struct coppice_state *state,
                             struct coppice_info *ret_info);

/*
 * Call fn with each snapshot of a fork, or with each fork if `fork` is NULL, in
 * the order of the names.  A nonzero result of fn ends the list, and is
 * returned.  States that are made or deleted meanwhile may be included or not.
 */
COPPICE_API int
coppice_list(struct coppice *store, const char *fork,
             int (*fn)(void *arg, const struct coppice_info *info), void *arg);

enum coppice_fork_flags {
	COPPICE_UNIQUE = 1, /* if the name is taken, add a suffix to it */
};
/*
 * Make a fork of the state `source` called `name`, or an empty fork if source
 * is NULL.  Write its name, which COPPICE_UNIQUE may have changed, to ret_name,
 * of COPPICE_NAME_SIZE bytes, or nothing if it is NULL.  -EEXIST: the name is
 * taken.
 */
COPPICE_API int coppice_fork(struct coppice *store, const char *source,
                             const char *name, unsigned flags, char *ret_name);
/*
 * Make the snapshot FORK~NAME of a fork.  -EEXIST: the fork has a snapshot of
 * this name.
 */
COPPICE_API int coppice_snapshot(struct coppice *store, const char *fork,
                                 const char *name);

enum coppice_remove_flags {
	COPPICE_SNAPSHOTS = 1, /* a fork's snapshots, too */
};
/*
 * Delete a state.  Its name is free at once, its space is freed in the
 * background.  -ENOTEMPTY: the fork has snapshots; -EBUSY: the state is held,
 * or is the default state.
 */
COPPICE_API int coppice_remove(struct coppice *store, const char *name,
                               unsigned flags);
/*
 * Delete snapshots of a fork: those made before the time `before` (nanoseconds
 * since 1970), but never the `keep` newest ones.  Snapshots that are held are
 * kept.  *ret_count (may be NULL) is how many were deleted, even after an
 * error.
 */
COPPICE_API int coppice_expire(struct coppice *store, const char *fork,
                               int64_t before, uint64_t keep,
                               uint64_t *ret_count);
/* Rename a state; `to` is the new name of a fork, or of the snapshot alone. */
COPPICE_API int coppice_rename(struct coppice *store, const char *name,
                               const char *to);
/* Exchange the names of two forks, or of two snapshots of one fork. */
COPPICE_API int coppice_swap(struct coppice *store, const char *a,
                             const char *b);
/*
 * Replace the content of a fork by that of another state, in one step.  Handles
 * of the fork stay valid.  undo is the name of a snapshot to be made of the
 * fork as it was before, or NULL for none.  Through a daemon, the snapshot is a
 * separate step.
 */
COPPICE_API int coppice_reset(struct coppice *store, const char *fork,
                              const char *source, const char *undo);
/* Protect a state from deletion by a tag; coppice_release() removes the tag. */
COPPICE_API int coppice_hold(struct coppice *store, const char *name,
                             const char *tag);
COPPICE_API int coppice_release(struct coppice *store, const char *name,
                                const char *tag);
/* Set a property of a state: see coppice-set(1).  value NULL: remove it. */
COPPICE_API int coppice_set(struct coppice *store, const char *name,
                            const char *key, const char *value);
/*
 * Write a property's value with its NUL to a buffer, as far as it fits, and
 * return its length without the NUL.  -ENODATA: it is not set.
 */
COPPICE_API ssize_t coppice_property(struct coppice *store, const char *name,
                                     const char *key, char *buffer,
                                     size_t size);

/* ---- Reading ------------------------------------------------------------ */

/*
 * Read up to `size` bytes of a file from `offset` on, all as of one instant.
 * Return how many were read; fewer than `size` only at the end of the file.
 *   -EISDIR  it is a directory
 *   -EAGAIN  another process changes the fork all the time, and more than
 *            1.9 MiB could not be read between two of its commits
 */
COPPICE_API ssize_t coppice_get(struct coppice_state *state, const char *path,
                                uint64_t offset, void *buffer, size_t size);

/* One of the reads of coppice_get_many(). */
struct coppice_get {
	const char *path;
	uint64_t offset;
	void *buffer;
	size_t size;
	ssize_t result; /* as that of coppice_get() */
};
/*
 * Do many reads, all as of the same instant, unless another process may change
 * the fork: then each read is as of one instant, but not all of them.  `gets`
 * is an array of `count`.  An error of a single read is only in its result,
 * without a message.
 */
COPPICE_API int coppice_get_many(struct coppice_state *state,
                                 struct coppice_get *gets, size_t count);

enum coppice_type {
	COPPICE_FILE = 1,
	COPPICE_DIRECTORY,
	COPPICE_SYMLINK,
	COPPICE_OTHER, /* a device, FIFO or socket */
};
struct coppice_stat {
	size_t size;
	enum coppice_type type;
	uint32_t mode; /* as st_mode */
	uint32_t uid, gid;
	uint32_t links;
	uint64_t number; /* of the inode; the same in every state */
	uint64_t bytes;  /* length; of a directory: number of entries */
	int64_t modified, changed, born; /* nanoseconds since 1970 */
};
/* Return the attributes of a file or directory.  "" is the root. */
COPPICE_API int coppice_stat(struct coppice_state *state, const char *path,
                             struct coppice_stat *ret_stat);

enum coppice_scan_flags {
	COPPICE_SORTED = 1, /* in the order of the names' bytes */
};
struct coppice_entry {
	size_t size;
	enum coppice_type type;
	uint64_t number;  /* of the inode */
	const char *name; /* valid until the next call with the scan */
};
/*
 * Begin to list a directory: the entries whose names begin with `prefix`, or
 * all of them if it is NULL.  Entries that are made or removed meanwhile may be
 * included or not; with COPPICE_SORTED, the entries are those of this moment,
 * unless another process may change the fork.  The state must stay open as long
 * as the scan is.
 */
COPPICE_API int coppice_scan_open(struct coppice_state *state, const char *path,
                                  const char *prefix, unsigned flags,
                                  struct coppice_scan **ret_scan);
/* Return 1 and the next entry, or 0 if there are no more. */
COPPICE_API int coppice_scan_next(struct coppice_scan *scan,
                                  struct coppice_entry *ret_entry);
COPPICE_API void coppice_scan_close(struct coppice_scan *scan); /* or NULL */

/* ---- Batches ------------------------------------------------------------ */

enum coppice_batch_flags {
	COPPICE_PARENTS =
	        1, /* make the directories of a path that are missing */
	COPPICE_RECURSIVE = 2, /* delete a directory with all that is in it */
	COPPICE_LENIENT = 4, /* accept that a path to delete is missing, or that
	                        a directory to make exists */
};

/*
 * Begin a batch.  Nothing is changed before coppice_batch_commit().  One batch
 * can change several forks.  Operations on one fork are done in the order in
 * which they were added.  The handle of a fork may be closed after its last
 * operation was added, before the commit.
 */
COPPICE_API int coppice_batch_new(struct coppice *store,
                                  struct coppice_batch **ret_batch);
/*
 * Set the attributes of the files and directories that the following operations
 * make.  The defaults are the process's user and group, 0644 and 0755.  The
 * commit fails with -EPERM if a process that is not root gives files to others.
 * -EINVAL: a mode has other bits than 07777.
 */
COPPICE_API int coppice_batch_attributes(struct coppice_batch *batch, uid_t uid,
                                         gid_t gid, mode_t file_mode,
                                         mode_t directory_mode);
/*
 * Replace the content of a file by a value.  The file is made if it is missing.
 * The value is copied.  Flags: COPPICE_PARENTS.
 */
COPPICE_API int coppice_batch_put(struct coppice_batch *batch,
                                  struct coppice_state *fork, const char *path,
                                  const void *value, size_t size,
                                  unsigned flags);
/*
 * Delete a file or an empty directory.  Flags: COPPICE_RECURSIVE,
 * COPPICE_LENIENT.
 */
COPPICE_API int coppice_batch_delete(struct coppice_batch *batch,
                                     struct coppice_state *fork,
                                     const char *path, unsigned flags);
/*
 * Rename a file or directory within a fork; a file of the new name, or an empty
 * directory, is replaced.  Flags: COPPICE_PARENTS.
 */
COPPICE_API int coppice_batch_rename(struct coppice_batch *batch,
                                     struct coppice_state *fork,
                                     const char *path, const char *to,
                                     unsigned flags);
/* Make a directory.  Flags: COPPICE_PARENTS, COPPICE_LENIENT. */
COPPICE_API int coppice_batch_mkdir(struct coppice_batch *batch,
                                    struct coppice_state *fork,
                                    const char *path, unsigned flags);

enum coppice_commit_flags {
	/*
	 * Return when the changes are durable.  Other processes that read the
	 * store may see them a little later, but not after coppice_sync() has
	 * returned.
	 */
	COPPICE_DURABLE = 1,
};
/*
 * Make all changes of the batch in one step.  snapshot is the name of a
 * snapshot that each fork of the batch gets in the same step, or NULL for none.
 * A batch without operations has no fork, and does nothing.  Afterwards the
 * batch is empty and can be filled again.  After an error nothing has changed,
 * and the batch is as it was, with one exception: if the changes were made but
 * cannot be made durable, the error is that of coppice_sync() and the batch is
 * empty.
 */
COPPICE_API int coppice_batch_commit(struct coppice_batch *batch,
                                     unsigned flags, const char *snapshot);
/* Release a batch, and drop changes that were not committed.  Takes NULL. */
COPPICE_API void coppice_batch_discard(struct coppice_batch *batch);

/* ---- Comparing and joining ---------------------------------------------- */

enum coppice_change {
	COPPICE_ADDED = '+',
	COPPICE_REMOVED = '-',
	COPPICE_MODIFIED = 'M',
	COPPICE_RENAMED = 'R',
};
struct coppice_difference {
	size_t size;
	enum coppice_change change;
	enum coppice_type
	        type;     /* of the file in b, or in a if it was removed */
	const char *path; /* of the file in b, or in a if it was removed */
	const char *from; /* of a renamed file: its path in a; else NULL */
	uint64_t number;  /* of the inode */
	uint64_t old_bytes, new_bytes; /* lengths; 0: not in that state */
};
/*
 * Call fn with each file that differs between two states of one store.  The
 * cost depends on what differs, not on the size of the states.  A nonzero
 * result of fn ends the comparison and is returned.  -EOPNOTSUPP: a state is a
 * fork that another process may change.
 */
COPPICE_API int coppice_diff(struct coppice_state *a, struct coppice_state *b,
                             int (*fn)(void *arg,
                                       const struct coppice_difference *what),
                             void *arg);

enum coppice_join_flags {
	COPPICE_DRY_RUN = 1, /* find the conflicts, and change nothing */
	COPPICE_OURS = 2,    /* decide each conflict for the fork */
	COPPICE_THEIRS = 4,  /* decide each conflict for the other state */
};
/*
 * Join a state into a fork by a three-way merge, in one step; see
 * coppice-join(1).  *ret_conflicts (may be NULL) is the number of files in
 * conflict, even after an error.  -EEXIST: there are conflicts, and nothing was
 * changed; -ENODATA: the two have no version in common.
 */
COPPICE_API int coppice_join(struct coppice *store, const char *from,
                             const char *into, unsigned flags,
                             uint64_t *ret_conflicts);

#ifdef __cplusplus
}
#endif

#endif
