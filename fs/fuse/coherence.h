/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Cache coherence between the mounts of a store.
 *
 * Each mount's kernel caches attributes, names and pages for an unlimited time;
 * lookups.h and negative.h record what it may have cached.  A handler lists the
 * changes it has made in a `struct changes`.  The other mounts' kernels drop
 * the changed parts from their caches before the request is answered, so that
 * after a call in one mount has returned, no other mount shows stale data.
 *
 * An invalidation waits in the kernel for the page locks and directory locks
 * that it needs, and some requests hold such locks until they are answered.
 * Deadlocks are excluded by these rules:
 *
 *   1. A deferred reply names the nodes whose locks its own kernel may hold.
 *   2. When an invalidation of a node in a mount is posted, the deferred
 *      replies of that mount which name the node are sent at once.
 *   3. While such an invalidation is pending, a reply of that mount which names
 *      the node is not deferred.  The invalidation of a deleted state counts
 *      as one of each of its nodes but the root, which is a directory.
 *   4. At most BACKGROUND_MAX deferred replies of a mount are to background
 *      requests, whose number under way the kernel limits.
 *   5. No reply is deferred for longer than DEFER_MAX_NS.  This bounds the
 *      delay by a process that holds a lock for ever, or by locks that system
 *      calls have taken crosswise before their requests.
 *
 * Rules 2 and 3 do not apply to an invalidation that leaves out the pages which
 * the request of the reply holds: see changes.own_first.
 *
 * A reply is sent early (2, 3, 4) only if the same node is changed through
 * another mount at the same time; the other mounts' caches are then invalidated
 * a moment after the reply.
 *
 * Known weaknesses:
 *
 * - Until a call that removes or moves a name has returned, other mounts may
 *   still reach the inode by that name.
 * - The kernel applies the size in a reply to SETATTR or LINK some time after
 *   it has received the reply, ignoring notifications in between.  If the file
 *   was made longer through another mount meanwhile, the size of the INVAL_SIZE
 *   is replaced by the older size.  Such attributes are not cached
 *   (unordered_timeout() in handlers.c): the next stat(2), or read beyond that
 *   size, requests new ones, but the use of a mapping does not.  Waiting for
 *   the inode's lock would order the two, but no notification does that in all
 *   kernels.
 * - No notification reduces the kernel's size of a file: a read(2) within the
 *   old size does not request the attributes, but relies on the short replies
 *   to its READs.  READs ahead beyond the end are refused (misses_end() in
 *   handlers_file.c), except of a single page, which a process may wait for.
 * - If another mount has changed the file's size, an append that is not direct
 *   is written at another offset than the kernel requested.  If the file is
 *   shorter than the kernel assumes, its pages are invalidated before the reply
 *   (own_first() in handlers_file.c), unless that takes too long.  After the
 *   reply, a READ beyond the file's end during the invalidation would not
 *   correct the size, and zeros would be read there.
 */
#ifndef COPPICE_COHERENCE_H
#define COPPICE_COHERENCE_H

#include "session.h"

enum { CHANGES_NODES = 6, CHANGES_NAMES = 2 };

/* The changes that one request made.  Names are the caller's. */
struct changes {
	struct mounts *mounts;
	struct session *session; /* of the request; NULL: the control socket */
	bool own;                /* invalidate in that session, too */
	bool own_pages;          /* the same for pages alone */
	bool own_size;           /* the file's end is wrong there, too */
	/*
	 * own: invalidate in that session before the reply.  The range from
	 * held to held_end is left out: the kernel holds these pages until it
	 * has the reply, but has nothing cached in them.
	 */
	bool own_first;
	uint64_t held, held_end; /* multiples of the page size */
	bool hasty; /* other pages may be held, too: defer the reply briefly */
	bool unlocked;   /* its kernel holds no page or directory lock */
	bool background; /* its kernel counts it as a background request */
	bool barrier;    /* no change: wait for pending invalidations */
	bool gone;       /* states were deleted */
	bool links;      /* symlinks to states may have other targets */
	bool fresh;      /* the names are new: see inval.h, expire */
	unsigned node_count, name_count;
	struct change_node {
		node_t node;
		bool data;         /* bytes changed; else attributes alone */
		uint64_t off, len; /* of the bytes; len 0: to the end */
	} nodes[CHANGES_NODES];
	struct change_name {
		node_t parent;
		node_t child; /* the node that it named or names; 0: none */
		const char *name;
	} names[CHANGES_NAMES];
};

/* Add a node whose attributes, xattrs or ACLs changed.  0 is ignored. */
void changes_attrs(struct changes *changes, node_t node);
/* Add a file whose bytes changed, and its attributes with them. */
void changes_data(struct changes *changes, node_t node, uint64_t off,
                  uint64_t len);
/*
 * Add a name that was added, was removed, or names another node.  Includes the
 * change of the parent's attributes, but not of the child's.
 */
void changes_name(struct changes *changes, node_t parent, const char *name,
                  node_t child);

/*
 * Invalidate what the other sessions' kernels may have cached of the changes.
 * Return false if there is nothing to wait for.  Otherwise run(copy of arg) is
 * called once, from any thread, possibly before this function returns: when the
 * invalidations are done, or at once if the rules above require it.
 * mounts.policy held to read.
 */
bool coherence_announce(const struct changes *changes, void (*run)(void *arg),
                        const void *arg, size_t size);
/*
 * The same, but return when the invalidations are done.  Called by threads of
 * the control socket.
 */
void coherence_announce_wait(struct changes *changes);

/*
 * Return the number of changes made through other sessions.  If the number is
 * the same before a lookup and after lookups_add(), the reply may be cached;
 * otherwise a change in between may not have found the node in the session's
 * lookup table.
 */
uint64_t coherence_epoch(struct session *session);

/* Send all deferred replies of the session. */
void coherence_release(struct session *session);

/* Start the threads that send replies and forget states.  -ENOMEM, -EAGAIN. */
int coherence_create(struct mounts *mounts, struct coherence **ret_coherence);
/* Free it; all sessions have ended.  Takes NULL. */
void coherence_destroy(struct coherence *coherence);

#endif
