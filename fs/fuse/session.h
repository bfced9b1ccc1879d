/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mounts being served: one session each, and the list of all sessions.  The
 * coherence of their caches is in coherence.h.
 *
 * Locks, in the order they are taken: mounts.policy, mounts.append,
 * coherence.lock, the store's; then, under which no other is taken: those of
 * lookups, negatives, the watchdog, session.lock, notifier.lock and the guard.
 */
#ifndef COPPICE_SESSION_H
#define COPPICE_SESSION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "fs.h"
#include "lookups.h"
#include "loop.h"
#include "negative.h"
#include "notifier.h"
#include "watchdog.h"
#include "protocol.h"

struct fuse_session;
struct fuse_lowlevel_ops;
struct session;
struct mounts;
struct coherence;
struct guard;
struct inval;

/* Parameters of a mount.  The caller owns the strings. */
struct session_params {
	int fd;              /* /dev/fuse; owned by the session on success */
	uint64_t state;      /* state at the mount's root; 0: the whole store */
	uint32_t generation; /* of that state */
	bool state_readonly;
	enum fs_snapdir snapdir;
	bool rmdir_always;
	bool sync;              /* changes are durable before the reply */
	bool no_export;         /* refuse file handles */
	bool store_locks;       /* see struct session */
	bool no_open;           /* do without OPEN if the kernel can */
	bool root_only;         /* see struct session */
	bool no_xattr;          /* xattrs and ACLs get ENOSYS */
	bool no_cpu_latency;    /* do without loop_limit_cpu_latency() */
	const char *mountpoint; /* as given by the client, for messages */
	const char *device;     /* the mount's st_dev as MAJOR:MINOR */
};

enum { SESSION_STATES_CACHED = 1024 };

/* All sessions of a daemon. */
struct mounts {
	struct fs *fs;
	struct coherence *coherence;
	struct guard *guard; /* the owner's; NULL: none */
	/*
	 * Held to read while a request is handled, and to write while a session
	 * is added or removed, so that all requests see the same sessions.
	 */
	pthread_rwlock_t policy;
	/*
	 * Guarded by policy, like the fields up to mounted_capacity; `first`
	 * is changed with the store's lock held, too.
	 */
	struct session *first;
	unsigned count;
	unsigned whole;    /* mounts of the whole store among them */
	uint64_t *mounted; /* states that several sessions reach, sorted */
	size_t mounted_count, mounted_capacity;
	/* Cache: number << 1 | readonly, at number % SESSION_STATES_CACHED. */
	_Atomic uint64_t states[SESSION_STATES_CACHED];
	/* Called from the thread of a session that has ended. */
	void (*ended)(void *arg);
	void *ended_arg;
	pthread_mutex_t append;   /* held during an append to a shared file */
	struct lock_table *locks; /* of the sessions with store_locks */
	_Atomic uint64_t next_id;
	/* Sessions that could not be freed; guarded by policy. */
	struct session *left;
	_Atomic int64_t threads_logged; /* see watchdog.h */
};

struct session {
	struct session *next; /* guarded by mounts.policy */
	struct mounts *mounts;
	struct fs *fs;
	struct fuse_session *fuse;
	struct lookups *lookups;
	struct protocol protocol; /* written while INIT is answered */
	int fd;                   /* the device */
	int init_fd;              /* socket that gets libfuse's reply to INIT */
	bool guarded;             /* the guard has a clone of the device */
	uint64_t state;
	bool state_readonly;
	bool rmdir_always;
	bool store_locks;     /* locks of files hold in all mounts */
	_Atomic bool no_open; /* OPEN gets ENOSYS; unchanged after INIT */
	_Atomic bool sync;    /* changes are durable when they are answered */
	/*
	 * Only root's processes reach the mount.  The mount lacks
	 * default_permissions, so nothing checks permissions, and the kernel
	 * needs no attributes of directories to look up names in them.
	 */
	bool root_only;
	/*
	 * Requests for xattrs get ENOSYS.  The kernel then does not request
	 * security.capability before a write or a truncation.
	 */
	bool no_xattr;
	enum fs_snapdir snapdir;
	char *mountpoint;
	char *device;
	uint64_t id;
	_Atomic uint64_t handles; /* file handles given out: see open_flags() */
	struct negatives *negatives;
	struct loop *loop;
	struct watchdog watchdog;
	/* name_notifier: for names, and for what must follow them */
	struct notifier *notifier, *name_notifier;
	_Atomic uint64_t epoch; /* see coherence_epoch() */
	/* Guarded by coherence.lock, up to hang_logged. */
	struct inval *invals_oldest, *invals_newest;
	size_t invals_count;
	unsigned deferred_background;
	bool hang_logged;
	pthread_mutex_t lock; /* guards refs */
	unsigned refs; /* pointers to the session, and unanswered requests */
};

/*
 * Initialize the list; the caller still owns fs.  ended(ended_arg) is called
 * when a session has ended, by the session's thread.
 */
int mounts_init(struct mounts *mounts, struct fs *fs, void (*ended)(void *arg),
                void *ended_arg);
/* Free everything.  All sessions have ended. */
void mounts_release(struct mounts *mounts);
unsigned mounts_count(struct mounts *mounts);
/*
 * Call fn with each session until it returns nonzero.  Return the last result,
 * or -ENOMEM.
 */
int mounts_each(struct mounts *mounts,
                int (*fn)(void *arg, struct session *session), void *arg);

/*
 * Start a session for a mount, and return the session's number in *ret_id.  The
 * session ends when the kernel closes the connection.  -ESTALE: the state was
 * deleted; or another negative errno.
 */
int session_start(struct mounts *mounts, const struct session_params *params,
                  uint64_t *ret_id);
/* End a session although the kernel still has the mount: requests then fail. */
void session_abort(struct session *session);
void session_ref(struct session *session);
void session_unref(struct session *session);

/*
 * Convert between a node and the number that the kernel uses for it.  In a
 * mount of one state, nodes of that state are numbered by inode alone, so that
 * the root has the number that the kernel requires.
 */
static inline node_t session_node(const struct session *session, uint64_t ino)
{
	if (session->state && NODE_STATE(ino) == 0)
		return NODE(session->state, ino);
	return ino;
}

static inline uint64_t session_ino(const struct session *session, node_t node)
{
	if (session->state && NODE_STATE(node) == session->state &&
	    !(node & NODE_VIRTUAL))
		return NODE_INO(node);
	return node;
}

/* ---- Changes over the control socket ------------------------------------ */

/*
 * Invalidate what all sessions have cached of states that were deleted: open
 * nodes before this returns, the rest soon after.
 */
void mounts_states_gone(struct mounts *mounts);
/*
 * Do the same for a name that was added (fresh) or removed in the root
 * directory (fork 0) or in a fork's .snap.
 */
void mounts_name_changed(struct mounts *mounts, uint64_t fork, const char *name,
                         bool fresh);

/* ---- For the other sources of this folder ------------------------------- */

extern const struct fuse_lowlevel_ops handlers;
extern const size_t handlers_size;

enum { KEEP_FOR_LONG = 86400 }; /* seconds that the kernel may cache an entry */

/*
 * Return references to all sessions but one (NULL: to all), in an array that
 * the caller frees.  -ENOMEM.
 */
int mounts_others(struct mounts *mounts, const struct session *but,
                  struct session ***ret_sessions, size_t *ret_count);

#endif
