/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The locks of all files, for several mounts of the same files, and the
 * requests that wait for one.  They are in memory alone.  Files are named by
 * their node numbers.  A part of fs.h: include that.
 *
 * A request that cannot be granted fails or waits.  After each change of a
 * file's locks, the requests that wait for that file are looked at in the order
 * of their arrival: one that conflicts with no lock is granted.  A request of
 * fcntl that would wait for itself, through locks whose owners wait, fails with
 * -EDEADLK; so no circle of owners that wait for each other ever exists.
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
/* Free the table.  Nothing waits any more.  Takes NULL. */
void lock_table_destroy(struct lock_table *table);

/*
 * Return in *ret_found the conflicting lock that begins first; of type
 * FILE_LOCK_NONE if this lock could be set.
 */
void lock_table_test(struct lock_table *table, uint64_t node,
                     const struct file_lock *lock, struct file_lock *ret_found);
/*
 * Set the lock, or remove it (FILE_LOCK_NONE).  -EAGAIN: another one conflicts
 * with it.  A flock lock of another type is lost then, as in Linux; anything
 * else is unchanged after an error.  -ENOLCK: too many locks, or no memory.
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
 * Let done(arg, err) be called, once, when the request has been granted (err is
 * 0) or has failed: by any thread, without locks held, possibly before this
 * returns.  Return 1; or, if it has ended since lock_table_wait(), the 0 or
 * negative err, and done() is not called.
 */
int lock_table_arm(struct lock_table *table, uint64_t wait,
                   void (*done)(void *arg, int err), void *arg);
/* Fail a waiting request with err.  One that has ended is ignored. */
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
