/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "handlers_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

#include "util.h"

/* A request that waits for a lock.  It has a reference to the session. */
struct waiting {
	fuse_req_t req;
	fuse_ino_t ino;
};

static struct lock_table *request_locks(fuse_req_t req)
{
	return request_session(req)->mounts->locks;
}

/* Return the requested lock, for all of the file. */
static struct file_lock lock_param(fuse_req_t req,
                                   const struct fuse_file_info *fi)
{
	return (struct file_lock){
	        .last = UINT64_MAX,
	        .owner = {request_session(req)->id, fi->lock_owner},
	        .handle = fi->fh,
	};
}

/* Set *lock to a lock of fcntl(2), with offsets from the file's start. */
static int range_param(struct file_lock *lock, const struct flock *range)
{
	switch (range->l_type) {
	case F_RDLCK:
		lock->type = FILE_LOCK_SHARED;
		break;
	case F_WRLCK:
		lock->type = FILE_LOCK_EXCLUSIVE;
		break;
	case F_UNLCK:
		lock->type = FILE_LOCK_NONE;
		break;
	default:
		return -EINVAL;
	}
	if (range->l_start < 0 || range->l_len < 0 ||
	    (range->l_len && range->l_start > INT64_MAX - (range->l_len - 1)))
		return -EINVAL;
	lock->first = (uint64_t)range->l_start;
	lock->last = range->l_len ? lock->first + (uint64_t)range->l_len - 1
	                          : INT64_MAX;
	lock->pid = range->l_pid;
	return 0;
}

static struct flock range_of(const struct file_lock *lock)
{
	static const short types[] = {
	        [FILE_LOCK_NONE] = F_UNLCK,
	        [FILE_LOCK_SHARED] = F_RDLCK,
	        [FILE_LOCK_EXCLUSIVE] = F_WRLCK,
	};

	return (struct flock){
	        .l_type = types[lock->type],
	        .l_whence = SEEK_SET,
	        .l_start = (off_t)lock->first,
	        .l_len = lock->last >= INT64_MAX
	                         ? 0
	                         : (off_t)(lock->last - lock->first + 1),
	        .l_pid = lock->pid,
	};
}

/* Return -ESTALE if the state of the node was deleted. */
static int check_node(fuse_req_t req, node_t node)
{
	struct stat st;

	return fs_getattr(request_session(req)->fs, node, &st);
}

void handle_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                  struct flock *range)
{
	node_t node = session_node(request_session(req), ino);
	struct file_lock lock = lock_param(req, fi), found;
	struct flock reply;
	int err = range_param(&lock, range);

	if (err == 0)
		err = check_node(req, node);
	if (err < 0) {
		reply_result(req, "test a lock of", ino, err);
		return;
	}
	lock_table_test(request_locks(req), node, &lock, &found);
	reply = range_of(&found);
	fuse_reply_lock(req, &reply);
}

/* ---- Requests that wait ------------------------------------------------- */

static void wait_reply(struct waiting *waiting, int err)
{
	struct session *session = request_session(waiting->req);

	reply_result(waiting->req, "lock", waiting->ino, err);
	session_unref(session);
	free(waiting);
}

static void wait_done(void *arg, int err)
{
	wait_reply(arg, err);
}

/*
 * End the waiting of an interrupted request.  The number identifies it, because
 * the request may have been answered and freed.
 */
static void wait_interrupted(fuse_req_t req, void *number)
{
	lock_table_cancel(request_locks(req), (uintptr_t)number, -EINTR);
}

/* Set the lock, or let the request be answered when the lock is set. */
static void lock_wait(fuse_req_t req, fuse_ino_t ino, node_t node,
                      const struct file_lock *lock)
{
	struct lock_table *table = request_locks(req);
	struct waiting *waiting = malloc(sizeof(*waiting));
	uint64_t number;
	int result;

	if (!waiting) {
		reply_result(req, "lock", ino, -ENOLCK);
		return;
	}
	*waiting = (struct waiting){req, ino};
	session_ref(request_session(req));
	result = lock_table_wait(table, node, lock, &number);
	if (result == 1) {
		/* locks_fail_gone() may have come before the request. */
		result = check_node(req, node);
		if (result < 0)
			lock_table_cancel(table, number, result);
		fuse_req_interrupt_func(req, wait_interrupted,
		                        (void *)(uintptr_t)number);
		/* If this returns 1, the request may be freed already. */
		result = lock_table_arm(table, number, wait_done, waiting);
	}
	if (result != 1)
		wait_reply(waiting, result);
}

static void lock_set(fuse_req_t req, fuse_ino_t ino,
                     const struct file_lock *lock, bool wait)
{
	node_t node = session_node(request_session(req), ino);
	int err = lock->type == FILE_LOCK_NONE ? 0 : check_node(req, node);

	if (err == 0 && wait) {
		lock_wait(req, ino, node, lock);
		return;
	}
	if (err == 0)
		err = lock_table_set(request_locks(req), node, lock);
	reply_result(req, "lock", ino, err);
}

void handle_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                  struct flock *range, int wait)
{
	struct file_lock lock = lock_param(req, fi);
	int err = range_param(&lock, range);

	if (err < 0)
		reply_result(req, "lock", ino, err);
	else
		lock_set(req, ino, &lock, wait);
}

void handle_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                  int op)
{
	struct file_lock lock = lock_param(req, fi);

	lock.flock = true;
	switch (op & ~LOCK_NB) {
	case LOCK_SH:
		lock.type = FILE_LOCK_SHARED;
		break;
	case LOCK_EX:
		lock.type = FILE_LOCK_EXCLUSIVE;
		break;
	case LOCK_UN:
		lock.type = FILE_LOCK_NONE;
		break;
	default:
		reply_result(req, "lock", ino, -EINVAL);
		return;
	}
	lock_set(req, ino, &lock, !(op & LOCK_NB));
}

void handle_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct session *session = request_session(req);
	struct file_lock_owner owner = {session->id, fi->lock_owner};

	if (session->store_locks)
		lock_table_drop_owner(session->mounts->locks,
		                      session_node(session, ino), &owner);
	fuse_reply_err(req, session->store_locks ? 0 : ENOSYS);
}
