/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A queue of jobs and the thread that runs them. */
#include "notifier.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "device.h"
#include "util.h"

struct notifier {
	pthread_mutex_t lock; /* guards the fields below, up to `ending` */
	pthread_cond_t posted;
	struct notifier_job *first;
	struct notifier_job **last;
	bool ending;
	int fd; /* the device, in the other threads' table */
	pthread_t thread;
};

enum { OWN_FD = 3 }; /* after the standard streams */

/*
 * Give the thread its own table of descriptors.  Return the descriptor to write
 * to; on failure, the session's.
 */
static int leave_descriptors(int fd)
{
	int own;

	if (unshare(CLONE_FILES) < 0)
		return fd;
	own = device_clone(fd);
	if (own < 0)
		own = fd;
	if (own != OWN_FD) {
		if (dup3(own, OWN_FD, O_CLOEXEC) < 0)
			return own;
		if (own != fd)
			close(own);
	}
	if (close_range(OWN_FD + 1, ~0U, 0) < 0)
		close(fd);
	return OWN_FD;
}

static void *notifier_main(void *arg)
{
	struct notifier *notifier = arg;
	int fd = leave_descriptors(notifier->fd);

	pthread_setname_np(pthread_self(), "notifier");
	pthread_mutex_lock(&notifier->lock);
	for (;;) {
		struct notifier_job *job = notifier->first;

		if (!job && notifier->ending)
			break;
		if (!job) {
			pthread_cond_wait(&notifier->posted, &notifier->lock);
			continue;
		}
		notifier->first = job->next;
		if (!notifier->first)
			notifier->last = &notifier->first;
		pthread_mutex_unlock(&notifier->lock);
		job->run(job, fd);
		pthread_mutex_lock(&notifier->lock);
	}
	pthread_mutex_unlock(&notifier->lock);
	return NULL;
}

int notifier_create(int fd, struct notifier **ret_notifier)
{
	struct notifier *notifier = calloc(1, sizeof(*notifier));
	int err;

	if (!notifier)
		return -ENOMEM;
	pthread_mutex_init(&notifier->lock, NULL);
	pthread_cond_init(&notifier->posted, NULL);
	notifier->last = &notifier->first;
	notifier->fd = fd;
	err = pthread_create(&notifier->thread, NULL, notifier_main, notifier);
	if (err) {
		pthread_cond_destroy(&notifier->posted);
		pthread_mutex_destroy(&notifier->lock);
		free(notifier);
		return -err;
	}
	*ret_notifier = notifier;
	return 0;
}

void notifier_destroy(struct notifier *notifier)
{
	if (!notifier)
		return;
	pthread_mutex_lock(&notifier->lock);
	notifier->ending = true;
	pthread_cond_signal(&notifier->posted);
	pthread_mutex_unlock(&notifier->lock);
	pthread_join(notifier->thread, NULL);
	pthread_cond_destroy(&notifier->posted);
	pthread_mutex_destroy(&notifier->lock);
	free(notifier);
}

void notifier_post(struct notifier *notifier, struct notifier_job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&notifier->lock);
	*notifier->last = job;
	notifier->last = &job->next;
	pthread_cond_signal(&notifier->posted);
	pthread_mutex_unlock(&notifier->lock);
}
