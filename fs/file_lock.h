/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Advisory locks of files, as flock(2) and fcntl(2) set them, and the list of
 * those that are set on one file.  The locks of all files are in lock_table.h.
 *
 * A lock belongs to an owner.  The locks of one owner do not conflict with each
 * other; a new one replaces the owner's locks in its range.  A lock of flock
 * never conflicts with one of fcntl.
 */
#ifndef COPPICE_FILE_LOCK_H
#define COPPICE_FILE_LOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum file_lock_type { FILE_LOCK_NONE, FILE_LOCK_SHARED, FILE_LOCK_EXCLUSIVE };

struct file_lock_owner {
	uint64_t mount;
	uint64_t id; /* unique within the mount and the kind of lock */
};

struct file_lock {
	bool flock; /* of flock(2), else of fcntl(2) */
	enum file_lock_type type;
	uint64_t first, last; /* bytes, both included; flock: 0, UINT64_MAX */
	struct file_lock_owner owner;
	uint64_t handle; /* the mount's number of the open file; not 0 */
	pid_t pid;       /* of the process that requested it */
};

/* Return true if both have the same owner and are of the same kind. */
bool file_lock_same_owner(const struct file_lock *a, const struct file_lock *b);
/* Return true if the two locks cannot be set at the same time. */
bool file_lock_conflicts(const struct file_lock *a, const struct file_lock *b);

/* A lock that is set. */
struct held_lock {
	struct held_lock *next;
	struct file_lock lock;
};

/* The locks that are set on a file. */
struct lock_list {
	struct held_lock *first;
	size_t *total; /* counts the locks of several lists; the caller's */
};

/* Memory for a new lock, and for a part that it splits off another one. */
struct lock_spare {
	struct held_lock *entries[2];
};

/*
 * Return the lock that conflicts with this one and begins first.  NULL: none.
 */
const struct file_lock *lock_list_find(const struct lock_list *list,
                                       const struct file_lock *lock);
/*
 * Allocate the memory that lock_list_set() needs for the lock.  `later`: the
 * list may change before the call.  -ENOLCK: no memory, or there would be more
 * than `max` locks.
 */
int lock_list_prepare(const struct lock_list *list,
                      const struct file_lock *lock, bool later, size_t max,
                      struct lock_spare *ret_spare);
void lock_spare_release(struct lock_spare *spare);
/*
 * Set the lock, which must conflict with none; FILE_LOCK_NONE removes the
 * owner's locks in the range.  Adjacent locks of the same type are joined.
 * Releases the spare.
 */
void lock_list_set(struct lock_list *list, const struct file_lock *lock,
                   struct lock_spare *spare);
/* Remove all locks that `matches` returns true for. */
void lock_list_remove(struct lock_list *list,
                      bool (*matches)(const struct file_lock *lock,
                                      const void *arg),
                      const void *arg);

#endif
