/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Cache coherence between the mounts of a store.
 *
 * Each mount's kernel caches attributes, names and pages for as long as it
 * likes, and known.h and negative.h record what it may have.  A handler that
 * changed something lists it as `struct changes`; the other mounts' kernels are
 * made to forget it before the request is answered, so that nothing is stale in
 * one mount after a call in another has returned.
 *
 * An invalidation waits in the kernel for the page locks and directory locks
 * that it needs, and some requests hold such locks until they are answered.
 * Deadlocks are excluded by these rules:
 *
 *   1. A deferred reply names the nodes whose locks its own kernel may hold.
 *   2. Before an invalidation of a node in a mount is posted, the deferred
 *      replies of that mount which name the node are sent.
 *   3. While such an invalidation is pending, a reply of that mount which names
 *      the node is not deferred.
 *   4. At most BACKGROUND_MAX deferred replies of a mount are to background
 *      requests, of which the kernel has only so many under way.
 *   5. No reply is deferred for longer than DEFER_MAX_NS: a process that holds
 *      a lock for ever, or locks taken crosswise by system calls that have not
 *      sent their requests yet, delay others for so long and no longer.
 *
 * A reply that is sent early (2, 3, 4) is one to a change that was made at the
 * same time as another one of the same node through another mount; what the
 * others have cached is invalidated a moment after it.
 *
 * Known weaknesses:
 *
 * - Until a call that removes or moves a name has returned, other mounts may
 *   still reach the inode by that name.
 * - The kernel applies the size in an answer to SETATTR or LINK after it has
 *   let go of the answer, and without a look at what it was told meanwhile.  If
 *   the file was made longer through another mount in between, INVAL_SIZE comes
 *   first and the older size replaces it.  Such attributes are not kept
 *   (unordered_timeout() in handlers.c): the next stat(2), or read beyond that
 *   size, asks for new ones, but the use of a mapping does not.  To wait for
 *   the inode's lock would order the two; no notification does that in all
 *   kernels.
 */
#ifndef COPPICE_COHERENCE_H
#define COPPICE_COHERENCE_H

#include "session.h"

enum { CHANGES_NODES = 6, CHANGES_NAMES = 2 };

/* The changes that one request made.  Names are the caller's. */
struct changes {
	struct mounts *mounts;
	struct session *session; /* through which; NULL: the control socket */
	bool own;                /* invalidate in that session, too */
	bool own_size;   /* it does not know where the file ends, either */
	bool unlocked;   /* its kernel holds no page or directory lock */
	bool background; /* its kernel counts it as a background request */
	bool barrier;    /* nothing changed: wait for what is pending */
	bool gone;       /* states were deleted */
	bool links;      /* the symlinks to states read differently */
	bool fresh;      /* nothing had the names before: see inval.h, expire */
	unsigned node_count, name_count;
	struct change_node {
		node_t node;
		bool data;         /* bytes; else attributes alone */
		uint64_t off, len; /* of the bytes; len 0: to the end */
	} nodes[CHANGES_NODES];
	struct change_name {
		node_t parent;
		node_t child; /* the node that it named, or names; 0: none */
		const char *name;
	} names[CHANGES_NAMES];
};

/* Add a node whose attributes, xattrs or ACLs changed.  0 is ignored. */
void changes_attrs(struct changes *changes, node_t node);
/* Add a file whose bytes changed, and its attributes with them. */
void changes_data(struct changes *changes, node_t node, uint64_t off,
                  uint64_t len);
/*
 * Add a name that came, went, or has another meaning.  The parent's attributes
 * changed with it; those of the child are not included.
 */
void changes_name(struct changes *changes, node_t parent, const char *name,
                  node_t child);

/*
 * Invalidate what the other sessions' kernels may have cached of it.  Return
 * false if there is nothing to wait for.  Else run(copy of arg) is called once,
 * when the invalidations are done or at once if the rules above want that,
 * possibly before this returns, from any thread.
 * mounts.policy held to read.
 */
bool coherence_announce(const struct changes *changes, void (*run)(void *arg),
                        const void *arg, size_t size);
/* The same, returning when they are done.  By threads of the control socket. */
void coherence_announce_wait(struct changes *changes);

/*
 * Return how many changes came through other sessions.  If it is the same
 * before something is looked up and after lookups_add(), the answer may be
 * cached; a change in between did not find it in the session's table.
 */
uint64_t coherence_epoch(struct session *session);

/* Send all deferred replies of the session. */
void coherence_release(struct session *session);

/* -ENOMEM, -EAGAIN */
int coherence_create(struct mounts *mounts, struct coherence **ret_coherence);
/* No session is left.  Takes NULL. */
void coherence_destroy(struct coherence *coherence);

#endif
