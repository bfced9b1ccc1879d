/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The locks of all files, for several mounts of the same files, and the
 * requests that wait for a lock.  The table is kept in memory only.  Files are
 * identified by their node numbers.  A part of fs.h: include that.
 *
 * A request that cannot be granted fails or waits.  After each change of a
 * file's locks, the requests that wait for the file are checked in the order of
 * their arrival: those that conflict with no lock are granted.  An fcntl
 * request fails with -EDEADLK if its owner would wait for itself, directly or
 * through other waiting owners.
 *
 * All functions may be called from any thread.
 */
#ifndef COPPICE_LOCK_TABLE_H
#define COPPICE_LOCK_TABLE_H

#include "file_lock.h"

struct lock_table;

/* Locks and waiting requests of all mounts together; more fail with -ENOLCK. */
enum { LOCK_TABLE_MAX = 1 << 18 };

int lock_table_create(struct lock_table **ret_table); /* -ENOMEM */
/*
 * Free the table, in which no lock is set and no request waits any more: see
 * lock_table_drop_mount().  Takes NULL.
 */
void lock_table_destroy(struct lock_table *table);

/*
 * Return in *ret_found the conflicting lock that begins first.  Its type is
 * FILE_LOCK_NONE if `lock` could be set.
 */
void lock_table_test(struct lock_table *table, uint64_t node,
                     const struct file_lock *lock, struct file_lock *ret_found);
/*
 * Set the lock, or remove it (FILE_LOCK_NONE).  -EAGAIN: another lock conflicts
 * with it; the owner then loses a flock lock of another type, as in Linux.
 * -ENOLCK: too many locks, or no memory; nothing has changed.
 */
int lock_table_set(struct lock_table *table, uint64_t node,
                   const struct file_lock *lock);

/*
 * Set the lock, or wait for it.  Return 0: it is set; 1: the request waits
 * under the number *ret_wait; -EDEADLK, -ENOLCK.  The caller of a request that
 * waits calls lock_table_arm() next, exactly once.
 */
int lock_table_wait(struct lock_table *table, uint64_t node,
                    const struct file_lock *lock, uint64_t *ret_wait);
/*
 * Let done(arg, err) be called once, when the request is granted (err is 0) or
 * has failed: by any thread, without locks held, possibly before this function
 * returns.  Return 1; or, if the request has ended since lock_table_wait(), its
 * err (0 or negative) without calling done().
 */
int lock_table_arm(struct lock_table *table, uint64_t wait,
                   void (*done)(void *arg, int err), void *arg);
/* Fail a waiting request with err.  No effect if the request has ended. */
void lock_table_cancel(struct lock_table *table, uint64_t wait, int err);

/* Remove the fcntl locks that the owner has on the file. */
void lock_table_drop_owner(struct lock_table *table, uint64_t node,
                           const struct file_lock_owner *owner);
/* Remove all locks of the file that were set through this open file. */
void lock_table_drop_handle(struct lock_table *table, uint64_t node,
                            uint64_t mount, uint64_t handle);
/* Remove all locks of the mount, and fail its requests with -ENOTCONN. */
void lock_table_drop_mount(struct lock_table *table, uint64_t mount);

/*
 * Return the nodes that requests wait for, in an array that the caller frees.
 * -ENOMEM
 */
int lock_table_waited(struct lock_table *table, uint64_t **ret_nodes,
                      size_t *ret_count);
/* Fail all requests that wait for the node. */
void lock_table_fail(struct lock_table *table, uint64_t node, int err);

#endif
