/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Invalidations of other mounts' caches after a change.  Part of coherence.h.
 * All functions are called with mounts.policy held; those that read a session's
 * pending invalidations need coherence.lock, too.
 */
#ifndef COPPICE_INVAL_H
#define COPPICE_INVAL_H

#include "coherence.h"

struct deferred;

enum {
	INVALS_LONG = 1000,  /* pending in a session; with more, none waits */
	INVALS_MAX = 100000, /* pending in a session; no more are added */
};

enum inval_kind {
	INVAL_PAGES,
	INVAL_ATTRS,
	INVAL_NAME,
	INVAL_SIZE,  /* the file is at least as long as off + 1 */
	INVAL_STATE, /* pages of all open nodes of the node's state */
};

/* A notification to a session. */
struct inval {
	struct notifier_job job;
	struct inval *next;      /* in the list of `struct invals` */
	struct session *session; /* with a reference */
	/* Guarded by coherence.lock once posted: from here to len. */
	struct waiter *waiters;
	struct inval *older, *newer; /* pending ones of the session */
	int64_t posted;              /* mono_ns() */
	bool started;
	enum inval_kind kind;
	bool names; /* queued in the notifier for names */
	bool first; /* see changes.own_first; never merged with others */
	/* The deferred reply whose request holds no lock that this needs. */
	const struct deferred *spares;
	/*
	 * INVAL_NAME: make the kernel look the name up again, but keep mounts
	 * below it.  A removed name is deleted from the kernel's cache instead:
	 * a lookup reply that was sent before the change and renews the entry
	 * would undo an expiry.
	 */
	bool expire;
	node_t node; /* INVAL_NAME: the parent; 0: needs no lock */
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
 * pending invalidation that covers a change.
 */
struct invals {
	struct inval *first, **last;
	struct waiter *waiters;
};

/* The last byte of a file. */
struct tail {
	uint64_t off; /* of the last byte */
	uint8_t byte;
	bool valid;
};

/*
 * Read the last byte of a changed file, if a kernel that has the file open may
 * have to be notified of a greater size.  coherence.lock NOT held.
 */
struct tail inval_tail(const struct changes *changes,
                       const struct change_node *change);
/*
 * Add the invalidations that the changes require.  tails: one for each changed
 * node.
 */
void inval_collect(struct invals *invals, const struct changes *changes,
                   const struct tail *tails);
/*
 * Add invalidations of the open nodes of deleted states, if changes->gone, and
 * of the symlinks to states, if changes->links.
 */
void inval_collect_states(struct invals *invals, const struct changes *changes);
/* Send the notification. */
void inval_notify(const struct inval *inval, int fd);

/*
 * Invalidate the attributes of all nodes of deleted states in the session's
 * kernel.  No lock held.  Returns 0.
 */
int inval_forget_gone(void *arg, struct session *session);

#endif
