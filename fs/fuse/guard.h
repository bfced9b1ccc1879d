/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guard: a process that ends the mounts when the daemon is killed.
 *
 * A connection ends when the last descriptor of its device is closed.  A
 * notifier (notifier.h) that is killed while it waits in the kernel keeps its
 * descriptor open, and may wait for a request that no thread is left to read: a
 * WRITE of a page to be invalidated, for example.  Neither the process nor the
 * mount would ever end.
 *
 * The guard is forked before the store is opened.  It has a clone of each
 * mount's device and one end of a socket whose other end only the daemon has.
 * The guard sleeps while the daemon lives.  When the socket is closed, it
 * refuses all requests with ENOTCONN until the daemon's last thread has ended,
 * and exits, which closes the last descriptors.  The guard needs no privilege,
 * and reaches mounts in any namespace.
 *
 * The requests that the daemon had read and not answered end by themselves: the
 * device that they were read from is closed with the workers' table of
 * descriptors, which the notifiers do not share.
 */
#ifndef COPPICE_GUARD_H
#define COPPICE_GUARD_H

#include <stdbool.h>
#include <stdint.h>

struct guard;

/*
 * Fork the guard of the store, whose path ps(1) shows.  Call it before the
 * process has other threads or the store open.  Return 0 or a negative errno.
 */
int guard_create(const char *store, struct guard **ret_guard);
/*
 * Free it.  The guard's process ends now or, if mounts are left, with the
 * daemon's process.  Takes NULL.
 */
void guard_destroy(struct guard *guard);

/*
 * Give the guard a clone of the device `fd`.  Return false if the mount stays
 * without a guard; then guard_remove() must not be called.  Takes NULL.
 */
bool guard_add(struct guard *guard, uint64_t session, int fd);
/*
 * Make the guard close the session's clone, and return when it has done so.  A
 * guard that does not answer is killed, so that it never keeps a connection
 * open.
 */
void guard_remove(struct guard *guard, uint64_t session);

/*
 * Return a descriptor whose poll(2) reports POLLHUP when the guard has ended;
 * -1: there is no guard.  Takes NULL.
 */
int guard_poll_fd(struct guard *guard);
/* Log, once, that the guard has ended. */
void guard_lost(struct guard *guard);

#endif
