/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread that sends invalidations to a mount's kernel.  Each mount has two:
 * see struct session.
 *
 * A notification waits for requests that hold the locks it needs.  A thread
 * that handles requests must therefore never send one: it posts a job here.
 * Only invalidations of attributes alone wait for nothing.
 *
 * The thread has its own table of descriptors, containing only its own opening
 * of the device (a clone) and the standard streams.  If the process is killed
 * while the thread waits in the kernel, the other threads' device is closed all
 * the same, and the requests that they had read end.  The guard (guard.h)
 * refuses the requests that no thread had read yet.
 */
#ifndef COPPICE_NOTIFIER_H
#define COPPICE_NOTIFIER_H

struct notifier;

/*
 * Part of a larger struct, which run() frees.  run() is called with the
 * descriptor to write the notification to.  No other descriptor is open: run()
 * must neither log nor use the store.
 */
struct notifier_job {
	struct notifier_job *next;
	void (*run)(struct notifier_job *job, int fd);
};

/* Start the thread for the mount of the device `fd`.  -ENOMEM, -EAGAIN. */
int notifier_create(int fd, struct notifier **ret_notifier);
/* Run the posted jobs, then end the thread.  Takes NULL. */
void notifier_destroy(struct notifier *notifier);
/* Add the job to the end of the queue. */
void notifier_post(struct notifier *notifier, struct notifier_job *job);

#endif
