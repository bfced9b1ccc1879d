/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One thread that tells kernels to forget what they cached.  A notification
 * may have to wait for requests that are under way, so that a thread which
 * handles requests must never send one: it posts a job here instead.
 */
#ifndef COPPICE_NOTIFIER_H
#define COPPICE_NOTIFIER_H

struct notifier;

/* Part of a larger struct, which run() frees. */
struct notifier_job {
	struct notifier_job *next;
	void (*run)(struct notifier_job *job);
};

/* -ENOMEM, -EAGAIN */
int notifier_create(struct notifier **ret_notifier);
/* Runs what was posted, then ends the thread.  Takes NULL. */
void notifier_destroy(struct notifier *notifier);
void notifier_post(struct notifier *notifier, struct notifier_job *job);

#endif
