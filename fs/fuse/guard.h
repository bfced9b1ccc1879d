/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The guard: a process that ends the mounts when the daemon is killed.
 *
 * A connection ends when the last descriptor of its device is closed.  A
 * notifier that is killed while it waits in the kernel keeps its descriptor
 * open, and it may wait for a request that no thread is left to read: a WRITE
 * of a page that it is about to invalidate, for example.  Neither the process
 * nor the mount would ever end.
 *
 * The guard is forked before the store is opened.  It has a clone of each
 * mount's device and one end of a socket whose other end only the daemon has.
 * The guard sleeps while the daemon lives.  When the socket is closed, it
 * refuses all requests with ENOTCONN until the daemon's last thread has ended,
 * and exits, which closes the last descriptors.  It needs no privilege, and
 * finds the mounts whatever namespace they are in.
 *
 * The requests that the daemon had read and not answered end by themselves: the
 * device that they were read from is closed with the table of descriptors that
 * the notifiers do not share.
 */
#ifndef COPPICE_GUARD_H
#define COPPICE_GUARD_H

#include <stdbool.h>
#include <stdint.h>

struct guard;

/*
 * Fork the guard of the store, whose path is shown as its name.  Called before
 * the process has other threads or the store open.  -errno.
 */
int guard_create(const char *store, struct guard **ret_guard);
/*
 * Free it.  The guard's process ends with this, or, if there are mounts left,
 * with the daemon's.  Takes NULL.
 */
void guard_destroy(struct guard *guard);

/*
 * Give the guard a clone of the device.  Return false if the mount goes
 * without; guard_remove() is not called then.  Takes NULL.
 */
bool guard_add(struct guard *guard, uint64_t session, int fd);
/*
 * Have its clone closed, and return when it is.  A guard that does not answer
 * is killed, so that it never keeps a connection open.
 */
void guard_remove(struct guard *guard, uint64_t session);

/*
 * Return a descriptor whose poll(2) reports POLLHUP when the guard has ended;
 * -1: there is no guard.  Takes NULL.
 */
int guard_poll_fd(struct guard *guard);
/* Log that it has ended, once. */
void guard_lost(struct guard *guard);

#endif
