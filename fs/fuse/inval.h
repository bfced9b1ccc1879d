/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Invalidations of what other mounts' kernels may have cached of something that
 * changed.  Part of coherence.h; everything here is called with
 * mounts.policy held, and what reads a session's pending invalidations with
 * coherence.lock, too.
 */
#ifndef COPPICE_INVAL_H
#define COPPICE_INVAL_H

#include "coherence.h"

struct deferred;

enum {
	INVALS_LONG = 1000,  /* pending in a session: it is not waited for */
	INVALS_MAX = 100000, /* no more are added */
};

enum inval_kind {
	INVAL_PAGES,
	INVAL_ATTRS,
	INVAL_NAME,
	INVAL_SIZE, /* the file is at least as long as off + 1 */
};

/* One notification to one session. */
struct inval {
	struct notifier_job job;
	struct inval *next;      /* in the list that was collected */
	struct session *session; /* with a reference */
	/* guarded by coherence.lock once it is posted, up to len */
	struct waiter *waiters;
	struct inval *older, *newer; /* pending ones of the session */
	int64_t posted;              /* mono_ns() */
	bool started;
	enum inval_kind kind;
	bool names; /* it goes through that queue */
	/*
	 * INVAL_NAME: look the name up anew, and leave alone what is mounted
	 * below it.  A name that went is removed from the kernel's cache
	 * instead: the answer to a lookup that renews the entry, sent before
	 * the change, would undo an expiry after it.
	 */
	bool expire;
	node_t node; /* INVAL_NAME: the parent; 0: nothing it may wait for */
	uint64_t off, len;
	uint8_t byte; /* INVAL_SIZE: the one at off */
	char name[];
};

/* A reply that waits for an invalidation. */
struct waiter {
	struct waiter *next;
	struct inval *inval;
	struct deferred *deferred; /* with a reference */
};

/*
 * Invalidations to be posted, and a waiter for each of them and for each
 * pending one that serves as well.
 */
struct invals {
	struct inval *first, **last;
	struct waiter *waiters;
};

/* Where a file ends. */
struct tail {
	uint64_t off; /* of the last byte */
	uint8_t byte;
	bool valid;
};

/*
 * Read where the file of a change ends, if a kernel that has it open may have
 * to learn that it is longer.  coherence.lock NOT held.
 */
struct tail inval_tail(const struct changes *changes,
                       const struct change_node *change);
/* Add what the changes make necessary; tails: one of each changed node. */
void inval_collect(struct invals *invals, const struct changes *changes,
                   const struct tail *tails);
/*
 * Add what is open of deleted states, or the symlinks to states, if the changes
 * are of that kind.
 */
void inval_collect_states(struct invals *invals, const struct changes *changes);
/* Send the notification. */
void inval_notify(const struct inval *inval, int fd);

/*
 * Make the session's kernel forget the attributes of all it has of deleted
 * states.  No lock held.  Returns 0.
 */
int inval_forget_gone(void *arg, struct session *session);

#endif
