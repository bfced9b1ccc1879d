/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A queue of jobs and the thread that runs them. */
#include "notifier.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include "util.h"

struct notifier {
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t posted;
	struct notifier_job *first;
	struct notifier_job **last;
	bool ending;
	pthread_t thread;
};

static void *notifier_main(void *arg)
{
	struct notifier *notifier = arg;

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
		job->run(job);
		pthread_mutex_lock(&notifier->lock);
	}
	pthread_mutex_unlock(&notifier->lock);
	return NULL;
}

int notifier_create(struct notifier **ret_notifier)
{
	struct notifier *notifier = calloc(1, sizeof(*notifier));
	int err;

	if (!notifier)
		return -ENOMEM;
	pthread_mutex_init(&notifier->lock, NULL);
	pthread_cond_init(&notifier->posted, NULL);
	notifier->last = &notifier->first;
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
